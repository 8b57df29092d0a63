"""A fitted head in numbers that mean the same whoever fitted it: what its codes do to a face.

Codes themselves are no measure: many of them move the same part of a face, some move next to
nothing, and on the half of a head that a camera sees the harmonics of light stand in for each
other.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from sfe_core.arrays import Doubles, Floats
from sfe_core.evaluation.physical_commands import Part
from sfe_core.faces.changed_head import maker_of
from sfe_core.faces.reconstruction import HeadChange, Reconstruction
from sfe_core.faces.shading import sh_shading

Codes = dict[Part, Doubles]
NORMALS = 64
# How many numbers each part is.
WIDTHS: dict[Part, int] = {"expression": 136, "pose": 3, "light": NORMALS, "shape": 136}
_MILLIMETRES = 1000.0
# As far from the viewer's direction as a face shows much of its skin: 60 degrees.
_LEAST_Z = 0.5


def codes_of(head: Reconstruction) -> Codes:
    """A head in numbers.

    Returns:
        "expression" [136]: how far it moves the 68 landmarks of the mean head, seen from the front,
        millimetres right and down; "shape" [136]: how far the head's own shape moves them;
        "pose" [3]: yaw, pitch and roll, degrees; "light" [64]: what it makes of a grey ball, see
        `ball_shading`, nan of a reconstruction that finds no light.

    Raises:
        UserError: its backend cannot change heads.
    """
    maker = maker_of(head)
    rest = np.zeros_like(maker.expression(head.codes))
    mean = np.zeros_like(maker.identity(head.codes))
    plain = _frontal(head, mean, rest)
    light = None if head.surface is None else head.surface.light
    return {
        "expression": (_frontal(head, mean, maker.expression(head.codes)) - plain).ravel(),
        "shape": (_frontal(head, maker.identity(head.codes), rest) - plain).ravel(),
        "pose": np.asarray(head.angles, np.float64),
        "light": np.full(NORMALS, np.nan) if light is None else ball_shading(light),
    }


def ball_shading(light: Floats) -> Doubles:
    """The irradiance [64] of the near side of a ball over its mean; grey, so that tones fall out.

    Args:
        light: [9, 3] spherical harmonics.
    """
    shading = sh_shading(ball_normals(), np.asarray(light, np.float64).reshape(9, 3)).mean(axis=1)
    return shading / max(float(shading.mean()), 1e-6)


@cache
def ball_normals() -> Doubles:
    """[64, 3], evenly spread within 60 degrees of the viewer's direction (a Fibonacci spiral)."""
    number = np.arange(NORMALS) + 0.5
    z = 1.0 - (1.0 - _LEAST_Z) * number / NORMALS
    turn = np.pi * (1.0 + np.sqrt(5.0)) * number
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)


def landmark_distance(codes: Doubles) -> Doubles:
    """Mean length [N] of the moves of L landmarks [N, 2L]."""
    return np.linalg.norm(codes.reshape(len(codes), -1, 2), axis=2).mean(axis=1)


def _frontal(head: Reconstruction, shape: Floats, expression: Floats) -> Doubles:
    """Landmarks [68, 2] of a head looking at the viewer, millimetres; its place is the head's."""
    change = HeadChange(identity=shape, expression=expression, angles=(0.0, 0.0, 0.0))
    changed = maker_of(head).remake(head, change)
    scale = float(changed.camera.scale)
    return _MILLIMETRES * np.asarray(changed.landmarks, np.float64) / scale
