"""A head's mesh as OBJ and GLB, with the colour of its vertices where the backend knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Raster
from sfe_core.faces.shading import to_pixels
from sfe_core.files import atomic_path

_OBJ_DIGITS = 7


def vertex_albedo(head: Reconstruction) -> Floats | None:
    """The albedo of every vertex [V, 3] RGB in [0, 1], as the picture of the albedo shows it.

    0 where no face has the vertex; None where the backend has no texture model. Where a vertex has
    several places in the texture, that of its last face counts.
    """
    if head.surface is None:
        return None
    face_of = np.full(len(head.points), -1, np.int32)
    corner_of = np.zeros(len(head.points), np.int64)
    for corner in range(3):
        face_of[head.faces[:, corner]] = np.arange(len(head.faces))
        corner_of[head.faces[:, corner]] = corner
    weights = np.eye(3, dtype=np.float32)[corner_of] * (face_of >= 0)[:, None]
    # A picture of one row, whose rays meet the vertices one after the other.
    nothing = np.zeros((1, len(head.points), 3), np.float32)
    raster = Raster(face_of[None], weights[None], nothing[..., 0], nothing)
    albedo = head.surface.albedo(raster)
    return None if albedo is None else albedo[0]


def write_mesh(
    path: Path, vertices: Floats, faces: NDArray[np.integer], albedo: Floats | None = None
) -> None:
    """Write a mesh atomically; vertices that no face has are left out, the others keep their order.

    Args:
        path: .obj or .glb. OBJ has colours behind the coordinates, as MeshLab and Blender read
            them; glTF 2.0 has linear ones (section 3.7.2.1), and normals, so that it is not shown
            in facets.
        vertices: [V, 3] metres.
        faces: [F, 3].
        albedo: [V, 3] sRGB in [0, 1].

    Raises:
        RunError: the file cannot be written.
    """
    import trimesh

    used, numbers = np.unique(faces, return_inverse=True)
    is_glb = path.suffix == ".glb"
    colours = None
    if albedo is not None:
        colours = to_pixels(_linear(albedo[used]) if is_glb else albedo[used])
    mesh = trimesh.Trimesh(
        vertices[used], numbers.reshape(-1, 3), vertex_colors=colours, process=False
    )
    with atomic_path(path) as partial:
        if is_glb:
            mesh.export(partial, include_normals=True)
        else:
            mesh.export(partial, include_normals=False, digits=_OBJ_DIGITS, header="made by sfe")


def _linear(colours: Floats) -> Floats:
    """sRGB in [0, 1] without its transfer function (IEC 61966-2-1)."""
    high = ((np.maximum(colours, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(colours <= 0.04045, colours / 12.92, high)
