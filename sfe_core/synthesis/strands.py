"""Single hairs over a rendered head: wisps at the outline, hairline, lock ends, beard and brows.

Hairs are short curves that grow from fixed places of the mesh. Each is drawn as a row of points
with a depth test against the raster and blended over the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import Camera, Raster
from sfe_core.synthesis.facial_hair import beard_extent, brow_cover, brow_place
from sfe_core.synthesis.hair import (
    HEAD_CENTRE_M,
    SHELL_END,
    curl_noise,
    hair_flow,
    hair_noise,
    hair_score,
    hair_tone,
)
from sfe_core.synthesis.spec import FaceSpec, Person

SITE_SEED, STRAND_STREAM = 31, 32
# Length in metres, lift off the head per length, and opacity of a hair by style.
STRANDS = {
    "short": (0.020, 0.30, 0.55), "medium": (0.036, 0.08, 0.55), "fringe": (0.032, 0.07, 0.55),
    "curly": (0.024, 0.55, 0.7), "bob": (0.045, 0.05, 0.55), "long": (0.055, 0.04, 0.55),
}  # fmt: skip
COUNTS = {"scalp": 5200, "bob": 7500, "long": 7500, "beard": 2600, "brow": 2200}
GAP_M = 0.014  # widest slit between sheets of long hair
MAX_POINTS = 72  # of one hair


@dataclass(frozen=True)
class Sites:
    """Places on the mesh, N of them."""

    corners: np.ndarray  # [N, 3] vertex numbers
    weights: Floats  # [N, 3]
    where: Floats  # [N, 3] metres on the mean head
    shell: np.ndarray  # [N] bool, on a hair shell

    def chosen(self, index: np.ndarray) -> Sites:
        """The sites of these numbers."""
        return Sites(self.corners[index], self.weights[index], self.where[index], self.shell[index])


@dataclass(frozen=True)
class Hairs:
    """Curves to draw, N of them."""

    points: Floats  # [N, K, 3] metres, head frame
    opacity: Floats  # [N]
    gain: Floats  # [N] on the colour found at the root


@lru_cache(maxsize=8)
def _sites(kind: str) -> Sites:
    """Places for hairs: "beard", "brow", "scalp", or "bob" and "long", with their shells."""
    head = HeadModel.load()
    rng = np.random.default_rng(SITE_SEED)
    faces = np.concatenate([head.faces, head.extra_faces])
    region = np.concatenate([head.face_region, head.extra_region])
    shell = region == REGION["hair"]
    centre = head.mean[faces].mean(1)
    x, y, z = centre.T
    skin = np.isin(region, [REGION[n] for n in ("skin", "scalp", "neck", "lips")])
    end = SHELL_END.get(kind, 1.0)
    if kind == "beard":
        use = skin & (y < -0.03) & (z > -0.08)
    elif kind == "brow":
        use = skin & (np.abs(x) < 0.065) & (y > 0.003) & (y < 0.04) & (z > -0.02)
    else:
        use = skin & (y > 0.0) & (z < 0.03) & (y > 0.055 + 0.85 * z)
        use |= shell & (z < -0.035) & (y < 0.1) & (y > end)
    faces, shell = faces[use], shell[use]
    a, b, c = (head.mean[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    area *= 1.0 + 2.0 * shell * (centre[use, 1] < end + 0.05)
    picked = rng.choice(len(faces), COUNTS[kind],
                        p=area / area.sum())  # fmt: skip
    first = np.sqrt(rng.random(len(picked)))
    second = rng.random(len(picked))
    weights = np.stack([1 - first, first * (1 - second), first * second], -1).astype(np.float32)
    where = np.einsum("nk,nkc->nc", weights, head.mean[faces[picked]]).astype(np.float32)
    return Sites(faces[picked], weights, where, shell[picked])


def draw_strands(
    layer: Floats, raster: Raster, vertices: Floats, camera: Camera, spec: FaceSpec
) -> None:
    """Blend single hairs into a picture, in place.

    Args:
        layer: [H, W, 4] lit colour and cover, one sample per ray.
        raster: what the rays met.
        vertices: [V, 3] metres, with the hair's volume.
        camera: of the raster.
        spec: whose hair.
    """
    person = spec.person
    if person.hair_style in SHELL_END:
        _close_gaps(layer, camera, spec)
    batches = [_brow_hairs(vertices, person, camera)]
    if person.beard == 1.0:
        batches.append(_beard_hairs(vertices, person, camera))
    if person.hair_style in STRANDS:
        batches.append(_scalp_hairs(vertices, person, camera))
    for hairs in batches:
        if len(hairs.points):
            _splat(layer, raster, camera, hairs)


def _close_gaps(layer: Floats, camera: Camera, spec: FaceSpec) -> None:
    """Fill the slits between the sheets of long hair with shaded hair, in place."""
    width = 2 * int(GAP_M * camera.scale / 2) + 1
    cover = (layer[..., 3] > 0).astype(np.uint8)
    closed = maximum_filter1d(cover, width, axis=1, mode="constant")
    closed = minimum_filter1d(closed, width, axis=1, mode="constant")
    gaps = (closed > 0) & (cover == 0)
    end = np.array([0.0, SHELL_END[spec.person.hair_style] + 0.02, -0.08])
    gaps[max(0, int(camera.project(end)[1])) :] = False
    layer[gaps, :3] = hair_tone(spec.person) * (0.3 * spec.scene.exposure)
    layer[gaps, 3] = 1.0


def _rng(person: Person, kind: int) -> np.random.Generator:
    return np.random.default_rng([STRAND_STREAM, kind, person.texture_seed])


def _unit(vectors: Floats) -> Floats:
    return vectors / (np.sqrt(np.einsum("nc,nc->n", vectors, vectors)) + 1e-6)[:, None]


def _roots(sites: Sites, vertices: Floats) -> Floats:
    """Where the sites are on a face, [N, 3] metres."""
    return sum(vertices[sites.corners[:, k]] * sites.weights[:, k, None] for k in range(3))


def _steps(length_m: float, camera: Camera) -> Floats:
    """Places along a hair [1, K, 1] in [0, 1], about one per pixel."""
    count = int(np.clip(np.ceil(length_m * camera.scale), 4, MAX_POINTS))
    return np.linspace(0.0, 1.0, count, dtype=np.float32)[None, :, None]


def _scalp_hairs(vertices: Floats, person: Person, camera: Camera) -> Hairs:
    """Hairs of the head: along the flow, by locks, some astray."""
    style = person.hair_style
    length_m, lift, opacity = STRANDS[style]
    sites = _sites(style if style in SHELL_END else "scalp")
    rng = _rng(person, 0)
    chance = rng.random((6, len(sites.where)), np.float32)
    score = np.where(sites.shell, 1.0, hair_score(sites.where, person))
    grows = np.where(sites.shell, sites.where[:, 1] > SHELL_END.get(style, 1.0), score > 0.004)
    roots = _roots(sites, vertices)
    out = roots - HEAD_CENTRE_M
    out[:, 1] *= np.where(sites.shell, 0.1, 1.0)
    out = _unit(out)
    toward = camera.rotation[2]
    index = np.flatnonzero(grows & (out @ toward > -0.35))
    sites, roots, out, chance = sites.chosen(index), roots[index], out[index], chance[:, index]
    score = score[index]
    across, along, direction = hair_flow(sites.where, person)
    _, lock = hair_noise(across, along, person)
    if style == "curly":
        direction = np.stack([chance[0] - 0.5, chance[1] - 0.7, chance[2] - 0.5], -1)
    direction = _unit(direction - out * np.einsum("nc,nc->n", direction, out)[:, None])
    direction, out = direction.astype(np.float32), out.astype(np.float32)
    aside = np.cross(direction, out)
    edge = _at_hairline(score)
    stray = chance[3] < 0.12
    length = length_m * (0.5 + 0.8 * chance[4]) * (1.0 - 0.55 * edge)
    length = length * np.where(sites.shell, 1.0 + 0.25 * np.clip(lock, -2.0, 2.0), 1.0)
    raised = lift * (0.4 + 1.2 * chance[5]) + (0.08 + lift) * stray + 0.06 * np.maximum(lock, 0.0)
    turn = 0.22 * lock + 0.5 * (chance[0] - 0.5) + (chance[1] - 0.5) * (0.9 * edge + 0.8 * stray)
    step = _steps(length_m * (2.0 if style == "curly" else 1.3), camera)
    way = length[:, None, None] * step
    points = roots[:, None] + direction[:, None] * way
    # Hair follows the head's curve instead of leaving it along the tangent.
    points += out[:, None] * (raised[:, None, None] * way * (1 - 0.4 * step) - way**2 / 0.17)
    points += aside[:, None] * (turn[:, None, None] * way * step)
    if style == "curly":
        phase = 6.28 * (chance[2][:, None, None] + step * (1.2 + chance[0][:, None, None]))
        points += 0.0045 * (aside[:, None] * np.sin(phase) + direction[:, None] * np.cos(phase))
        gain = 0.9 + 0.28 * curl_noise(sites.where, person) + 0.5 * (chance[1] - 0.5)
    else:
        gain = 0.95 + 0.1 * lock + 0.8 * (chance[2] - 0.5)
    thin = np.where(stray, 0.6, 1.0) * opacity
    return Hairs(points, thin.astype(np.float32), np.clip(gain, 0.4, 1.6))


def _at_hairline(score: Floats) -> Floats:
    """1 at the hairline, 0 from 15 mm above it."""
    return np.clip(1.0 - (score - 0.004) / 0.011, 0.0, 1.0).astype(np.float32)


def _beard_hairs(vertices: Floats, person: Person, camera: Camera) -> Hairs:
    """Short hairs that fall from the beard."""
    sites = _sites("beard")
    rng = _rng(person, 1)
    chance = rng.random((4, len(sites.where)), np.float32)
    index = np.flatnonzero(beard_extent(sites.where, person) > 0.15 + 0.7 * chance[0])
    sites, chance = sites.chosen(index), chance[:, index]
    roots = _roots(sites, vertices)
    out = _unit(roots - np.array([0.0, -0.05, -0.06], np.float32))
    direction = np.stack(
        [0.5 * np.sign(roots[:, 0]) * chance[1] + 1.4 * (chance[2] - 0.5), -np.ones(len(index)),
         np.zeros(len(index))], -1,
    )  # fmt: skip
    direction = direction.astype(np.float32)
    direction = _unit(direction - 0.8 * out * np.einsum("nc,nc->n", direction, out)[:, None])
    step = _steps(0.008, camera)
    way = (0.003 + 0.005 * chance[3])[:, None, None] * step
    points = roots[:, None] + direction[:, None] * way + out[:, None] * (0.001 + 0.35 * way)
    return Hairs(points, np.full(len(index), 0.4, np.float32), 0.6 + 0.6 * chance[1])


def _brow_hairs(vertices: Floats, person: Person, camera: Camera) -> Hairs:
    """Brow hairs: upright at the inner end, flat at the outer one."""
    sites = _sites("brow")
    rng = _rng(person, 2)
    chance = rng.random((4, len(sites.where)), np.float32)
    index = np.flatnonzero(brow_cover(sites.where, person) > 0.35 + 0.3 * chance[0])
    sites, chance = sites.chosen(index), chance[:, index]
    roots = _roots(sites, vertices)
    along, above = brow_place(sites.where)
    lean = 1.25 * (1.0 - along) ** 1.5 - 0.15 - 60.0 * above + 0.5 * (chance[1] - 0.5)
    side = np.sign(sites.where[:, 0])
    direction = np.stack([side * np.cos(lean), np.sin(lean), -0.35 * np.cos(lean)], -1)
    step = _steps(0.006, camera)
    way = (0.003 + 0.003 * chance[2])[:, None, None] * step
    points = roots[:, None] + direction.astype(np.float32)[:, None] * way
    points[..., 2] += 0.0012
    return Hairs(points, np.full(len(index), 0.35, np.float32), 0.55 + 0.5 * chance[3])


def _splat(layer: Floats, raster: Raster, camera: Camera, hairs: Hairs) -> None:
    """Draw curves as points that pass the depth test, blended into the layer in place."""
    height, width = raster.depth.shape
    count, steps = hairs.points.shape[:2]
    place = camera.project(hairs.points)
    column, row = place[..., 0].astype(np.int32), place[..., 1].astype(np.int32)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    pixel = np.where(inside, row * width + column, 0)
    flat = layer.reshape(-1, 4)
    slack = 0.004 * camera.scale
    shown = inside & (place[..., 2] > raster.depth.reshape(-1)[pixel] - slack)
    root = pixel[:, 0]
    seen = shown[:, 0] & (flat[root, 3] > 0)
    if not seen.any():
        return
    colour = flat[root, :3]
    # A root out of sight tells no colour: take the usual one.
    colour = np.where(seen[:, None], colour, np.median(colour[seen], axis=0))
    colour = colour * hairs.gain[:, None]
    taper = 1.0 - np.linspace(0.0, 1.0, steps, dtype=np.float32) ** 2
    weight = (hairs.opacity[:, None] * taper * shown)[shown]
    which = np.broadcast_to(np.arange(count)[:, None], shown.shape)[shown]
    target = pixel[shown]
    total = np.bincount(target, weight, len(flat))
    touched = np.flatnonzero(total > 0)
    total = total[touched]
    cover = (1.0 - np.exp(-total)).astype(np.float32)
    for channel in range(3):
        summed = np.bincount(target, weight * colour[which, channel], len(flat))[touched]
        flat[touched, channel] += (summed / total - flat[touched, channel]) * cover
    flat[touched, 3] += (1.0 - flat[touched, 3]) * cover
