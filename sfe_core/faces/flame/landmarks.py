"""The 68 landmarks on FLAME's surface: static ones, and a jaw line that moves with the yaw.

A point on the surface is a face and three barycentric weights. The 51 inner points are fixed; the
17 of the jaw line are looked up by the head's yaw in whole degrees from -39 to 39, because the
visible outline of a turned head is another curve on its surface (Li et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfe_core.arrays import Floats, Integers
from sfe_core.errors import UserError
from sfe_core.faces.flame.files import DECA_PAGE, LANDMARKS, locate
from sfe_core.faces.flame.unpickling import as_array, load_arrays

YAW_LIMIT_DEG = 39
_KINDS = {"static": (51,), "dynamic": (2 * YAW_LIMIT_DEG + 1, 17)}


@dataclass(frozen=True)
class LandmarkEmbedding:
    """Faces and weights of the landmarks, in the order of iBUG-68's jaw line (17) and rest (51).

    Row n of the dynamic arrays is a yaw of n degrees for n ≤ 39, and of 39 - n from 40 on.
    """

    static_faces: Integers  # [51]
    static_weights: Floats  # [51, 3]
    dynamic_faces: Integers  # [79, 17]
    dynamic_weights: Floats  # [79, 17, 3]


def load_landmark_embedding(folder_or_npy: Path) -> LandmarkEmbedding:
    """Read `landmark_embedding.npy`.

    Args:
        folder_or_npy: the file itself, or a folder that holds it (see `flame.files`).

    Raises:
        UserError: no such file, it cannot be read safely, or its arrays have other shapes.
    """
    given = Path(folder_or_npy)
    path = given if given.suffix == ".npy" else locate(given, LANDMARKS)
    stored = load_arrays(path, DECA_PAGE)
    stored = stored.item() if isinstance(stored, np.ndarray) and stored.ndim == 0 else stored
    arrays: dict[str, NDArray[Any]] = {}
    for kind, shape in _KINDS.items():
        for ours, theirs, extra in (("faces", "faces_idx", ()), ("weights", "bary_coords", (3,))):
            name = f"{kind}_lmk_{theirs}"
            if not isinstance(stored, dict) or name not in stored:
                raise UserError(path, f"has no {name}", f"download it again from {DECA_PAGE}")
            array = as_array(stored[name], f"{path}: {name}")
            if array.size != np.prod(shape + extra):
                raise UserError(
                    f"{path}: {name}",
                    f"has shape {array.shape}, not {shape + extra}",
                    f"download it again from {DECA_PAGE}",
                )
            array = array.reshape(shape + extra)
            arrays[f"{kind}_{ours}"] = array if extra else array.astype(np.int64)
    return LandmarkEmbedding(**arrays)


def yaw_rows(rotation: Tensor) -> Tensor:
    """Row of the dynamic tables for head rotations [B, 3, 3] (root times neck): [B] int64.

    The yaw is Euler's y in R = Rz Ry Rx, whole degrees, held within ±39.
    """
    across = torch.hypot(rotation[:, 0, 0], rotation[:, 1, 0])
    degrees = torch.rad2deg(torch.atan2(-rotation[:, 2, 0], across)).round()
    degrees = degrees.clamp(-YAW_LIMIT_DEG, YAW_LIMIT_DEG).long()
    return torch.where(degrees < 0, YAW_LIMIT_DEG - degrees, degrees)


def surface_points(vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Points on meshes.

    Args:
        vertices: [B, V, 3].
        corners: [L, 3] or [B, L, 3] vertex numbers of each point's face.
        weights: [L, 3] or [B, L, 3] barycentric.

    Returns:
        [B, L, 3].
    """
    corners = corners.expand(len(vertices), *corners.shape[-2:])
    rows = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[rows, corners] * weights[..., None]).sum(-2)
