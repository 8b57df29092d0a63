"""What is wrong with a face's normals, albedo and shaded picture, told from the pictures alone.

A rig learns whatever it is shown: a head beside its face, a texture with green spots or a light
that blows out teaches it to draw those. Numpy alone: preprocess workers run this.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion
from scipy.spatial import ConvexHull

from sfe_core.arrays import Floats, Mask, Pixels

# The contour lies on the head's rim or, of a turned head, beyond it; the others must be on it.
_FIRST_INNER_LANDMARK = 17
_LEAST_FACE = 0.85  # share of the landmarks' hull that the mesh covers
_LEAST_INNER = 0.9  # share of the inner landmarks that lie on the mesh
_LEAST_PIXELS = 16
# Sampled bilinearly in a texture, or drawn small, normals are a little shorter than 1.
_NORMAL_LENGTH = (0.8, 1.1)
_LEAST_BEND = 0.1  # standard deviation of the normals' x and y: a face is no plane
_LEAST_FRONTAL = 0.2  # mean z
_TONE = (0.02, 0.98)  # mean of the albedo
_GREEN, _MOST_GREEN = 0.06, 0.01  # by how much green leads, and the most pixels where it does
_VIVID, _MOST_VIVID = 0.85, 0.02  # saturation of a pixel that is not dark, and the most of them
_DARK = 0.15
_MOST_HOLES = 0.05  # share of the mesh without albedo
_MOST_BLOWN = 0.5  # share of the face that is white in the shaded picture
_LEAST_SHADED = 0.02  # its mean
_LEAST_RELIEF = 0.004  # its standard deviation: a grey level

_REFIT = "fit the photo again with another preprocess.reconstruction, or leave it out"
_RELIGHT = "its light was not found: leave the photo out"


def buffer_faults(normals: Pixels, albedo: Pixels, shaded: Pixels, points: Floats) -> list[str]:
    """Everything that is wrong with a face's buffers, in words, with what to do.

    Args:
        normals: [S, S, 3], (n + 1) / 2 of x right, y up, z to the viewer; black off the mesh.
        albedo, shaded: [S, S, 3] RGB, black off the mesh.
        points: [68, 2] landmarks as (x, y), pixels of them.

    Returns:
        A sentence each; empty for good ones.
    """
    mesh = np.any(normals, axis=2)
    if mesh.sum() < _LEAST_PIXELS:
        return [f"normals show no head: {_REFIT}"]
    faults = _misplaced(mesh, points)
    inside = binary_erosion(mesh) if binary_erosion(mesh).sum() >= _LEAST_PIXELS else mesh
    faults += _bad_normals(normals[inside] / 127.5 - 1.0)
    faults += _bad_albedo(albedo[inside] / 255.0)
    return faults + _bad_shading(shaded[inside] / 255.0)


def _misplaced(mesh: Mask, points: Floats) -> list[str]:
    """Whether the mesh lies where the landmarks are."""
    side = len(mesh)
    hull = Image.new("1", (side, side))
    rim = points[ConvexHull(points).vertices]
    ImageDraw.Draw(hull).polygon([tuple(point) for point in rim.tolist()], fill=1)
    face = np.asarray(hull)
    faults = []
    covered = float(mesh[face].mean()) if face.any() else 0.0
    if covered < _LEAST_FACE:
        faults.append(
            f"the mesh covers {covered:.2f} of the face, at least {_LEAST_FACE:g} is needed: "
            f"{_REFIT}"
        )
    places = np.floor(points[_FIRST_INNER_LANDMARK:]).astype(int)
    seen = ((places >= 0) & (places < side)).all(axis=1)
    if seen.any():
        on = float(mesh[places[seen, 1], places[seen, 0]].mean())
        if on < _LEAST_INNER:
            faults.append(
                f"the mesh lies beside the landmarks, {on:.2f} of the inner ones on it: {_REFIT}"
            )
    return faults


def _bad_normals(normals: Floats) -> list[str]:
    """Of normals [P, 3] on the mesh."""
    length = float(np.median(np.linalg.norm(normals, axis=1)))
    low, high = _NORMAL_LENGTH
    if not low <= length <= high:
        return [f"normals are {length:.2f} long instead of 1: draw them again"]
    if normals[:, :2].std(axis=0).max() < _LEAST_BEND:
        return ["normals are all the same: draw them again"]
    if normals[:, 2].mean() < _LEAST_FRONTAL:
        return [f"normals point away from the viewer: {_REFIT}"]
    return []


def _bad_albedo(albedo: Floats) -> list[str]:
    """Of an albedo [P, 3] on the mesh. One colour a part is as the fitted head has it."""
    brightest, darkest = albedo.max(axis=1), albedo.min(axis=1)
    holes = float((brightest == 0).mean())
    if _MOST_HOLES < holes < 1.0:
        return [f"{holes:.0%} of the mesh has no albedo: its pictures are not of one head"]
    mean = float(albedo.mean())
    if not _TONE[0] <= mean <= _TONE[1]:
        tone = "black" if mean < _TONE[0] else "white"
        return [f"the albedo is {tone} throughout: {_RELIGHT}"]
    if albedo.std(axis=0).max() < _LEAST_RELIEF:
        return [f"the albedo is one flat colour, lips and eyes too: {_RELIGHT}"]
    faults = []
    green = float((albedo[:, 1] - np.maximum(albedo[:, 0], albedo[:, 2]) > _GREEN).mean())
    if green > _MOST_GREEN:
        faults.append(f"{green:.0%} of the albedo is green, as no skin is: {_REFIT}")
    saturation = (brightest - darkest) / np.maximum(brightest, 1e-6)
    vivid = float(((saturation > _VIVID) & (brightest > _DARK)).mean())
    if vivid > _MOST_VIVID:
        faults.append(f"{vivid:.0%} of the albedo has colours that no skin has: {_REFIT}")
    return faults


def _bad_shading(shaded: Floats) -> list[str]:
    """Of a shaded picture [P, 3] on the mesh."""
    blown = float((shaded.min(axis=1) >= 254 / 255).mean())
    if blown > _MOST_BLOWN:
        return [f"{blown:.0%} of the shaded face is white: {_RELIGHT}"]
    if shaded.mean() < _LEAST_SHADED:
        return [f"the shaded face is black: {_RELIGHT}"]
    if shaded.std(axis=0).max() < _LEAST_RELIEF:
        return [f"the shaded face is one flat colour: {_RELIGHT}"]
    return []
