"""Place the 68 iBUG landmarks on the head mesh by detecting them: a developer's script.

Frontal heads are rendered, dlib's predictor (trained on iBUG 300-W) marks them, each mark is
back-projected to the mesh point under it, and the median over the heads is taken in the mean
head's coordinates. Called by `build_head.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.detectors.dlib_detector import predictor_path
from sfe_core.faces.head import ACTION_NAMES, REGION, HeadModel
from sfe_core.faces.landmark_drawing import MIRROR
from sfe_core.faces.rendering import Camera, Raster, raycast, rotation_matrix

ORIGIN = (
    "median over 160 rendered heads (seed 7) of dlib shape_predictor_68 marks back-projected to "
    "the mesh and symmetrised, lips from heads with the mouth ajar; "
    "jaw contour 0-16 is static, taken from frontal views"
)
SIZE = 320
HEADS = 160
UPPER_LIP = (49, 50, 51, 52, 53, 61, 62, 63)
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)


def plain_portrait(head: HeadModel, vertices: Floats, camera: Camera) -> tuple[Any, Raster]:
    """A simply painted frontal head, RGB uint8 [SIZE, SIZE, 3], and its raster."""
    raster = raycast(camera.project(vertices), head.faces, SIZE, SIZE)
    hit = raster.hit
    where = raster.interpolate(head.mean, head.faces)
    masks = raster.interpolate(head.paint, head.faces)
    region = head.face_region[raster.face_index[hit]]
    colour = np.tile(np.array([205.0, 160.0, 135.0]), (len(where), 1))
    colour += (np.array([165.0, 75.0, 75.0]) - colour) * np.clip(masks[:, :1], 0, 1)
    x, y, z = np.abs(where[:, 0]), where[:, 1], where[:, 2]
    arch = 0.0185 + 0.006 * np.sin(np.clip((x - 0.012) / 0.042, 0, 1) * 2.2)
    arch = arch - 0.1 * np.maximum(x - 0.05, 0)
    brow = (np.abs(y - arch) < 0.0035) & (x > 0.014) & (x < 0.052) & (z > 0)
    brow &= region == REGION["skin"]
    colour[brow] = [70, 50, 40]
    colour[(y > 0.095) | (z < -0.09)] = [60, 45, 35]
    for centre in head.eye_centres:
        off = np.hypot(where[:, 0] - centre[0], where[:, 1] - centre[1])
        ball = region == REGION["eyeball"]
        colour[ball & (np.sign(where[:, 0]) == np.sign(centre[0]))] = [225, 220, 215]
        colour[ball & (off < 0.0062)] = [80, 60, 45]
        colour[ball & (off < 0.0028)] = [15, 12, 12]
    for name, dark in (("mouth_interior", 40.0), ("socket", 60.0), ("tongue", 120.0)):
        colour[region == REGION[name]] = [dark, dark * 0.6, dark * 0.6]
    colour[(region == REGION["upper_teeth"]) | (region == REGION["lower_teeth"])] = 225.0
    light = np.array([0.15, 0.5, 0.85])
    shade = 0.35 + 0.7 * np.clip(raster.normals[hit] @ (light / np.linalg.norm(light)), 0, 1)
    image = np.tile(np.array([120.0, 130.0, 145.0]), (SIZE, SIZE, 1))
    image[hit] = colour * shade[:, None]
    return np.clip(image, 0, 255).astype(np.uint8), raster


def place_landmarks(head: HeadModel) -> tuple[Any, Floats]:
    """Faces [68] and barycentric weights [68, 3] of the landmarks on `head.faces`."""
    import dlib

    detector, predictor = (
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(predictor_path())),
    )
    rng = np.random.default_rng(7)
    found, ajar = [], []
    for number in range(HEADS):
        actions = np.zeros(len(ACTION_NAMES))
        actions[ACTION_NAMES.index("jawOpen")] = rng.uniform(0.15, 0.5) * (number % 2)
        identity = rng.normal(0.0, 0.6, head.identity_count)
        camera = Camera(
            rotation_matrix(*rng.normal(0, [2.5, 2.5, 1.0])), rng.uniform(880, 1080),
            rng.uniform(-6, 6, 2) + [SIZE / 2, SIZE * 0.46],
        )  # fmt: skip
        image, raster = plain_portrait(head, head.vertices(identity, actions)[0], camera)
        boxes = detector(image, 1)
        if len(boxes) != 1:
            continue
        shape = predictor(image, boxes[0])
        marks = np.array([[point.x + 0.5, point.y + 0.5] for point in shape.parts()])
        found.append(back_project(head, raster, marks))
        ajar.append(number % 2 == 1)
    points = np.nanmedian(np.stack(found), axis=0)
    # Where closed lips touch, a mark cannot tell upper from lower: only open mouths count.
    points[48:] = np.nanmedian(np.stack(found)[ajar], axis=0)[48:]
    mirrored = points[MIRROR] * np.array([-1, 1, 1])
    points = (points + mirrored) / 2
    return closest_faces(head, points)


def back_project(head: HeadModel, raster: Raster, marks: Floats) -> Floats:
    """Mean-head coordinates [68, 3] of the skin nearest each image mark [68, 2]."""
    skin = np.isin(head.face_region, [REGION[n] for n in ("skin", "lips", "lid", "neck", "ear")])
    usable = raster.hit & skin[np.maximum(raster.face_index, 0)]
    rows, columns = np.nonzero(usable)
    result = np.full((68, 3), np.nan)
    for number, (x, y) in enumerate(marks):
        away = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
        nearest = away.argmin()
        if away[nearest] > 8:
            continue
        pixel = rows[nearest], columns[nearest]
        corners = head.mean[head.faces[raster.face_index[pixel]]]
        result[number] = raster.barycentric[pixel] @ corners
    return result


def closest_faces(head: HeadModel, points: Floats) -> tuple[Any, Floats]:
    """Nearest outer-skin point of the mean head for each of points [68, 3].

    Points of the lower lip may only sit on faces that move with the jaw, those of the upper lip
    on faces that do not, so that a mouth opens between its landmarks.
    """
    import trimesh

    outer = np.isin(head.face_region, [REGION[n] for n in ("skin", "lips", "lid", "neck", "ear")])
    drop = -head.action_deltas[ACTION_NAMES.index("jawOpen"), :, 1]
    with_jaw = drop[head.faces].mean(1) > 0.45 * np.percentile(drop, 99)
    anywhere = np.ones(len(outer), bool)
    chosen = np.zeros(68, np.int32)
    bary = np.zeros((68, 3), np.float32)
    for marks, allowed in ((range(68), anywhere), (UPPER_LIP, ~with_jaw), (LOWER_LIP, with_jaw)):
        numbers = np.flatnonzero(outer & allowed)
        mesh = trimesh.Trimesh(head.mean, head.faces[numbers], process=False)
        rows = list(marks)
        closest, _, local = trimesh.proximity.closest_point_naive(mesh, points[rows])
        weights = trimesh.triangles.points_to_barycentric(mesh.triangles[local], closest)
        weights = np.clip(weights, 0.0, 1.0)
        chosen[rows] = numbers[local]
        bary[rows] = weights / weights.sum(1, keepdims=True)
    return chosen, bary
