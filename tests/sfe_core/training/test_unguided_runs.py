"""Runs without guidance maps: saved, gone on from, and chosen for a package."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.packaging.selection import Checkpoint, weight_folders
from sfe_core.recipes.stableface import name_networks
from sfe_core.training.engine.networks import load_networks, save_networks

pytestmark = pytest.mark.slow


def model_of(base, seed: int) -> GuidedUNet:
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    torch.manual_seed(seed)
    with torch.no_grad():
        unet.conv_in.weight.normal_()
    return GuidedUNet(unet, GuidanceBank((), (16, 32, 64), 16))


def test_networks_without_maps_come_back_and_package_without_encoders(tiny_base, tmp_path):
    folder = tmp_path / "run" / "checkpoint-1"
    saved, other = model_of(tiny_base, 1), model_of(tiny_base, 2)
    networks = name_networks(saved, TrainConfig())
    save_networks(folder, saved, networks)
    load_networks(folder, other, networks)
    assert torch.equal(other.unet.conv_in.weight, saved.unet.conv_in.weight)
    (folder / "meta.json").write_text("{}", encoding="utf-8")
    checkpoint = Checkpoint(folder)
    assert list(weight_folders(checkpoint, "raw")) == ["unet"]
