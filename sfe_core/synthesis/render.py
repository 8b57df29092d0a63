"""A photograph from a FaceSpec: geometry, paint, light, background, camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.head import ACTION_NAMES, REGION, HeadModel
from sfe_core.faces.rendering import (
    Camera,
    Raster,
    depth_map,
    raycast,
    rotation_matrix,
)
from sfe_core.synthesis.appearance import paint_surface
from sfe_core.synthesis.background import background
from sfe_core.synthesis.camera import photograph
from sfe_core.synthesis.hair import SHELL_END, grow_hair
from sfe_core.synthesis.spec import FaceSpec, Scene
from sfe_core.synthesis.surface import Surface

FACE_HEIGHT_M = 0.195  # chin to hairline of the mean head


@dataclass(frozen=True)
class SyntheticFace:
    """A rendered face and what is known of it exactly."""

    image: Pixels  # [S, S, 3] RGB
    landmarks: Floats  # [68, 2] pixels
    vertices: Floats  # [V, 3] metres, head frame, hair volume not included
    camera: Camera
    spec: FaceSpec

    def raster(self) -> Raster:
        """The bare head (no hair, no bust) cast at the picture's size."""
        height, width = self.image.shape[:2]
        return raycast(self.camera.project(self.vertices), HeadModel.load().faces, height, width)

    @property
    def depth(self) -> Floats:
        """[S, S] in [0, 1], see `rendering.depth_map`."""
        return depth_map(self.raster(), self.camera.scale)


def face_camera(scene: Scene, size_px: int) -> Camera:
    """The camera that frames the head as the scene asks, for a square picture."""
    return Camera(
        rotation=rotation_matrix(scene.yaw, scene.pitch, scene.roll),
        scale=scene.face_share * size_px / FACE_HEIGHT_M,
        translation=np.array(scene.centre) * size_px,
    )


def render_face(spec: FaceSpec, size_px: int, supersample: int = 2) -> SyntheticFace:
    """Render a photograph.

    Args:
        spec: from `sample_face`.
        size_px: side of the square picture.
        supersample: rays per pixel along each axis.
    """
    head = HeadModel.load()
    identity = head.identity_table[spec.person.identity]
    actions = face_actions(spec)
    vertices = head.vertices(identity, actions)[0]
    camera = face_camera(spec.scene, size_px)
    fine = face_camera(spec.scene, size_px * supersample)
    faces, face_region = visible_faces(spec.person.hair_style)
    grown = grow_hair(vertices, spec)
    side = size_px * supersample
    raster = raycast(fine.project(grown), faces, side, side)
    colour = shade(raster, faces, face_region, spec, fine.scale)
    layer = np.zeros((side, side, 4), np.float32)
    layer[raster.hit, :3] = colour
    layer[raster.hit, 3] = 1.0
    layer = layer.reshape(size_px, supersample, size_px, supersample, 4).mean((1, 3))
    picture = layer[..., :3] + background(spec.scene, size_px) * (1.0 - layer[..., 3:])
    marks = camera.project(head.landmarks(identity, actions)[0])[:, :2]
    return SyntheticFace(photograph(picture, spec), marks, vertices, camera, spec)


def face_actions(spec: FaceSpec) -> Floats:
    """Activations [52] as rendered: the expression's on top of the person's resting lids."""
    actions = np.array(spec.expression.actions)
    for name in ("eyeWideLeft", "eyeWideRight"):
        actions[ACTION_NAMES.index(name)] += spec.person.lid_opening
    return actions


@lru_cache(maxsize=16)
def visible_faces(style: str) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Mesh faces [F, 3] and regions [F] drawn for a hair style: shells only for long hair."""
    head = HeadModel.load()
    centre = head.mean[head.extra_faces].mean(1)
    shell = head.extra_region == REGION["hair"]
    end = SHELL_END.get(style, np.inf)
    # The shell has a fringe down to the chin: only what hangs behind the temples is used.
    behind = (centre[:, 2] < -0.035) | (centre[:, 1] > 0.1)
    keep = ~shell | (behind & (centre[:, 1] > end - 0.06))
    faces = np.concatenate([head.faces, head.extra_faces[keep]])
    return faces, np.concatenate([head.face_region, head.extra_region[keep]])


def shade(
    raster: Raster,
    faces: NDArray[np.int32],
    face_region: NDArray[np.uint8],
    spec: FaceSpec,
    scale: float,
) -> Floats:
    """Lit colours [hits, 3], 0..255 and beyond."""
    head = HeadModel.load()
    hit = raster.hit
    values = raster.interpolate(np.concatenate([head.mean, head.paint], 1), faces)
    normals = raster.normals[hit]
    surface = Surface(values[:, :3], values[:, 3:], face_region[raster.face_index[hit]], normals)
    colour, gloss = paint_surface(surface, spec)
    scene = spec.scene
    light = np.asarray(scene.light)
    diffuse = np.clip((normals @ light + 0.15) / 1.15, 0.0, 1.0)
    sky = 0.75 + 0.25 * normals[:, 1]
    key = (1.15 - 0.75 * scene.ambient) * diffuse
    shown = colour * (
        key[:, None] * np.asarray(scene.light_colour) + (scene.ambient * sky)[:, None]
    )
    half = light + np.array([0.0, 0.0, 1.0])
    shine = np.clip(normals @ (half / np.linalg.norm(half)), 0.0, 1.0) ** 24
    shown += (255.0 * gloss * shine)[:, None]
    shade_of_folds = occlusion(raster, scale)[hit]
    teeth = np.isin(surface.region, [REGION["upper_teeth"], REGION["lower_teeth"]])
    # Lips would darken teeth to grey in a mouth this small.
    shade_of_folds[teeth] = np.sqrt(np.maximum(shade_of_folds[teeth], 0.75))
    shown *= shade_of_folds[:, None]
    inside = np.isin(surface.region, [REGION["mouth_interior"], REGION["tongue"]])
    shown[inside] *= 0.7
    return shown * scene.exposure


def occlusion(raster: Raster, scale: float) -> Floats:
    """Ambient occlusion [H, W] in [0.55, 1.05]: points behind their surroundings are darker."""
    depth = np.where(raster.hit, raster.depth / scale, -0.12).astype(np.float32)
    result = np.ones_like(depth)
    for radius_m, strength in ((0.004, 55.0), (0.012, 14.0)):
        # Two box passes stand in for a Gaussian of this radius; their cost does not grow with it.
        box = max(1, round(float(np.sqrt(6.0 * (radius_m * scale) ** 2 + 1.0))))
        behind = uniform_filter(uniform_filter(depth, box), box) - depth
        result -= np.clip(behind * strength, -0.04, 0.3)
    return np.clip(result, 0.55, 1.05)
