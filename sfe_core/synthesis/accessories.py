"""Things worn on or held before a synthetic head: glasses, hats, earrings, scarves, a hand.

They are cast on their own and laid over the finished head, so that everything known of the head
(vertices, landmarks, depth) stays that of the bare one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import Camera, Raster, raycast, vertex_normals
from sfe_core.synthesis.lighting import GAMMA
from sfe_core.synthesis.scene import Colour, Scene
from sfe_core.synthesis.spec import FaceSpec
from sfe_core.synthesis.surface import bump, ramp

FRAME_COLOURS: tuple[Colour, ...] = (
    (24, 22, 22), (70, 46, 30), (150, 148, 150), (168, 132, 78), (44, 54, 84), (120, 44, 40),
)  # fmt: skip
METALS: tuple[Colour, ...] = ((196, 158, 84), (188, 190, 194))
# Half width, half height and squareness (exponent of the superellipse) of a lens, metres.
LENS_SHAPES = {"round": (0.0235, 0.0225, 2.0), "square": (0.0265, 0.0185, 4.5),
               "rimless": (0.0250, 0.0170, 3.0), "sunglasses": (0.0285, 0.0230, 3.0)}  # fmt: skip
RIM_RADIUS_M = {"round": 0.0011, "square": 0.0017, "rimless": 0.0003, "sunglasses": 0.0018}


@dataclass(frozen=True)
class Piece:
    """One object's mesh and matter."""

    vertices: Floats  # [A, 3] metres, head frame
    faces: NDArray[np.int32]  # [B, 3]
    colour: Colour
    gloss: float = 0.1
    knit_m: float = 0.0  # width of a rib of its fabric, 0 smooth
    tint: float = 1.0  # share of what lies behind that it hides: 1 but for lenses
    above: tuple[float, float] | None = None  # (a, b): only y > a·z + b is kept, for a brim


@dataclass(frozen=True)
class Wearer:
    """The head that pieces are fitted to."""

    vertices: Floats  # [V, 3] bare, with its expression
    marks: Floats  # [68, 3] landmarks of the neutral face
    spec: FaceSpec

    def part(self, name: str, right: bool | None = None) -> Floats:
        """Vertices [N, 3] of a region, of one side where `right` is given (image right)."""
        head = HeadModel.load()
        chosen = head.region == REGION[name]
        if right is not None:
            chosen &= (head.mean[:, 0] > 0) == right
        return self.vertices[chosen]


def dress(layer: Floats, raster: Raster, wearer: Wearer, camera: Camera) -> None:
    """Lay what the person wears over the head, in place.

    Args:
        layer: [H, W, 4] the lit head, 0..255, and its cover in [0, 1].
        raster: of the head with its hair, at the layer's size.
        wearer: the head.
        camera: of the raster.
    """
    pieces = belongings(wearer)
    if not pieces:
        return
    counts = np.cumsum([0, *(len(p.vertices) for p in pieces)])
    vertices = np.concatenate([p.vertices for p in pieces]).astype(np.float32)
    faces = np.concatenate([p.faces + n for p, n in zip(pieces, counts, strict=False)])
    owner = np.repeat(np.arange(len(pieces)), [len(p.faces) for p in pieces])
    cast = raycast(camera.project(vertices), faces.astype(np.int32), *layer.shape[:2])
    places = cast.interpolate(vertices, faces)
    number = owner[cast.face_index[cast.hit]]
    shown = (cast.depth > raster.depth)[cast.hit]
    for index, piece in enumerate(pieces):
        if piece.above is None:
            continue
        own = number == index
        # Thick hair may stand out through the hat; the far side of the hat lies much deeper.
        near = (cast.depth > raster.depth - 0.05 * camera.scale)[cast.hit]
        over = _over_brim(places, piece.above) & near
        _press_hair(layer, cast, own & over)
        shown = np.where(own, over, shown)
    covered = np.zeros(layer.shape[:2], bool)
    rows, columns = np.nonzero(cast.hit)
    solid = shown & (np.array([p.tint for p in pieces])[number] > 0.5)
    covered[rows[solid], columns[solid]] = True
    _contact_shadow(layer, covered, camera.scale, wearer.spec.scene)
    for index, piece in enumerate(pieces):
        own = shown & (number == index)
        if own.any():
            at = rows[own], columns[own]
            _lay(layer, at, piece, places[own], cast.normals[at], wearer.spec.scene)


