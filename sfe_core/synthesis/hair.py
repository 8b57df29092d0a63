"""Hair of the head: where it grows, which way it flows, and its paint.

Everything is a function of the mean head's coordinates and of the person's `texture_seed`, so
that a person's hair is the same in every photograph. `facial_hair` paints brows and beard with the
same noise; `strands` adds the single hairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import rotation_matrix, vertex_normals
from sfe_core.synthesis.spec import FaceSpec, Person, Scene
from sfe_core.synthesis.surface import Surface, bump, ramp

# Hair thickness on the scalp by style, metres.
THICKNESS = {"bald": 0.0, "buzz": 0.002, "short": 0.010, "medium": 0.019, "fringe": 0.014,
             "curly": 0.027, "bob": 0.013, "long": 0.012}  # fmt: skip
# Where the hair shells of the longer styles end, metres below the eyes.
SHELL_END = {"bob": -0.10, "long": -0.27}
# The ways a style may be combed.
FLOWS = {"short": ("crown", "side", "back"), "medium": ("back", "side", "side"),
         "fringe": ("crown",), "bob": ("side", "centre", "fringe"),
         "long": ("side", "centre", "side", "fringe"),
         "buzz": ("crown",), "curly": ("crown",), "bald": ("crown",)}  # fmt: skip
HEAD_CENTRE_M = np.array([0.0, 0.02, -0.075], np.float32)  # of the skull, roughly a ball
NOISE_SEED, STYLE_STREAM = 20, 21
NOISE_CELL_M = (0.00015, 0.004)  # across and along the hair


@dataclass(frozen=True)
class Hairdo:
    """How a person wears the hair of their style."""

    flow: str  # "crown", "side", "centre" or "back"
    fringe: bool  # falls over the forehead
    start: tuple[float, float, float]  # parting or crown: x, front z, back z, metres
    volume: float  # gain on the thickness
    lumps: tuple[float, float, float]  # phases of the uneven volume
    wave: tuple[float, float]  # amplitude and length, metres
    temple_m: float  # how far the hairline recedes at the temples
    peak_m: float  # how far it dips in the middle
    sideburn_m: float  # how far it reaches down in front of the ears
    shift: tuple[int, int]  # offset into the noise tables
    gloss: float  # 0 to 1


@lru_cache(maxsize=256)
def hairdo(person: Person) -> Hairdo:
    """The person's way of wearing their hair, from `texture_seed`."""
    rng = np.random.default_rng([STYLE_STREAM, person.texture_seed])
    flows = FLOWS[person.hair_style]
    flow = flows[int(rng.integers(len(flows)))]
    fringe = person.hair_style == "fringe" or flow == "fringe"
    flow = "crown" if fringe else flow
    side = float(rng.choice([-1.0, 1.0]))
    across, crown = float(rng.uniform(0.018, 0.034)), float(rng.uniform(-0.125, -0.1))
    starts = {
        "crown": (side * 0.012, crown + 0.006, crown),
        "side": (side * across, 0.02, crown),
        "centre": (side * 0.003, 0.02, crown),
        "back": (0.0, 0.0, 0.0),
    }
    wavy = float(rng.uniform(0.0, 1.0) ** 2)
    first, second, third = rng.uniform(0, 6.28, 3).tolist()
    return Hairdo(
        flow=flow,
        fringe=fringe,
        start=starts[flow],
        volume=float(rng.uniform(0.7, 1.25)),
        lumps=(first, second, third),
        wave=(0.0006 + 0.0026 * wavy, float(rng.uniform(0.04, 0.07))),
        temple_m=float(rng.uniform(0.002, 0.006) + person.male * rng.uniform(0.002, 0.01)),
        peak_m=float(rng.uniform(-0.002, 0.006)),
        sideburn_m=float(rng.uniform(0.01, 0.02) + person.male * rng.uniform(0.005, 0.02)),
        shift=(int(rng.integers(4096)), int(rng.integers(128))),
        gloss=float(rng.uniform(0.5, 1.0)),
    )


