"""A ZoeDepth of random weights, a few hundred kilobytes, as transformers saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BeitConfig,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

NYU = {"n_bins": 8, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}
KITTI = {"n_bins": 8, "min_depth": 0.1, "max_depth": 80.0, "name": "kitti"}


def write_zoedepth(folder: Path, bins: list[dict[str, Any]]) -> Path:
    """Write a ZoeDepth with these domains; returns its folder."""
    backbone = BeitConfig(
        image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=64, reshape_hidden_states=False, add_fpn=False,
        use_relative_position_bias=True, out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, backbone_hidden_size=32, neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16, bottleneck_features=16, num_relative_features=16,
        bin_configurations=bins, bin_embedding_dim=16, num_attractors=[4, 2, 2, 1],
        num_patch_transformer_layers=4, patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=64, patch_transformer_num_attention_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = ZoeDepthForDepthEstimation(config)
    # Everything random: as built, many layers are so small that every picture looks alike.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    ZoeDepthImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
