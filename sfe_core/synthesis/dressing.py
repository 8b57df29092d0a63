"""Laying what a person wears or holds over the finished head: casting, hiding, lighting.

It is cast on its own and laid over the head, so that everything known of the head (vertices,
landmarks, depth) stays that of the bare one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sfe_core.arrays import Floats
from sfe_core.faces.rendering import Camera, Raster, raycast
from sfe_core.synthesis.accessories import belongings
from sfe_core.synthesis.lighting import GAMMA
from sfe_core.synthesis.pieces import Piece, Wearer
from sfe_core.synthesis.scene import Scene
from sfe_core.synthesis.surface import bump, ramp


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