def _over_brim(places: Floats, above: tuple[float, float]) -> NDArray[np.bool_]:
    slope, level = above
    return places[:, 1] > slope * places[:, 2] + level


def _press_hair(layer: Floats, cast: Raster, kept: NDArray[np.bool_]) -> None:
    """Take away the hair that stands out above a hat, in place: a hat presses it down."""
    rows, columns = np.nonzero(cast.hit)
    rows, columns = rows[kept], columns[kept]
    if not len(rows):
        return
    brim = np.full(layer.shape[1], -1)
    np.maximum.at(brim, columns, rows)  # the hat's lowest row in each column
    inside = np.flatnonzero(brim >= 0)
    brim = brim[np.clip(np.arange(len(brim)), inside[0], inside[-1])]
    # Beside the hat, hair is cut a little above where the brim meets it.
    above = np.arange(layer.shape[0])[:, None] < brim[None]
    keep = np.zeros(layer.shape[:2], bool)
    keep[rows, columns] = True
    layer[above & ~keep] = 0.0


def _contact_shadow(layer: Floats, covered: NDArray[np.bool_], scale: float, scene: Scene) -> None:
    """Darken the head beside what touches it, on the side away from the light, in place."""
    reach = 0.004 * scale
    mask = Image.fromarray((covered * 255).astype(np.uint8))
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.75 * reach)), np.float32) / 255.0
    shift = (round(scene.light[1] * reach), round(-scene.light[0] * reach))
    soft = np.roll(soft, shift, (0, 1))
    layer[..., :3] *= (1.0 - 0.55 * soft * (1.0 - 0.5 * scene.ambient))[..., None]


def _lay(
    layer: Floats,
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    piece: Piece,
    places: Floats,
    normals: Floats,
    scene: Scene,
) -> None:
    """Blend one piece's visible points into the layer, in place."""
    colour = np.tile(np.asarray(piece.colour, np.float32), (len(places), 1))
    if piece.knit_m:
        angle = np.arctan2(places[:, 0], places[:, 2] + 0.07) * 0.09
        rib = np.abs(np.sin(np.pi * angle / piece.knit_m))
        stitch = np.abs(np.sin(places[:, 1] * np.pi / (0.8 * piece.knit_m) + 3.0 * rib))
        colour *= (0.62 + 0.3 * rib + 0.12 * stitch)[:, None]
        if piece.above is not None:  # the turned-up edge
            line = piece.above[0] * places[:, 2] + piece.above[1]
            colour *= (1.0 - 0.45 * bump(places[:, 1] - line - 0.026, 0.0018))[:, None]
    lit = _light(colour, normals, piece.gloss, scene)
    share = np.full((len(places), 1), piece.tint, np.float32)
    if piece.tint < 1.0:
        lit, share = _reflect(lit, share, places, scene)
    layer[(*at, slice(0, 3))] += (lit - layer[(*at, slice(0, 3))]) * share
    layer[(*at, 3)] += (1.0 - layer[(*at, 3)]) * share[:, 0]


def _reflect(lit: Floats, share: Floats, places: Floats, scene: Scene) -> tuple[Floats, Floats]:
    """A slanted pale streak across each lens: the window or lamp behind the photographer."""
    across = np.abs(places[:, 0]) * np.sign(places[:, 0] * scene.light[0] + 1e-9)
    along = across - 0.55 * places[:, 1] - 0.004
    offset = np.where(across > 0, along - 0.034, along + 0.03)
    streak = 0.30 * bump(offset, 0.0035) + 0.14 * bump(offset - 0.011, 0.0018)
    streak = (streak * ramp(places[:, 1], -0.022, 0.008))[:, None].astype(np.float32)
    both = share + streak * (1.0 - 0.5 * share)
    pale = np.array([225.0, 232.0, 240.0], np.float32) * np.float32(min(scene.exposure, 1.0))
    return (lit * share + pale * (both - share)) / both, both


