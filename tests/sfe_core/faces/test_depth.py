"""Depth in 16 bits: the fixed code and the mesh backend."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.errors import UserError
from sfe_core.faces.backends import load_depth
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.depth import DepthCode, DepthView, MeshDepth
from sfe_core.faces.head import HeadModel
from sfe_core.faces.rendering import Camera, Raster, raycast


def test_code_goes_there_and_back_and_clips() -> None:
    code = DepthCode("m", -0.12, 0.12)
    metres = np.linspace(-0.12, 0.12, 50)
    assert np.abs(code.decode(code.encode(metres)) - metres).max() < 0.24 / 65535
    assert code.encode(np.array([-1.0, 1.0])).tolist() == [0, 65535]


def head_raster(scale: float, size: int = 64) -> Raster:
    head = HeadModel.load()
    camera = Camera(np.eye(3), scale, np.array([size / 2, size / 2]))
    return raycast(camera.project(head.vertices()[0]), head.faces, size, size)


def test_mesh_depth_is_metric_whatever_the_scale() -> None:
    backend = MeshDepth()
    image = np.zeros((64, 64, 3), np.uint8)
    head = HeadModel.load()
    bridge = head.landmarks()[0][27]
    for scale in (200.0, 280.0):
        raster = head_raster(scale)
        view = DepthView(image, image, CropTransform(32, 32, 64), raster, scale)
        (maps,) = backend.depth_many([view])
        stored = maps.crop
        assert maps.photo is None
        assert stored.dtype == np.uint16 and (stored[~raster.hit] == 0).all()
        row = int(32 - bridge[1] * scale)
        assert backend.code.decode(stored[row, 32]) == pytest.approx(bridge[2], abs=0.006)


def test_zoedepth_without_its_files_says_where_to_get_them() -> None:
    with pytest.raises(UserError, match="zoedepth"):
        load_depth("zoedepth")
