"""A photograph from a FaceSpec: geometry, paint, light, background, camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.head import ACTION_NAMES, REGION, HeadModel
from sfe_core.faces.rendering import (
    Camera,
    Raster,
    depth_map,
    raycast,
    rotation_matrix,
)
from sfe_core.synthesis.background import background, shade_wall
from sfe_core.synthesis.camera import photograph
from sfe_core.synthesis.dressing import dress
from sfe_core.synthesis.hair import SHELL_END, grow_hair
from sfe_core.synthesis.lighting import light_head
from sfe_core.synthesis.pieces import Wearer
from sfe_core.synthesis.spec import FaceSpec, Scene
from sfe_core.synthesis.strands import draw_strands

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
    cast = fine.project(grown)
    raster = raycast(cast, faces, side, side)
    colour = light_head(raster, cast, faces, face_region, spec, fine.scale, supersample)
    layer = np.zeros((side, side, 4), np.float32)
    layer[raster.hit, :3] = colour
    layer[raster.hit, 3] = 1.0
    draw_strands(layer, raster, grown, fine, spec)
    dress(layer, raster, Wearer(vertices, head.landmarks(identity)[0], spec), fine)
    layer = layer.reshape(size_px, supersample, size_px, supersample, 4).mean((1, 3))
    behind = shade_wall(background(spec.scene, size_px), layer[..., 3], spec.scene)
    picture = layer[..., :3] + behind * (1.0 - layer[..., 3:])
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
    # Only what hangs behind the temples: on top the scalp itself bears the hair.
    behind = (centre[:, 2] < -0.035) & (centre[:, 1] < 0.1)
    keep = ~shell | (behind & (centre[:, 1] > end - 0.015))
    faces = np.concatenate([head.faces, head.extra_faces[keep]])
    return faces, np.concatenate([head.face_region, head.extra_region[keep]])