def _light(colour: Floats, normals: Floats, gloss: float, scene: Scene) -> Floats:
    """Lit colours [P, 3], 0..255 and beyond, as `lighting` lights cloth."""
    light = np.asarray(scene.light, np.float32)
    key = np.clip((normals @ light + 0.12) / 1.12, 0.0, 1.0)[:, None]
    sky = 0.95 + 0.25 * normals[:, 1:2] + 0.25 * np.clip(normals[:, 2:], 0, 1)
    tint = np.asarray(scene.light_colour, np.float32) ** GAMMA
    falls = (1.75 - 1.5 * scene.ambient) * key * tint + 0.37 * scene.ambient * sky
    half = light + np.array([0.0, 0.0, 1.0], np.float32)
    along = np.clip(normals @ (half / max(float(np.linalg.norm(half)), 1e-6)), 0.0, 1.0)
    shine = gloss * (0.4 * along**10 + 0.8 * along**50)[:, None] * tint
    albedo = (np.clip(colour, 1.0, 255.0) / 255.0) ** GAMMA
    return 255.0 * np.maximum((albedo * falls + shine) * scene.exposure, 0.0) ** (1.0 / GAMMA)


def belongings(wearer: Wearer) -> list[Piece]:
    """Every piece the person wears or holds in this photograph."""
    person, worn = wearer.spec.person, wearer.spec.scene.worn
    pieces: list[Piece] = []
    if worn.sunglasses or person.glasses != "none":
        pieces += _glasses(wearer, "sunglasses" if worn.sunglasses else person.glasses)
    if worn.hat != "none":
        pieces += _hat(wearer)
    if person.earrings != "none":
        pieces += _earrings(wearer)
    if worn.scarf:
        pieces += _scarf(wearer)
    if worn.hand:
        pieces += _hand(wearer)
    return pieces


def _tube(
    path: Floats, radius: Floats | float, closed: bool = False, sides: int = 8
) -> tuple[Floats, NDArray[np.int32]]:
    """A round tube along a path [N, 3]: vertices [N * sides, 3] and faces.

    Args:
        path: its middle line, metres.
        radius: metres, one for each point or one for all.
        closed: joins the last point to the first.
        sides: of the cross-section.
    """
    count = len(path)
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    # Any direction across will do, if no part of the path runs along it.
    least = np.eye(3)[np.abs(ahead).max(0).argmin()]
    first = np.cross(ahead, least)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(ahead, first)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = first[:, None] * np.cos(turn)[:, None] + second[:, None] * np.sin(turn)[:, None]
    vertices = path[:, None] + ring * np.broadcast_to(radius, (count,))[:, None, None]
    i, k = np.meshgrid(np.arange(count if closed else count - 1), np.arange(sides), indexing="ij")
    j, m = (i + 1) % count, (k + 1) % sides
    a, b, c, d = (x * sides + y for x, y in ((i, k), (j, k), (j, m), (i, m)))
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return vertices.reshape(-1, 3), faces.astype(np.int32)