@lru_cache(maxsize=1)
def _noise() -> tuple[Floats, Floats, Floats]:
    """Noise, each of mean 0 and deviation 1: strands and locks [4096, 128], curls [512, 512].

    Rows of the first two lie across the hair (`NOISE_CELL_M` apart), columns along it.
    """
    rng = np.random.default_rng(NOISE_SEED)

    def layer(across: float, along: float) -> Floats:
        white = rng.normal(size=(4096, 128)).astype(np.float32)
        smooth = gaussian_filter(white, (across, along), mode="wrap")
        return smooth / smooth.std()

    strands = layer(2.5, 5.0) + 0.9 * layer(6.0, 6.0) + 0.6 * layer(14.0, 7.0)
    locks = layer(34.0, 6.0) + 0.8 * layer(80.0, 8.0)
    fuzz = rng.normal(size=(512, 512)).astype(np.float32)
    # Curls: the phase of a band-passed noise, whose level lines are small rings.
    band = gaussian_filter(fuzz, 5.0, mode="wrap") - gaussian_filter(fuzz, 9.0, mode="wrap")
    curls = np.sin(4.0 * band / band.std()) + 0.5 * band / band.std()
    tables = (strands, locks, curls)
    first, second, third = ((t / t.std()).astype(np.float32) for t in tables)
    return first, second, third


def hair_score(where: Floats, person: Person) -> Floats:
    """Metres above the hairline, [P]: positive where scalp hair grows."""
    do = hairdo(person)
    across, y, z = np.abs(where[..., 0]), where[..., 1], where[..., 2]
    drop = -0.026 if do.fringe else 0.0
    shape = np.full(np.shape(y), person.hairline_m + drop)
    if not drop:
        shape += do.temple_m * bump(across - 0.043, 0.012) - do.peak_m * bump(across, 0.011)
    front = ramp(z, -0.06, 0.0) * shape
    line = 0.073 + 0.85 * z - 2.5 * np.maximum(0.0, -0.09 - z) + front
    line = line - do.sideburn_m * bump(z + 0.056, 0.007) * ramp(across, 0.05, 0.065)
    wave = 0.0015 * np.sin(where[..., 0] * 130.0 + do.lumps[0])
    return y - line + wave + 0.001 * np.sin(where[..., 0] * 470.0 + do.lumps[1])


def hair_flow(where: Floats, person: Person) -> tuple[Floats, Floats, Floats]:
    """Which hair passes a point and where it goes.

    Args:
        where: [P, 3] metres on the mean head.
        person: whose hair.

    Returns:
        Place across the flow [P] and along it [P], metres; direction [P, 3], not unit, not yet
        tangent to the surface.
    """
    do = hairdo(person)
    x, y, z = where[:, 0], where[:, 1], where[:, 2]
    direction = np.empty((len(where), 3), np.float32)
    if do.flow == "back":
        across = 0.09 * np.arctan2(x, y + 0.03)
        along = 0.05 - z + 0.3 * y
        direction[:, 0] = 0.0
        direction[:, 1] = z - HEAD_CENTRE_M[2]
        direction[:, 2] = HEAD_CENTRE_M[1] - y
        direction /= 0.09
    else:
        # Around a line on top of the head: straight off its sides, in a fan off its ends.
        start, front, back = do.start
        on_line = np.clip(z, back, front)
        aside, off = x - start, z - on_line
        far = np.hypot(aside, off)
        across = np.where(aside < 0, 0.31, 0.0) + on_line + 0.07 * np.arctan2(off, np.abs(aside))
        along = far + (0.11 - y)
        direction[:, 0] = aside / np.maximum(far, 1e-4)
        direction[:, 1] = -0.35 - 20.0 * far
        direction[:, 2] = off / np.maximum(far, 1e-4)
    size, length = do.wave
    across = across + size * np.sin(along * (6.28 / length) + across * 60.0 + do.lumps[2])
    return across, along, direction


def hair_noise(across: Floats, along: Floats, person: Person) -> tuple[Floats, Floats]:
    """Brightness of the single strand and of its lock, each [P], deviation 1."""
    strands, locks, _ = _noise()
    first, second = hairdo(person).shift
    row = (across * (1.0 / NOISE_CELL_M[0])).astype(np.int32) + first
    column = (along * (1.0 / NOISE_CELL_M[1])).astype(np.int32) + second
    index = (row & 4095) * 128 + (column & 127)
    return strands.ravel()[index], locks.ravel()[index]


