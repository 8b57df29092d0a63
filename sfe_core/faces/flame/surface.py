"""What FLAME knows of a head's surface, sampled on the pixels where rays hit it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sfe_core.arrays import Floats, Integers
from sfe_core.faces.flame.dense_mesh import DenseTemplate
from sfe_core.faces.flame.uv import UvAtlas
from sfe_core.faces.rendering import Raster


@dataclass(frozen=True)
class FlameSurface:
    """`reconstruction.Surface` for one head; its rasters are cast with the template's faces.

    Normals are sampled bilinearly and not stretched back to unit length, as in the public
    implementations, so that pictures shaded from them agree.
    """

    atlas: UvAtlas
    uv_normals: Tensor  # [3, S, S] camera frame, with the fine detail
    uv_albedo: Tensor | None = None  # [3, S, S] RGB in [0, 1]
    light: Floats | None = None  # [9, 3] spherical harmonics (band, RGB)
    vertex_normals: Floats | None = None  # [V, 3] camera frame, without the fine detail
    faces: NDArray[np.int32] | None = None  # [F, 3] the template's, for `vertex_normals`
    points: Floats | None = None  # [V, 3] metres, for `detailed_mesh`
    displacement: Floats | None = None  # [S, S] metres along the normals, decoded plus fixed
    dense: DenseTemplate | None = None

    def normals(self, raster: Raster) -> Floats:
        """[H, W, 3] with the fine detail, 0 where no hit."""
        return self.atlas.sample(self.uv_normals, raster)

    def coarse_normals(self, raster: Raster) -> Floats:
        """[H, W, 3] of the mesh alone, 0 where no hit.

        Unlike the raster's own they are neither made unit again nor turned towards the viewer at
        the outline, so that the geometry's picture agrees with the public implementations there.
        """
        if self.vertex_normals is None or self.faces is None:
            return raster.normals
        normals = np.zeros((*raster.hit.shape, 3), np.float32)
        normals[raster.hit] = raster.interpolate(self.vertex_normals, self.faces)
        return normals

    def albedo(self, raster: Raster) -> Floats | None:
        """[H, W, 3] RGB in [0, 1], 0 where no hit; None without a texture model."""
        if self.uv_albedo is None:
            return None
        return self.atlas.sample(self.uv_albedo, raster).clip(0.0, 1.0)

    def detailed_mesh(self) -> tuple[Floats, Integers] | None:
        """The displaced surface: vertices [P, 3] in the frame of `points`, faces [D, 3].

        None without a dense template.
        """
        if (
            self.dense is None
            or self.points is None
            or self.vertex_normals is None
            or self.displacement is None
        ):
            return None
        return self.dense.displace(self.points, self.vertex_normals, self.displacement)

    def arrays(self) -> dict[str, Floats]:
        """The light; all else is in the codes."""
        return {} if self.light is None else {"light": self.light}
