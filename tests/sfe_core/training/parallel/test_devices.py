"""Memory order and compilation change speed, not results."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.network_layout import plain_attention, to_channels_last
from sfe_core.training.parallel import devices
from sfe_core.training.parallel.devices import compile_blocks


@pytest.fixture
def model(tiny_base) -> GuidedUNet:
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    bank = GuidanceBank(("depth",), (16, 32, 64), 16)
    torch.nn.init.normal_(bank.encoders["depth"].conv_out.weight, std=0.1)
    return GuidedUNet(unet, bank)


def predict_and_go_back(model: GuidedUNet) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 7, 32, generator=generator)
    maps = {"depth": torch.rand(2, 3, 32, 32, generator=generator)}
    model.zero_grad()
    predicted = model(noisy, torch.tensor([3, 700]), text, maps)
    predicted.square().mean().backward()
    return predicted.detach(), model.unet.down_blocks[0].resnets[0].conv1.weight.grad.clone()


def test_channels_last_lies_otherwise_and_computes_the_same(model):
    before = predict_and_go_back(model)
    names = list(model.state_dict())
    to_channels_last(model)
    weight = model.unet.down_blocks[0].resnets[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert list(model.state_dict()) == names
    for ours, theirs in zip(predict_and_go_back(model), before, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_plain_attention_has_no_flash_kernel_and_computes_the_same(model, monkeypatch):
    before = predict_and_go_back(model)
    names = list(model.state_dict())
    plain_attention(model)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", None)
    for ours, theirs in zip(predict_and_go_back(model), before, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert list(model.state_dict()) == names


@pytest.mark.slow
def test_compiled_blocks_compute_the_same_and_keep_their_names(model, monkeypatch):
    monkeypatch.setattr(devices, "BACKEND", "eager")  # traced all the same, without a C++ compiler
    torch._dynamo.reset()
    model.unet.enable_gradient_checkpointing()
    model.train()
    before = predict_and_go_back(model)
    names = list(model.state_dict())
    compile_blocks(model.unet)
    traced = torch._dynamo.utils.counters
    traced.clear()
    again = predict_and_go_back(model)
    assert traced["stats"]["unique_graphs"] >= 4  # two down, two up, the middle; and breaks
    graphs = traced["stats"]["unique_graphs"]
    predict_and_go_back(model)
    assert traced["stats"]["unique_graphs"] == graphs  # another hook compiles nothing anew
    for ours, theirs in zip(again, before, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert list(model.state_dict()) == names
