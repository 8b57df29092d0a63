"""The pixel family: pictures are their own latents, and there is no text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DConditionModel, UNet2DModel

from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.families import known
from sfe_core.diffusion.families.known import family_of, known_families
from sfe_core.diffusion.families.pixel import PixelSpace
from sfe_core.diffusion.hashing import hash_base
from sfe_core.diffusion.loading import check_base, load_base, read_configs
from sfe_core.diffusion.pixel_decoder import PixelDecoder
from sfe_core.errors import UserError
from sfe_core.runs.start import plan_training
from sfe_core.training.options import TrainOptions
from tests.tiny import make_tiny_workspace

BLOCKS = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}


@pytest.fixture(params=[UNet2DModel, UNet2DConditionModel])
def pixel_base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    extra = {"in_channels": 3, "out_channels": 3}
    if request.param is UNet2DConditionModel:
        extra["mid_block_type"] = None
    torch.manual_seed(0)
    unet = request.param(**BLOCKS, **extra)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_pixel_base_loads_and_predicts(pixel_base: Path):
    family, _ = check_base(pixel_base)
    base = load_base(pixel_base)
    assert family.name == base.family.name == "a diffusion model of pixels"
    assert base.vae_factor == 1 and base.text_encoders == {} and base.tokenizers == {}
    texts = base.encode_text(["a face", ""])
    noisy = torch.randn(2, 3, 16, 16)
    arguments = base.family.conditions(texts)
    if isinstance(base.unet, UNet2DConditionModel):
        arguments = {"encoder_hidden_states": None, **arguments}
    assert base.unet(noisy, torch.tensor([1, 9]), **arguments).sample.shape == noisy.shape
    assert len(hash_base(pixel_base)) == 64


def test_pixels_pass_unchanged_with_their_gradient(pixel_base: Path):
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    encoders = Encoders(pixel_base)
    mean, std = encoders.photos(images)
    assert torch.equal(mean, images) and not std.any()
    assert len(encoders.photo_hash()) == len(encoders.text_hash()) == 64
    images.requires_grad_()
    drawn = PixelDecoder(PixelSpace())(images)
    drawn.sum().backward()
    assert torch.equal(drawn, images) and torch.equal(images.grad, torch.ones_like(images))


def test_stableface_refuses_a_pixel_base(pixel_base: Path, tmp_path: Path):
    workspace = make_tiny_workspace(tmp_path / "work", pixel_base, images=8)
    with pytest.raises(UserError, match=r"model\.base.*of pixels.*latents"):
        plan_training(workspace, TrainOptions())


def test_a_unet_that_attends_to_texts_is_refused(tmp_path: Path):
    blocks = {**BLOCKS, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D")}
    blocks["up_block_types"] = ("CrossAttnUpBlock2D", "UpBlock2D")
    unet = UNet2DConditionModel(
        **blocks, in_channels=3, out_channels=3, cross_attention_dim=8, attention_head_dim=4
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="attends to texts, and no text encoder"):
        check_base(tmp_path)


TOY = '''
from dataclasses import dataclass
from diffusers import FlowMatchEulerDiscreteScheduler
from sfe_core.diffusion.families.sd15 import StableDiffusion15

@dataclass(frozen=True)
class ToyFlow(StableDiffusion15):
    """A family that takes what the others refuse: a flow-matching scheduler."""
    name: str = "toy flow"
    schedule_fields: tuple[str, ...] = ("num_train_timesteps", "shift")
    def parts(self, base):
        return {**super().parts(base), "scheduler": FlowMatchEulerDiscreteScheduler}
    def recognises(self, base):
        return base.index.get("_class_name") == "ToyFlowPipeline"
    def check(self, base, where):
        pass

FAMILY = ToyFlow()
'''


def test_a_family_is_one_file(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import shutil

    base = shutil.copytree(tiny_base, tmp_path / "base")
    index = json.loads((base / "model_index.json").read_text())
    index["_class_name"] = "ToyFlowPipeline"
    (base / "model_index.json").write_text(json.dumps(index))
    path = base / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}))
    with pytest.raises(UserError, match="flow-matching"):
        check_base(base)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a_toy_flow.py").write_text(TOY)
    paths = [str(tmp_path / "more"), *known.families.__path__]
    monkeypatch.setattr(known.families, "__path__", paths)
    known_families.cache_clear()
    try:
        assert family_of(read_configs(base)).name == "toy flow"
        loaded = load_base(base)
        assert check_base(base)[0].name == "toy flow" and loaded.scheduler.config.shift == 3.0
        before = hash_base(base)
        path.write_text(path.read_text().replace("3.0", "2.0"))
        assert hash_base(base) != before
    finally:
        monkeypatch.undo()
        known_families.cache_clear()