def _capsule(path: Floats, radius: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """A tube with round ends through a few points [N, 3] of the given radii [N]."""
    steps = np.linspace(0, len(path) - 1, 4 * len(path))
    at = np.arange(len(path))
    line = np.stack([np.interp(steps, at, path[:, c]) for c in range(3)], 1)
    thick = np.interp(steps, at, radius)
    start, end = line[0] - line[1], line[-1] - line[-2]
    start, end = (v / np.linalg.norm(v) for v in (start, end))
    caps = np.array([0.4, 0.75, 0.95, 1.0])
    heads = [line[0] + start * thick[0] * h for h in caps[::-1]]
    tails = [line[-1] + end * thick[-1] * h for h in caps]
    round_off = np.sqrt(np.maximum(1.0 - caps**2, 1e-4))
    line = np.concatenate([heads, line, tails])
    return _tube(line, np.concatenate([thick[0] * round_off[::-1], thick, thick[-1] * round_off]),
                 sides=10)  # fmt: skip


def _glasses(wearer: Wearer, kind: str) -> list[Piece]:
    """Rims, lenses, bridge and arms, resting on this nose and before these brows and cheeks."""
    rng = np.random.default_rng(wearer.spec.person.texture_seed)
    colour = FRAME_COLOURS[int(rng.integers(len(FRAME_COLOURS)))]
    colour = FRAME_COLOURS[0] if kind == "sunglasses" else colour
    width, height, square = LENS_SHAPES[kind]
    rim = RIM_RADIUS_M[kind]
    gauge = float(np.linalg.norm(wearer.marks[45] - wearer.marks[36])) / 0.0892
    width, height = width * gauge, height * gauge
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([np.cos(turn), np.sin(turn)], 1)
    outline = np.sign(outline) * np.abs(outline) ** (2.0 / square) * (width, height)
    middle = np.array([0.0315 * gauge, wearer.marks[36:48, 1].mean() - 0.003])
    plane = _clear_plane(wearer, middle, width, height)
    metal = 0.5 if sum(colour) > 350 else 0.25
    pieces: list[Piece] = []
    for side in (-1.0, 1.0):
        flat = (middle + outline) * (side, 1.0)
        ring = np.stack([*flat.T, plane - 2.2 * flat[:, 0] ** 2], 1)
        pieces.append(Piece(*_tube(ring, rim, closed=True, sides=6), colour, metal))
        pieces.append(_lens(ring, kind))
        hinge = np.array([side * (middle[0] + width), middle[1] + 0.35 * height, 0.0])
        hinge[2] = plane - 2.2 * hinge[0] ** 2
        pieces.append(Piece(*_tube(_arm(wearer, hinge), max(rim, 0.0008), sides=6), colour, metal))
    inner = middle[0] - width
    x = np.linspace(-inner, inner, 9)
    lift = middle[1] + 0.25 * height + 0.003 * np.cos(x / inner * np.pi / 2)
    bridge = np.stack([x, lift, np.full(9, plane + 0.0015)], 1)
    pieces.append(Piece(*_tube(bridge, max(rim, 0.0009), sides=6), colour, metal))
    return pieces


def _clear_plane(wearer: Wearer, middle: Floats, width: float, height: float) -> float:
    """z, metres, of a lens plane (bent back by 2.2 x²) that brows and lashes do not touch."""
    skin = np.concatenate([wearer.part("skin"), wearer.part("lid")])
    apart = np.abs(np.abs(skin[:, 0]) - middle[0]) < width
    near = apart & (np.abs(skin[:, 1] - middle[1]) < height)
    ahead = skin[near, 2] + 2.2 * skin[near, 0] ** 2
    return float(np.percentile(ahead, 92)) + 0.003


def _lens(ring: Floats, kind: str) -> Piece:
    """The disk inside a rim [N, 3]."""
    count = len(ring)
    vertices = np.concatenate([ring, ring.mean(0, keepdims=True)])
    i = np.arange(count)
    faces = np.stack([i, (i + 1) % count, np.full(count, count)], 1).astype(np.int32)
    dark = kind == "sunglasses"
    return Piece(vertices, faces, (22, 22, 24) if dark else (120, 128, 128), gloss=0.05,
                 tint=0.93 if dark else 0.10)  # fmt: skip


def _arm(wearer: Wearer, hinge: Floats) -> Floats:
    """Path [N, 3] of an arm from its hinge round the temple to the top of the ear."""
    right = hinge[0] > 0
    side = 1.0 if right else -1.0
    ear = wearer.part("ear", right)
    top = ear[ear[:, 1] > np.percentile(ear[:, 1], 90)].mean(0)
    skin = wearer.part("skin", right)
    near = (np.abs(skin[:, 1] - hinge[1]) < 0.015) & (skin[:, 2] > -0.06)
    wide = np.abs(skin[near, 0]).max(initial=abs(float(hinge[0]))) + 0.002
    elbow = np.array([side * max(wide * 0.985, abs(float(hinge[0]))), hinge[1], hinge[2] - 0.012])
    temple = np.array([side * wide, hinge[1] * 0.7 + top[1] * 0.3, -0.045])
    return np.stack([hinge, elbow, temple, top + np.array([-side * 0.004, 0.0, 0.01])])


def _hat(wearer: Wearer) -> list[Piece]:
    """A beanie or a cap: the skull's own shape, blown up, cut along a brim."""
    head = HeadModel.load()
    worn = wearer.spec.scene.worn
    cap = worn.hat == "cap"
    brow = wearer.marks[[19, 24]].mean(0)
    slope = 0.34 if cap else 0.46
    level = float(brow[1] + (0.036 if cap else 0.030) - slope * brow[2])
    shell = np.isin(head.face_region, [REGION[n] for n in ("skin", "scalp")])
    corners = head.mean[head.faces].mean(1)
    shell &= corners[:, 1] > slope * corners[:, 2] + level - 0.035
    faces = head.faces[shell]
    normals = vertex_normals(wearer.vertices, head.faces)
    rise = ramp(head.mean[:, 1], 0.05, 0.13)
    thick = 0.009 + (0.010 if cap else 0.014) * rise
    used, again = np.unique(faces, return_inverse=True)
    vertices = (wearer.vertices + normals * thick[:, None])[used]
    joined = np.asarray(again, np.int32).reshape(faces.shape)
    above = (slope, level)
    dome = Piece(vertices, joined, worn.hat_colour, gloss=0.03, knit_m=0.0 if cap else 0.0042,
                 above=above)  # fmt: skip
    return [dome, _visor(vertices, above, worn.hat_colour)] if cap else [dome]


def _visor(dome: Floats, above: tuple[float, float], colour: Colour) -> Piece:
    """The peak [N, 3] of a cap: a plate curved down at its sides, from the dome's front edge."""
    slope, level = above
    edge = dome[np.abs(dome[:, 1] - slope * dome[:, 2] - level) < 0.02]
    half, front = 0.93 * np.abs(edge[:, 0]).max(), edge[:, 2].max()
    turn = np.linspace(-1.25, 1.25, 25)
    x = half * np.sin(turn)
    back = front - 0.085
    z = back + (front - back) * np.cos(turn)
    base = np.stack([x, slope * z + level + 0.001, z], 1)
    reach = np.cos(turn / 1.25 * np.pi / 2) ** 0.6
    rows = []
    for share in np.linspace(0, 1, 5):
        out = base.copy()
        out[:, 2] += share * 0.062 * reach
        out[:, 1] += share * reach * 0.002 - 0.010 * share**2 - 2.2 * share * x**2
        rows.append(out)
    count = len(turn)
    i, k = np.meshgrid(np.arange(len(rows) - 1), np.arange(count - 1), indexing="ij")
    a = i * count + k
    faces = np.stack([np.stack([a, a + 1, a + count], -1),
                      np.stack([a + 1, a + count + 1, a + count], -1)]).reshape(-1, 3)  # fmt: skip
    darker = (colour[0] * 0.9, colour[1] * 0.9, colour[2] * 0.9)
    return Piece(np.concatenate(rows), faces.astype(np.int32), darker, gloss=0.03)


def _earrings(wearer: Wearer) -> list[Piece]:
    """A stud or a hoop at each lobe."""
    person = wearer.spec.person
    colour = METALS[person.texture_seed % 2]
    pieces = []
    for right in (False, True):
        side = 1.0 if right else -1.0
        ear = wearer.part("ear", right)
        lobe = ear[ear[:, 1] < np.percentile(ear[:, 1], 6)].mean(0)
        at = lobe + np.array([side * 0.003, 0.003, 0.003])
        if person.earrings == "stud":
            path = np.stack([at, at + np.array([side * 0.001, 0.0, 0.0005])])
            mesh = _capsule(path, np.full(2, 0.0033))
        else:
            turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
            radius = 0.008 + 0.006 * (person.texture_seed % 7) / 6
            swing = np.array([0.5 * side, 0.0, 0.87])
            hoop = np.sin(turn)[:, None] * swing * radius
            hoop[:, 1] += (np.cos(turn) - 1.0) * radius
            mesh = _tube(at + hoop, 0.0012, closed=True, sides=6)
        pieces.append(Piece(*mesh, colour, gloss=0.9))
    return pieces


def _scarf(wearer: Wearer) -> list[Piece]:
    """Two loose turns of knitted cloth round the neck."""
    neck = wearer.part("neck")
    middle, chin = neck.mean(0), wearer.marks[8]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    pieces = []
    for drop, wide, thick in ((0.042, 0.078, 0.021), (0.068, 0.094, 0.024)):
        path = np.stack([
            middle[0] + wide * np.sin(turn),
            chin[1] - drop - 0.012 * np.cos(turn + 0.4) + 0.004 * np.sin(3 * turn),
            middle[2] + 0.012 + 0.95 * wide * np.cos(turn),
        ], 1)  # fmt: skip
        radius = thick * (1.0 + 0.12 * np.sin(5 * turn + 1.0))
        mesh = _tube(path, radius, closed=True, sides=14)
        pieces.append(Piece(*mesh, wearer.spec.scene.worn.scarf_colour, gloss=0.01, knit_m=0.006))
    return pieces


def _hand(wearer: Wearer) -> list[Piece]:
    """A hand that holds the cheek: four fingers up the jaw, the wrist below."""
    side = float(wearer.spec.scene.worn.hand)
    # Jaw points run from image left to right; the hand lies on its own side of the mouth.
    jaw = wearer.marks[:17] if side < 0 else wearer.marks[16::-1]
    skin = wearer.spec.person.skin
    colour = (skin[0] * 0.97, skin[1] * 0.9, skin[2] * 0.88)
    pieces = []
    knuckles = np.linspace(0.0, 1.0, 4)
    for number, share in enumerate(knuckles):
        low = jaw[5] * (1 - share) + jaw[3] * share
        tip = jaw[2] * share + (jaw[3] * 0.55 + wearer.marks[48 if side < 0 else 54] * 0.45) * (
            1 - share
        )
        out = np.array([side * 0.006 * (1 + share), 0.0, 0.012 - 0.010 * share])
        lift = np.array([0.0, 0.010 + 0.006 * np.sin(np.pi * share), 0.0])
        base = low + np.array([side * 0.012, -0.020, 0.004])
        path = np.stack([base + out, (base + tip) / 2 + 1.4 * out, tip + lift + out])
        thick = 0.0078 - 0.0007 * (number in (0, 3))
        pieces.append(Piece(*_capsule(path, thick * np.array([1.15, 1.0, 0.82])), colour, 0.10))
    palm = jaw[4] + np.array([side * 0.016, -0.032, 0.004])
    wrist = jaw[4] + np.array([side * 0.045, -0.11, 0.004])
    elbow = jaw[4] + np.array([side * 0.085, -0.30, 0.02])
    back = np.stack([palm, (palm + wrist) / 2, wrist])
    pieces.append(Piece(*_capsule(back, np.array([0.027, 0.028, 0.024])), colour, 0.08))
    forearm = np.stack([wrist, elbow])
    pieces.append(Piece(*_capsule(forearm, np.array([0.026, 0.036])),
                        wearer.spec.scene.cloth, 0.01))  # fmt: skip
    return pieces
