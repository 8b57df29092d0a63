"""Bases that cannot be trained are named in one line by `sfe train --dry-run`, before any work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from sfe_cli.main import app
from sfe_core.diffusion.loading import check_base, load_part
from sfe_core.errors import UserError
from tests.tiny import make_tiny_workspace


def edited(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def other_unet(base: Path, **values: Any) -> None:
    """Another UNet of random weights, which fits its own changed configuration."""
    config = UNet2DConditionModel.load_config(base / "unet")
    UNet2DConditionModel.from_config({**config, **values}).save_pretrained(base / "unet")


def weights(base: Path, part: str, change: Callable[[dict], dict]) -> None:
    (path,) = (base / part).glob("*.safetensors")
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def as_bin(base: Path, part: str, change: Callable[[dict], dict]) -> None:
    (path,) = (base / part).glob("*.safetensors")
    torch.save(change(load_file(path)), path.with_name("pytorch_model.bin"))
    path.unlink()


def without_last(tensors: dict) -> dict:
    return dict(list(tensors.items())[:-1])


def prefixed(tensors: dict) -> dict:
    return {f"transformer.{name}": tensor for name, tensor in tensors.items()}


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "inpainting": (lambda b: other_unet(b, in_channels=9), "is an inpainting model"),
    "channels": (
        lambda b: edited(b / "vae" / "config.json", latent_channels=16),
        "its VAE has 16 latent channels, and its UNet takes 4",
    ),
    "sd 2": (lambda b: other_unet(b, cross_attention_dim=1024), "is Stable Diffusion 2"),
    "text width": (
        lambda b: other_unet(b, cross_attention_dim=48),
        "its text encoder gives 32 numbers a token, and its UNet takes 48",
    ),
    "flow": (
        lambda b: edited(
            b / "scheduler" / "scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"
        ),
        "is a flow-matching model",
    ),
    "sd 3": (
        lambda b: edited(
            b / "model_index.json",
            _class_name="StableDiffusion3Pipeline",
            transformer=["diffusers", "SD3Transformer2DModel"],
            unet=[None, None],
        ),
        "is StableDiffusion3Pipeline, which no family knows",
    ),
    "part": (lambda b: shutil.rmtree(b / "text_encoder"), "text_encoder: is missing"),
    "missing": (
        lambda b: weights(b, "text_encoder", without_last),
        "text_encoder: its weights do not fit its configuration: no ",
    ),
    "prefixed": (
        lambda b: weights(b, "text_encoder", prefixed),
        "text_encoder: its weights do not fit its configuration: no ",
    ),
    "unexpected": (
        lambda b: weights(b, "unet", lambda w: {**w, "odd.weight": torch.zeros(2)}),
        "unet: its weights do not fit its configuration: unknown odd.weight",
    ),
    "shape": (
        lambda b: weights(b, "vae", lambda w: {**w, "quant_conv.bias": torch.zeros(3)}),
        "vae: its weights do not fit its configuration: quant_conv.bias is [3], not [8]",
    ),
    "bin": (
        lambda b: as_bin(b, "text_encoder", without_last),
        "text_encoder: its weights do not fit its configuration: no ",
    ),
    "none": (
        lambda b: next((b / "unet").glob("*.safetensors")).unlink(),
        "unet: its weights do not fit its configuration: no weights",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    root = tmp_path_factory.mktemp("refused")
    base = shutil.copytree(tiny_base, root / "base")
    space = make_tiny_workspace(root / "work", base, loss={"emotion_network": "tiny-emotion-loss"})
    settings = space.config.model_dump(mode="json", exclude_unset=True)
    (space.root / "sfe.yaml").write_text(yaml.safe_dump(settings))
    return space.root


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_says_what_is_wrong(workspace: Path, tmp_path: Path, name: str):
    base = shutil.copytree(workspace.parent / "base", tmp_path / "base")
    break_it, said = CASES[name]
    break_it(base)
    typed = ["train", "-w", str(workspace), "--dry-run", "--set", f"model.base={base}"]
    result = CliRunner().invoke(app, typed)
    assert result.exit_code == 2, result.output
    line = " ".join(result.stderr.split())
    assert said in line and "model.base" in line and result.stderr.count("\n") == 1


def test_a_whole_base_passes(workspace: Path):
    base = workspace.parent / "base"
    result = CliRunner().invoke(app, ["train", "-w", str(workspace), "--dry-run"])
    assert result.exit_code == 0, result.stderr
    assert check_base(base)[0].name == "Stable Diffusion 1.5"


@pytest.mark.parametrize("change", [without_last, prefixed])
def test_no_part_is_loaded_on_random_layers(tiny_base: Path, tmp_path: Path, change):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    weights(base, "text_encoder", change)
    with pytest.raises(UserError, match="text_encoder: its weights do not fit.*no "):
        load_part(base, "text_encoder")


def test_sdxl_with_another_second_encoder_is_refused(tiny_sdxl: Path, tmp_path: Path):
    check_base(tiny_sdxl)
    base = shutil.copytree(tiny_sdxl, tmp_path / "base")
    edited(base / "text_encoder_2" / "config.json", projection_dim=16)
    with pytest.raises(UserError, match="pooled text and time ids are 64 numbers.*takes 88"):
        check_base(base)
