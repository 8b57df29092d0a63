"""Depth of faces in 16 bits: what every backend gives, and the fitted mesh's own depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.rendering import DEPTH_RANGE_M, Raster, depth_map

Depth16 = NDArray[np.uint16]

DEPTH_MAXIMUM = 65535


@dataclass(frozen=True)
class DepthCode:
    """What the 16-bit values of a depth picture mean; fixed per backend, never per picture.

    `low` and `high` are the quantity at values 0 and 65535; `unit` is "m" (metres towards the
    camera from the eyes' plane) or "1/m" (inverse distance from the camera). Larger is nearer
    in both. Pixels without a surface hold 0.
    """

    unit: str
    low: float
    high: float

    def encode(self, quantity: Floats) -> Depth16:
        """Stored values of a quantity in `unit`, clipped to the range, same shape.

        >>> DepthCode("m", -0.12, 0.12).encode(np.array([-1.0, 0.0, 0.12])).tolist()
        [0, 32768, 65535]
        """
        share = (np.asarray(quantity, np.float64) - self.low) / (self.high - self.low)
        return (share.clip(0.0, 1.0) * DEPTH_MAXIMUM).round().astype(np.uint16)

    def decode(self, stored: Floats | Depth16) -> Floats:
        """The quantity behind stored values, same shape, float64."""
        return self.low + (self.high - self.low) * np.asarray(stored, np.float64) / DEPTH_MAXIMUM


@dataclass(frozen=True)
class DepthView:
    """A face whose depth is wanted: all that any backend looks at."""

    photo: Pixels  # [H, W, 3]
    crop: Pixels  # [S, S, 3]
    transform: CropTransform  # the crop's square in the photo
    raster: Raster  # the fitted mesh as seen in the crop, S × S
    scale: float  # pixels of the crop per metre on the face


@dataclass(frozen=True)
class DepthMaps:
    """Depth of one face."""

    crop: Depth16  # [S, S]
    photo: Depth16 | None = None  # [H, W], where the backend looked at the whole photo


class DepthBackend(Protocol):
    """Anything that gives faces their depth."""

    code: DepthCode
    of_mesh: bool  # depth of the mesh: `mesh_depth` of another raster of it is as good

    def depth_many(self, views: Sequence[DepthView]) -> list[DepthMaps]:
        """Depth of many faces, see `code`; a face's depth does not depend on its company."""
        ...


def mesh_depth(raster: Raster, scale: float) -> Depth16:
    """Depth [H, W] of a raster in the mesh's code; `scale` are its pixels per metre."""
    return (depth_map(raster, scale) * DEPTH_MAXIMUM).round().astype(np.uint16)


class MeshDepth:
    """Depth of the fitted mesh: metres in front of the eyes' plane, nothing where no mesh is."""

    code = DepthCode("m", -DEPTH_RANGE_M, DEPTH_RANGE_M)
    of_mesh = True

    def depth_many(self, views: Sequence[DepthView]) -> list[DepthMaps]:
        """See `DepthBackend.depth_many`; the pictures play no part."""
        return [DepthMaps(mesh_depth(view.raster, view.scale)) for view in views]
