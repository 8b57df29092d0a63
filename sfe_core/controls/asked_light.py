"""A light that is asked for: by the side it comes from, or as numbers in a file.

Lights are nine bands of spherical harmonics as `faces.shading` has them. A lamp far away shows a
convex surface its clamped cosine, whose bands are those of a point, weighted (R. Ramamoorthi and P.
Hanrahan, "An efficient representation for irradiance environment maps", SIGGRAPH 2001, eq. 8).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.shading import sh_basis, sh_shading

# Name to where the lamp stands (x to the picture's right, y up, z to the viewer), and its share of
# all light; the rest comes from everywhere. The values of a picture, which are shaded here, are the
# light's to the power of 1 / 2.2: a lamp with two thirds of all light has less than half of these.
# Of lights fitted to photos one in twenty is as hard as the one from the left.
NAMED_LIGHTS: dict[str, tuple[tuple[float, float, float], float]] = {
    "left": ((-0.85, 0.15, 0.5), 0.45),
    "right": ((0.85, 0.15, 0.5), 0.45),
    "top": ((0.0, 0.9, 0.45), 0.45),
    "bottom": ((0.0, -0.9, 0.45), 0.45),
    "front": ((0.0, 0.15, 1.0), 0.6),
    "soft": ((0.0, 0.5, 0.85), 0.15),
}
# The convolution's factor of every band over what `sh_basis` holds of it: all but the first whole.
_BANDS = np.array([np.pi, *[1.0] * 8]) / np.array([1.0, *[2 * np.pi / 3] * 3, *[np.pi / 4] * 5])
_FILE_KEYS = ("light", "lights", "lightcode", "sh")


def named_light(name: str, like: Floats) -> Floats:
    """A light [9, 3] from one side, as bright and of the same colour as another on a face.

    Args:
        name: one of NAMED_LIGHTS.
        like: [9, 3] the light whose place it takes.

    Raises:
        UserError: another name.
    """
    if name not in NAMED_LIGHTS:
        raise UserError("--light", f"{name!r}", f"give a file, or {', '.join(NAMED_LIGHTS)}")
    towards, share = NAMED_LIGHTS[name]
    lamp = lamp_light(towards)
    even = np.zeros(9)
    even[0] = 1.0 / sh_basis(np.array([0.0, 0.0, 1.0]))[0]
    grey = share * lamp / _level(lamp[:, None])[0] + (1.0 - share) * even
    return as_bright(np.repeat(grey[:, None], 3, axis=1), like)


def lamp_light(towards: tuple[float, float, float]) -> Floats:
    """Bands [9] of a white lamp far away whose light is 1 on a surface that faces it.

    Args:
        towards: where it stands, of any length.

    >>> left = lamp_light((-1, 0, 0))
    >>> faces = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    >>> (sh_basis(faces) @ left).round(1).tolist()  # 1, 0, 0 but for what nine bands do not know
    [1.1, 0.1, 0.1]
    """
    direction = np.asarray(towards, np.float64)
    direction = direction / np.linalg.norm(direction)
    return sh_basis(direction) * _BANDS


def as_bright(light: Floats, like: Floats) -> Floats:
    """A light [9, 3] scaled, colour by colour, to the mean that another one has on a face.

    Backends split what a photo shows into light and colour of the skin in different ways: across
    them only the shape of a light means the same.
    """
    level = _level(light)
    if (level <= 0).any():
        raise UserError("the light", "is dark where a face would be", "give another")
    return np.asarray(light) * (_level(like) / level)


def read_light(path: Path) -> Floats:
    """Spherical harmonics [9, 3] (band, RGB) from a file.

    Args:
        path: .npy of 27 numbers, .npz with `light` (a corpus' surface/ and codes/, DECA's), or
            JSON: 27 numbers, nine triples, or these under `light`.

    Raises:
        UserError: it cannot be read, or holds no such numbers.
    """
    try:
        light = np.asarray(_stored(path), np.float64)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(path, f"cannot be read as a light ({error})", _remedy()) from error
    if light.size != 27 or not np.isfinite(light).all():
        raise UserError(path, f"holds {light.size} numbers, not 27 finite ones", _remedy())
    return light.reshape(9, 3)


def _stored(path: Path) -> Any:
    if path.suffix.lower() == ".json":
        held = json.loads(path.read_text(encoding="utf-8"))
    else:
        held = np.load(path, allow_pickle=False)
        if isinstance(held, np.lib.npyio.NpzFile):
            held = dict(held)
    if not isinstance(held, dict):
        return held
    found = next((held[name] for name in _FILE_KEYS if name in held), None)
    if found is None:
        raise ValueError(f"no {_FILE_KEYS[0]} in it")
    return found


def _level(light: Floats) -> Floats:
    """Mean irradiance, one a colour, on what a viewer sees of a sphere."""
    y, x = np.mgrid[-1:1:17j, -1:1:17j]
    seen = x**2 + y**2 < 1
    z = np.sqrt(1 - x[seen] ** 2 - y[seen] ** 2)
    return sh_shading(np.stack([x[seen], y[seen], z], axis=1), light).mean(axis=0)


def _remedy() -> str:
    return f"give 27 numbers, nine bands of RGB, or one of {', '.join(NAMED_LIGHTS)}"
