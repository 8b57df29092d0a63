"""A face's buffers as the physical recipe reads them: shaded face, normals and albedo, as a tensor.

`preprocess.save_buffers` stores them as pictures. Of a person's album there may be a second set,
below `mean_shape/`, whose geometry is the mean of the album's shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sfe_core.arrays import Mask
from sfe_core.corpus.artefacts.kinds import BUFFERS, KINDS
from sfe_core.corpus.layout import MEAN_SHAPE
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import WHOLE, Frame
from sfe_core.errors import UserError
from sfe_core.files import sha256_json

# Three each, in the order of `BUFFERS`.
CHANNELS = 9
NORMALS = slice(3, 6)
_ACROSS = NORMALS.start  # the normals' x


def buffer_folders(mean_shape: bool = False) -> dict[str, str]:
    """Name of a buffer to its folder below the corpus."""
    return {name: f"{MEAN_SHAPE}/{name}" if mean_shape else name for name in BUFFERS}


def stack_buffers(
    lambertian: NDArray[Any], normals: NDArray[Any], albedo: NDArray[Any], hit: Mask
) -> Tensor:
    """Buffers as a network takes them: float32 [9, H, W], all 0 off the mesh.

    Args:
        lambertian: the shaded face [H, W, 3] RGB: uint8, or float in about [0, 1], which is not
            clamped.
        normals: [H, W, 3], x to the picture's right, y up, z to the viewer: float in [-1, 1], or
            uint8 (n + 1) / 2.
        albedo: as `lambertian`.
        hit: [H, W], where the mesh is.

    Returns:
        Shaded face in about [0, 1], normals in [-1, 1], albedo in [0, 1].
    """
    plain = [_unit(lambertian), _unit(normals), _unit(albedo)]
    if normals.dtype == np.uint8:
        plain[1] = plain[1] * 2.0 - 1.0
    stacked = np.concatenate(plain, axis=2) * np.asarray(hit, np.float32)[..., None]
    return torch.from_numpy(np.ascontiguousarray(stacked.transpose(2, 0, 1)))


def read_buffers(
    corpus: Corpus, key: str, size: int, mean_shape: bool = False, frame: Frame = WHOLE
) -> Tensor:
    """The buffers of a face: float32 [9, size, size], see `stack_buffers`.

    What is stored is 8 bits deep: a shaded face brighter than 1 was clamped.

    Args:
        corpus: holds them, see `require_buffers`.
        key: of the face.
        size: side, pixels.
        mean_shape: those with the album's mean shape.
        frame: the part that is looked at. A mirrored frame's normals point to the other side.

    Raises:
        RunError: a picture is missing or torn.
    """
    shaded, normals, albedo = (
        np.asarray(corpus.picture(folder, key).convert("RGB"))
        for folder in buffer_folders(mean_shape).values()
    )
    # Black, (-1, -1, -1), is no normal that a camera sees.
    stacked = stack_buffers(shaded, normals, albedo, np.any(normals, axis=2))
    if stacked.shape[1:] != (size, size) or frame.side < 1:
        stacked = _resampled(stacked, size, frame)
    return mirrored(stacked) if frame.mirrored else stacked


def mirrored(buffers: Tensor) -> Tensor:
    """The buffers of the mirrored face: [..., 9, H, W] to the same shape.

    Left and right change places, and with them the sign of the normals' x.
    """
    turned = buffers.flip(-1)
    turned[..., _ACROSS, :, :] *= -1
    return turned


def require_buffers(corpus: Corpus, rows: pd.DataFrame, mean_shape: bool = False) -> None:
    """Refuse a corpus in which the buffers of any of these rows are missing.

    Args:
        corpus: to be learnt from.
        rows: of its manifest.
        mean_shape: those with the album's mean shape are asked for.

    Raises:
        UserError: says how many and which.
    """
    keys = rows["key"].tolist()
    asked = "mean_shape" if mean_shape else "save_buffers"
    remedy = f"set preprocess.{asked}: true and run `sfe preprocess` again"
    for folder in buffer_folders(mean_shape).values():
        column, lost = _column(folder), set(corpus.store.missing(folder, keys))
        if column is not None:
            lost |= set(keys if column not in rows else rows.loc[rows[column].isna(), "key"])
        if lost:
            raise UserError(
                corpus.place,
                f"{len(lost)} of {len(keys)} faces have no {folder} ({min(lost)})",
                remedy,
            )


def hash_buffers(rows: pd.DataFrame, mean_shape: bool = False) -> str:
    """Hex SHA-256 over the buffers of these rows, as the manifest has them."""
    columns = [_column(folder) for folder in buffer_folders(mean_shape).values()]
    known = [column for column in columns if column is not None and column in rows]
    return sha256_json(rows[["key", *known]].astype(str).to_numpy().tolist())


def _column(folder: str) -> str | None:
    """The manifest's column of the artefact in a folder; None: it knows none."""
    return next((kind.column for kind in KINDS if kind.folder == folder), None)


def _unit(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255.0)
    return values.astype(np.float32)


def _resampled(buffers: Tensor, size: int, frame: Frame) -> Tensor:
    """A frame of them, not yet mirrored; antialiased, and within the range of what is there."""
    height, width = buffers.shape[1:]
    left, top = frame.left * width, frame.top * height
    box = (left, top, left + frame.side * width, top + frame.side * height)
    channels = [
        Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR, box=box)
        for channel in buffers.numpy()
    ]
    return torch.from_numpy(np.stack([np.asarray(one, np.float32) for one in channels]))
