"""The head with its fine detail as a mesh: one vertex per pixel of the face's unwrapping."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfe_core.arrays import Floats, Integers
from sfe_core.errors import UserError
from sfe_core.faces.flame.files import DECA_PAGE, DENSE_TEMPLATE, locate
from sfe_core.faces.flame.unpickling import as_array, load_arrays


@dataclass(frozen=True)
class DenseTemplate:
    """`texture_data_256.npy`: one vertex per UV pixel inside the face's unwrapping, P in all."""

    faces: Integers  # [D, 3] of the dense mesh
    rows: Integers  # [P] of the UV map
    columns: Integers  # [P]
    corners: Integers  # [P, 3] FLAME vertices of the face below
    weights: Floats  # [P, 3] barycentric

    def displace(
        self, vertices: Floats, normals: Floats, displacement: Floats
    ) -> tuple[Floats, Integers]:
        """The detailed mesh.

        Args:
            vertices: [V, 3] metres.
            normals: [V, 3] unit.
            displacement: [256, 256] metres, decoded plus fixed.

        Returns:
            Vertices [P, 3] and faces [D, 3].
        """
        points = np.einsum("pkc,pk->pc", vertices[self.corners], self.weights)
        along = np.einsum("pkc,pk->pc", normals[self.corners], self.weights)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        return points + displacement[self.rows, self.columns, None] * along, self.faces

    def colours(self, uv_map: Floats) -> Floats:
        """Vertex colours [P, C] from a UV picture [256, 256, C]."""
        return uv_map[self.rows, self.columns]


def load_dense_template(folder_or_npy: Path) -> DenseTemplate:
    """Read `texture_data_256.npy`.

    Args:
        folder_or_npy: the file itself, or a folder that holds it (see `flame.files`).

    Raises:
        UserError: missing, unsafe to read, or without one of its keys.
    """
    given = Path(folder_or_npy)
    path = given if given.suffix == ".npy" else locate(given, DENSE_TEMPLATE)
    stored = load_arrays(path, DECA_PAGE)
    stored = stored.item() if isinstance(stored, np.ndarray) and stored.ndim == 0 else stored
    keys = ("f", "y_coords", "x_coords", "valid_pixel_ids", "valid_pixel_3d_faces",
            "valid_pixel_b_coords")  # fmt: skip
    missing = [key for key in keys if not isinstance(stored, dict) or key not in stored]
    if missing:
        raise UserError(path, f"has no {', '.join(missing)}", f"download it from {DECA_PAGE}")
    arrays = {key: as_array(stored[key], f"{path}: {key}") for key in keys}
    chosen = arrays["valid_pixel_ids"].astype(np.int64)
    return DenseTemplate(
        faces=arrays["f"].astype(np.int64),
        rows=arrays["y_coords"][chosen].astype(np.int64),
        columns=arrays["x_coords"][chosen].astype(np.int64),
        corners=arrays["valid_pixel_3d_faces"].astype(np.int64),
        weights=arrays["valid_pixel_b_coords"],
    )
