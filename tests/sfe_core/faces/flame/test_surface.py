"""A posed head drawn from its surface: what each pixel gets is what its own point has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sfe_core.faces.flame.detail import DetailGeometry
from sfe_core.faces.flame.model import Flame
from sfe_core.faces.flame.surface import FlameSurface
from sfe_core.faces.flame.texture import AlbedoModel
from sfe_core.faces.flame.uv import load_head_template
from sfe_core.faces.rendering import Raster, raycast
from sfe_core.faces.shading import lambertian, shade_geometry


def front_view(flame: Flame, faces: np.ndarray, size: int = 160) -> Raster:
    scale = size / 0.28
    image = flame.v_template.numpy() * [scale, -scale, scale] + [size / 2, size / 2, 0]
    return raycast(image.astype(np.float32), faces, size, size)


def test_surface_of_a_head_in_front_view(flame_folder: Path, flame: Flame) -> None:
    detail = DetailGeometry.load(flame_folder)
    raster = front_view(flame, load_head_template(flame_folder).faces)
    uv_normals = detail.normals(flame.v_template[None], torch.zeros(1, 1, 256, 256))[0]
    uv_albedo = AlbedoModel.load(flame_folder)(torch.zeros(1, 50))[0]
    light = np.zeros((9, 3))
    light[0], light[3] = 2.0, 0.5
    surface = FlameSurface(detail.atlas, uv_normals, uv_albedo, light)

    normals = surface.normals(raster)
    lengths = np.linalg.norm(normals, axis=-1)
    assert lengths.max() < 1 + 1e-5 and not normals[~raster.hit].any()
    middle = raster.hit & (raster.normals[..., 2] > 0.6)
    assert middle.sum() > 3000
    cosine = (normals * raster.normals).sum(-1)[middle] / lengths[middle]
    assert cosine.mean() > 0.98  # apart by the fixed displacement's bumps alone

    albedo = surface.albedo(raster)
    assert albedo is not None and np.allclose(albedo[middle], [0.6, 0.5, 0.4], atol=1e-5)
    assert surface.light is not None
    picture = lambertian(normals, albedo, surface.light, raster.hit)
    ratio = picture[middle][:, 0] / picture[middle][:, 2]
    assert np.allclose(ratio, 1.5, atol=1e-3)
    grey = shade_geometry(normals, raster.hit)
    assert grey[middle].min() > 0.2 and not grey[~raster.hit].any()


def test_a_surface_without_texture_says_so(flame_folder: Path, flame: Flame) -> None:
    template = load_head_template(flame_folder)
    detail = DetailGeometry.load(flame_folder)
    surface = FlameSurface(detail.atlas, torch.zeros(3, 256, 256))
    assert surface.albedo(front_view(flame, template.faces, 32)) is None
    assert surface.light is None and surface.detailed_mesh() is None