def stubble_noise(where: Floats) -> Floats:
    """Grain of cut hairs about a millimetre apart, [P], mean 0, deviation 1."""
    strands = _noise()[0].ravel()
    cells = (where * np.array([1300.0, 1300.0, 900.0])).astype(np.int32)
    return strands[(cells @ np.array([7919, 104729, 15485], np.int64)) & (4096 * 128 - 1)]


def curl_noise(where: Floats, person: Person) -> Floats:
    """Brightness of curls [P], deviation 1, the same size all over the head."""
    first, second = hairdo(person).shift
    out = where - HEAD_CENTRE_M
    flat = np.hypot(out[:, 0], out[:, 2]) + 1e-6
    gain = (2000.0 * 0.09) * np.arctan2(flat, out[:, 1]) / flat
    cells = (out[:, (0, 2)] * gain[:, None]).astype(np.int32).T + np.array([[first], [second]])
    return _noise()[2].ravel()[(cells[0] & 511) * 512 + (cells[1] & 511)]


def grow_hair(vertices: Floats, spec: FaceSpec) -> Floats:
    """Vertices [V, 3] with the scalp pushed out by the hair's thickness."""
    person = spec.person
    thickness = THICKNESS[person.hair_style]
    if not thickness:
        return vertices
    head, do = HeadModel.load(), hairdo(person)
    if person.hair_style in SHELL_END:
        # Cutting the shells: what hangs lower is pulled up to the end.
        end = SHELL_END[person.hair_style] + 0.008 * np.sin(head.mean[:, 0] * 170.0)
        low = (head.region == REGION["hair"]) & (vertices[:, 1] < end)
        vertices = vertices.copy()
        vertices[low, 1] = end[low]
        vertices[low, 0] = np.clip(vertices[low, 0], -0.092, 0.092)
        vertices[low, 2] = np.clip(vertices[low, 2], -0.14, -0.03)
    scalp = np.isin(head.region, [REGION[n] for n in ("skin", "scalp", "neck")])
    share = ramp(hair_score(head.mean, person), 0.0, 0.03) * scalp
    share *= 0.35 + 0.65 * ramp(head.mean[:, 1], -0.06, 0.06)
    x, y, z = head.mean.T
    lumps = np.sin(55.0 * x + do.lumps[0]) * np.sin(45.0 * z + do.lumps[1])
    lumps = lumps + 0.7 * np.sin(110.0 * x + 70.0 * y + do.lumps[2])
    share *= do.volume * (1.0 + 0.16 * lumps)
    if do.flow in ("side", "centre"):
        share *= 1.0 - 0.5 * bump(x - do.start[0], 0.012) * ramp(y, 0.07, 0.09)
    normals = vertex_normals(vertices, head.faces)
    return vertices + normals * (thickness * share)[:, None]


def shell_normals(normals: Floats, where: Floats, region: np.ndarray, scene: Scene) -> Floats:
    """Normals [P, 3], camera frame, with those of the coarse hair shells made round.

    Args:
        normals: [P, 3] unit, camera frame.
        where: [P, 3] metres on the mean head.
        region: [P] see REGIONS.
        scene: for the head's pose.
    """
    shell = np.flatnonzero(region == REGION["hair"])
    if len(shell):
        out = where[shell] - HEAD_CENTRE_M
        out[:, 1] = np.maximum(out[:, 1], 0.0)
        out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-6
        mixed = 0.3 * normals[shell] + 0.7 * out @ _rotation(scene).T
        normals = normals.copy()
        normals[shell] = mixed / (np.linalg.norm(mixed, axis=1, keepdims=True) + 1e-6)
    return normals


def _rotation(scene: Scene) -> Floats:
    return rotation_matrix(scene.yaw, scene.pitch, scene.roll)


