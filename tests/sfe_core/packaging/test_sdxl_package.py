"""An SDXL run as a package: whole, in one file, as a LoRA; each read by diffusers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.pipeline import GuidedStableDiffusionXLPipeline
from sfe_core.errors import UserError
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import PackageSummary, package_checkpoint
from sfe_core.packaging.preview import preview_package
from tests.sfe_core.packaging.test_package import draw, same_weights
from tests.tiny_workspace import make_run, make_workspace

OPTIONS = PackageOptions(extras=("single-file", "lora-diffusers", "lora-kohya"), lora_rank=64)
NO_MARK = {"add_watermarker": False}


@pytest.fixture(scope="module")
def workspace(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("sdxl") / "work", tiny_sdxl, count=1)
    make_run(workspace)
    return workspace


@pytest.fixture(scope="module")
def package(workspace: Workspace) -> PackageSummary:
    return package_checkpoint(workspace, options=OPTIONS)


def loaded(folder: Path) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(folder, **NO_MARK)


def test_plain_diffusers_loads_every_part(package: PackageSummary, workspace, tiny_sdxl: Path):
    index = json.loads((package.folder / "model_index.json").read_text())
    assert index == json.loads((tiny_sdxl / "model_index.json").read_text())
    assert same_weights(package.folder / "vae", tiny_sdxl / "vae")
    assert same_weights(
        package.folder / "unet", workspace.runs / "first" / "checkpoint-10" / "unet_ema"
    )
    tuned = loaded(package.folder)
    assert np.abs(draw(tuned) - draw(loaded(tiny_sdxl))).max() > 0.01
    guided = GuidedStableDiffusionXLPipeline.from_pretrained(package.folder)
    assert guided.guidance_encoder.map_names == ("landmarks", "depth", "mesh")
    led = draw(guided, guidance_images={"depth": torch.rand(1, 3, 32, 32)})
    assert np.abs(led - draw(tuned)).max() > 0.01
    assert len(package.pictures) == 2


def test_the_card_names_the_classes_of_sdxl(package: PackageSummary):
    card = (package.folder / "README.md").read_text(encoding="utf-8")
    assert "from diffusers import StableDiffusionXLPipeline\n" in card
    assert "import GuidedStableDiffusionXLPipeline\n" in card
    assert "pipeline = GuidedStableDiffusionXLPipeline.from_pretrained" in card
    assert "- stable-diffusion-xl\n" in card


def test_the_single_file_draws_the_same_picture(package: PackageSummary):
    path = package.folder / "first-10.safetensors"
    single = StableDiffusionXLPipeline.from_single_file(
        str(path), config=str(package.folder), local_files_only=True, **NO_MARK
    )
    # Packaging has compared every tensor; another order in memory rounds apart.
    np.testing.assert_allclose(draw(single), draw(loaded(package.folder)), atol=1e-5)
    tensors = load_file(path)
    assert "conditioner.embedders.1.model.text_projection" in tensors
    assert "model.diffusion_model.label_emb.0.0.weight" in tensors
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["modelspec.architecture"] == "stable-diffusion-xl-v1-base"
    assert "not the sizes of Stable Diffusion XL" in package.extras[path.name]


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "kohya.safetensors"])
def test_a_lora_of_full_rank_turns_every_matrix_of_the_base_into_the_packages(
    package: PackageSummary, tiny_sdxl: Path, name: str
):
    base, tuned = loaded(tiny_sdxl), loaded(package.folder).unet.state_dict()
    base.load_lora_weights(package.folder / "lora", weight_name=name)
    base.fuse_lora()
    base.unload_lora_weights()
    matrices = {key: tensor for key, tensor in base.unet.state_dict().items() if tensor.ndim > 1}
    assert len(matrices) > 90
    for key, tensor in matrices.items():
        torch.testing.assert_close(tensor, tuned[key], atol=1e-4, rtol=0, msg=key)


def test_kohyas_names_are_those_of_its_sdxl_trainer(package: PackageSummary):
    with safe_open(package.folder / "lora/kohya.safetensors", framework="pt") as file:
        keys, notes = set(file.keys()), file.metadata()
    assert notes["ss_base_model_version"] == "sdxl_base_v1-0"
    assert "lora_unet_input_blocks_3_1_transformer_blocks_1_attn2_to_k.lora_down.weight" in keys
    assert not any("down_blocks" in key for key in keys)


def test_trained_text_encoders_are_packaged_and_part_of_the_lora(tiny_sdxl: Path, tmp_path: Path):
    workspace = make_workspace(tmp_path / "work", tiny_sdxl, count=1)
    checkpoint = make_run(workspace)
    base = loaded(tiny_sdxl)
    for number, name in enumerate(("text_encoder", "text_encoder_2")):
        network = getattr(base, name)
        torch.manual_seed(number)
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                if key.endswith("proj.weight"):
                    parameter.add_(0.2 * torch.randn_like(parameter))
        for suffix in ("", "_ema"):
            network.save_pretrained(checkpoint / f"{name}{suffix}")
    options = PackageOptions(extras=("lora-kohya",), lora_rank=48)
    made = package_checkpoint(workspace, options=options)
    wanted = base.encode_prompt("happy face")
    packaged = loaded(made.folder).encode_prompt("happy face")
    for one, other in zip(packaged, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    again = loaded(tiny_sdxl)
    before = again.encode_prompt("happy face")[2]
    again.load_lora_weights(made.folder / "lora", weight_name="kohya.safetensors")
    after = again.encode_prompt("happy face")
    assert (before - wanted[2]).abs().max() > 0.01
    # Only attention weights changed, of rank 48 at most: the LoRA carries all of it.
    torch.testing.assert_close(after[0], wanted[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(after[2], wanted[2], atol=1e-4, rtol=0)


def test_the_stableface_layout_is_refused_before_anything_is_written(workspace: Workspace):
    options = PackageOptions(extras=("stableface",))
    for ask in (package_checkpoint, preview_package):
        with pytest.raises(UserError, match="--also stableface: .*do not know Stable Diffusion XL"):
            ask(
                workspace,
                options=options,
                **({"name": "odd"} if ask is package_checkpoint else CHOICE),
            )
    assert not (workspace.packaged / "odd").exists()


def test_the_preview_counts_both_text_encoders(workspace: Workspace, package: PackageSummary):
    preview = preview_package(workspace, OPTIONS, **CHOICE)
    single = (package.folder / "first-10.safetensors").stat().st_size
    assert preview.sizes["text_encoder_2"] > 0
    assert preview.sizes["single-file"] == pytest.approx(single, rel=0.1)


CHOICE = {"run": None, "step": None, "name": None, "weights": "ema", "source": None}
