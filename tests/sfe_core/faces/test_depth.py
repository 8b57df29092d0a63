"""Depth in 16 bits: the fixed code, the mesh backend, ZoeDepth at a tiny size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.errors import RunError, UserError
from sfe_core.faces.depth import DepthCode, MeshDepth, ZoeDepth, load_depth
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
        stored = backend.depth(image, raster, scale)
        assert stored.dtype == np.uint16 and (stored[~raster.hit] == 0).all()
        row = int(32 - bridge[1] * scale)
        assert backend.code.decode(stored[row, 32]) == pytest.approx(bridge[2], abs=0.006)


def test_unknown_backend_names_the_known() -> None:
    with pytest.raises(UserError, match="mesh, zoedepth"):
        load_depth("midas")


def test_zoedepth_without_its_files_says_where_to_get_them() -> None:
    with pytest.raises(UserError, match="zoedepth"):
        load_depth("zoedepth")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no ZoeDepth model"):
        ZoeDepth(tmp_path)


@pytest.fixture(scope="module")
def tiny_zoedepth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ZoeDepth of random weights, as transformers saves it."""
    import torch
    from transformers import (
        BeitConfig,
        ZoeDepthConfig,
        ZoeDepthForDepthEstimation,
        ZoeDepthImageProcessor,
    )

    backbone = BeitConfig(
        image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=64, reshape_hidden_states=False, add_fpn=False,
        use_relative_position_bias=True, out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, backbone_hidden_size=32, neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16, bottleneck_features=16, num_relative_features=16,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}],
        bin_embedding_dim=16, num_attractors=[4, 2, 2, 1],
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("zoedepth")
    ZoeDepthForDepthEstimation(config).save_pretrained(folder)
    ZoeDepthImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_zoedepth_gives_inverse_metres_at_the_crops_size(tiny_zoedepth: Path) -> None:
    import torch

    backend = ZoeDepth(tiny_zoedepth)
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    stored = backend.depth(image, head_raster(200.0, 48), 200.0)
    assert stored.shape == (48, 48) and stored.dtype == np.uint16
    metres = 1.0 / backend.code.decode(stored).clip(1e-6)
    # Random weights, but the bins bound what the model can answer.
    assert metres.min() > 0.09 and metres.max() < 10.5
    assert torch.equal(
        torch.from_numpy(stored.astype(np.int64)),
        torch.from_numpy(backend.depth(image, head_raster(250.0, 48), 250.0).astype(np.int64)),
    )