def paint_hair(
    surface: Surface, spec: FaceSpec, colour: Floats, gloss: Floats, on_head: np.ndarray
) -> None:
    """Scalp hair and hair shells, painted in place."""
    person = spec.person
    style = person.hair_style
    if style == "bald":
        return
    shell = surface.region == REGION["hair"]
    score = np.where(shell, 1.0, hair_score(surface.where, person))
    # What the hair shades of the forehead below it.
    shadow = ramp(score, -0.016, 0.0) * on_head * (score < 0.02) * (style != "buzz")
    shadow *= 0.3 + 0.7 * ramp(surface.where[:, 1], 0.03, 0.06)
    colour *= (1.0 - 0.22 * shadow)[:, None]
    near = np.flatnonzero((score > -0.006) & (on_head | shell))
    where, score = surface.where[near], score[near]
    across, along, direction = hair_flow(where, person)
    strand, lock = hair_noise(across, along, person)
    if style == "curly":
        strand, lock = 0.5 * strand, curl_noise(where, person)
    cover = ramp(score + 0.0022 * strand + 0.0016 * lock, -0.001, 0.009)
    if style == "buzz":
        cover *= np.clip(0.66 + 0.2 * stubble_noise(where), 0.3, 0.9)
    else:
        cover *= 1.0 - _scalp_line(where, strand, person)
    hair = _hair_colour(strand, lock, along, person)
    _highlight(hair, surface.normals[near], direction, strand, spec)
    colour[near] += (hair - colour[near]) * cover[:, None]
    gloss[near] *= 1.0 - cover


def hair_tone(person: Person) -> Floats:
    """Mean colour [3] of the hair: what has no pigment has no hue."""
    tone = np.asarray(person.hair, np.float32)
    if person.hair_name in ("black", "grey", "white"):
        tone = tone.mean() + 0.35 * (tone - tone.mean())
    return tone


def _scalp_line(where: Floats, strand: Floats, person: Person) -> Floats:
    """How much skin shows in the parting, [P] in [0, 1]."""
    do = hairdo(person)
    if do.flow not in ("side", "centre"):
        return np.zeros(len(where), np.float32)
    along = ramp(where[:, 2], do.start[2] + 0.01, do.start[2] + 0.03) * ramp(
        where[:, 1], 0.05, 0.07
    )
    aside = np.abs(where[:, 0] - do.start[0] + 0.0012 * np.sin(90.0 * where[:, 2]))
    return 0.55 * along * ramp(aside + 0.0006 * strand, 0.0022, 0.0004)


def _hair_colour(strand: Floats, lock: Floats, along: Floats, person: Person) -> Floats:
    """Unlit colour [P, 3] of hair: lighter and darker strands, depth between the locks."""
    base = hair_tone(person)
    mixed = 0.5 if person.hair_name in ("grey", "white") else 0.3
    lit = 0.86 + mixed * 0.4 * strand + 0.14 * lock
    lit *= 1.0 - 0.3 * ramp(lock, -0.5, -1.8)
    lit *= 0.72 + 0.28 * ramp(along, 0.0, 0.06)
    return base * np.clip(lit, 0.2, 1.7)[:, None] + 5.0


def _highlight(
    hair: Floats, normals: Floats, direction: Floats, strand: Floats, spec: FaceSpec
) -> None:
    """Add the shine of fibres, which runs across them, in place.

    Kajiya and Kay, "Rendering fur with three dimensional textures", SIGGRAPH 1989: the
    highlight depends on the sine of the angle between the hair's tangent and the half vector.
    Two lobes, shifted along the hair as Marschner et al. (SIGGRAPH 2003) measured: a white one
    and one tinted by the hair.
    """
    person, turn = spec.person, _rotation(spec.scene)
    tangent = direction @ turn.T
    tangent -= normals * np.einsum("pc,pc->p", tangent, normals)[:, None]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
    half = np.asarray(spec.scene.light) + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    along, out = (tangent @ half).astype(np.float32), (normals @ half).astype(np.float32)
    tone = hair_tone(person)
    dull = {"curly": 0.35, "buzz": 0.25, "short": 0.7}.get(person.hair_style, 1.0)
    dull *= 1.0 - 0.5 * float(tone.mean()) / 255.0
    facing = dull * hairdo(person).gloss * np.clip(0.3 + 0.7 * out, 0.0, 1.0)
    for shift, power, gain, tint in ((0.1, 40.0, 0.07, 0.15), (-0.15, 14.0, 0.13, 0.8)):
        moved = along + (shift + 0.12 * strand) * out
        shine = np.maximum(1.0 - np.square(moved), 0.0) ** (power / 2)
        target = 235.0 * (1.0 - tint) + tint * 1.8 * tone
        hair += (gain * facing * shine * (1.0 + 0.35 * strand))[:, None] * target
