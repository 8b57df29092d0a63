"""Adapters: small, exact to save and read, and one plain UNet with them merged in."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.errors import RunError, UserError
from sfe_core.recipes.stableface import name_networks
from sfe_core.reporting import Reporter
from sfe_core.runs.start import train
from sfe_core.training.engine.lora import LORA_FILE, add_lora, load_lora, merged, save_lora
from sfe_core.training.engine.networks import load_networks, save_networks
from sfe_core.training.options import TrainOptions
from tests.sfe_core.conftest import with_settings

NOISE_ALONE = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0}


def adapted(tiny_base, rank: int = 4, frozen=(), trained: bool = True) -> UNet2DConditionModel:
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    add_lora(unet, rank, frozen)
    if trained:
        torch.manual_seed(0)
        for parameter in unet.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
    return unet


def predict(unet) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 7, 32, generator=generator)
    with torch.no_grad():
        return unet(noisy, torch.tensor([3, 700]), text).sample


def test_an_adapter_starts_without_effect_and_alone_trains(tiny_base):
    plain = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    unet = adapted(tiny_base, trained=False)
    torch.testing.assert_close(predict(unet), predict(plain))
    trained = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert trained and all(".lora_" in name for name in trained)
    assert not torch.allclose(predict(adapted(tiny_base)), predict(plain), atol=1e-3)


def test_frozen_modules_get_no_adapter(tiny_base):
    unet = adapted(tiny_base, frozen=("up_blocks.0",), trained=False)
    names = [name for name, p in unet.named_parameters() if p.requires_grad]
    assert names and not any(name.startswith("up_blocks.0.") for name in names)
    blocks = ("down_blocks", "mid_block", "up_blocks")
    with pytest.raises(UserError, match="leaves no attention for LoRA"):
        adapted(tiny_base, frozen=blocks)


def test_merged_computes_the_same_and_leaves_the_adapter_alone(tiny_base):
    unet = adapted(tiny_base)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    plain = merged(unet)
    torch.testing.assert_close(predict(plain), predict(unet), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in unet.state_dict().items())
    reference = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    assert plain.state_dict().keys() == reference.state_dict().keys()


def test_saved_adapters_come_back_bit_for_bit_and_diffusers_reads_them(tiny_base, tmp_path):
    unet = adapted(tiny_base)
    save_lora(unet, tmp_path)
    again = adapted(tiny_base, trained=False)
    load_lora(again, tmp_path)
    for name, tensor in unet.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None)
    pipeline.load_lora_weights(tmp_path, weight_name=LORA_FILE)
    torch.testing.assert_close(predict(pipeline.unet), predict(unet), atol=1e-5, rtol=1e-5)


def test_other_adapters_are_refused(tiny_base, tmp_path):
    save_lora(adapted(tiny_base, rank=4), tmp_path)
    with pytest.raises(RunError, match="not of these adapters.*train.lora_rank"):
        load_lora(adapted(tiny_base, rank=8), tmp_path)
    (tmp_path / LORA_FILE).write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        load_lora(adapted(tiny_base), tmp_path)


def test_a_checkpoint_knows_whether_it_is_of_a_lora_run(tiny_base, tmp_path):
    bank = GuidanceBank(("depth",), (16, 32, 64), 16)
    model = GuidedUNet(adapted(tiny_base), bank)
    networks = name_networks(model, TrainConfig())
    save_networks(tmp_path, model, networks)
    whole = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    torch.testing.assert_close(predict(whole), predict(adapted(tiny_base)), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="train.lora_rank.*is a LoRA run"):
        load_networks(tmp_path, GuidedUNet(whole, bank), networks)


@pytest.mark.slow
def test_a_lora_run_trains_adapters_and_encoders_and_resumes_exactly(workspace):
    settings = {"lora_rank": 4, "steps": 2, "learning_rate": 1e-2, "checkpoint_every": 1}
    workspace = with_settings(workspace, train=settings, loss=NOISE_ALONE)
    through = train(workspace, TrainOptions(run="through"), Reporter())
    shutil.copytree(through.run, workspace.runs / "cut")
    shutil.rmtree(workspace.runs / "cut" / "checkpoint-2")
    cut = train(workspace, TrainOptions(resume="cut"), Reporter())
    for folder in ("unet", "unet_ema", "guidance_encoder", "unet_lora", "unet_lora_ema"):
        (file,) = (through.checkpoint / folder).glob("*.safetensors")
        assert file.read_bytes() == (cut.checkpoint / folder / file.name).read_bytes(), folder
    base = UNet2DConditionModel.from_pretrained(workspace.config.model.base, subfolder="unet")
    tuned = UNet2DConditionModel.from_pretrained(through.checkpoint / "unet")
    changed = {
        name
        for name, tensor in tuned.state_dict().items()
        if not torch.equal(tensor, base.state_dict()[name])
    }
    assert changed and all(".attn" in name for name in changed)
