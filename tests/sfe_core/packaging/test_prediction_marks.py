"""A model that predicts v, read by the rules of the programs it is packaged for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.loaders.single_file_utils import (
    create_unet_diffusers_config_from_ldm,
    create_vae_diffusers_config_from_ldm,
)
from PIL import Image
from safetensors import safe_open

from sfe_core.packaging import extras as module
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import PackageSummary, package_checkpoint
from sfe_core.packaging.prediction_marks import read_schedule, write_config
from tests.sfe_core.packaging.test_package import draw
from tests.tiny_workspace import make_run, make_workspace

OPTIONS = PackageOptions(
    extras=("single-file", "lora-diffusers", "lora-kohya", "stableface"), lora_rank=64
)
LORAS = ("lora/kohya.safetensors", "lora/pytorch_lora_weights.safetensors")


def make_package(base: Path, root: Path, standard: bool, **schedule: object):
    """A package with other forms, of a run with a schedule of its own where one is given.

    Args:
        standard: take the tiny model for one of Stable Diffusion 1.x's sizes.

    Returns:
        The package, and the prediction that each picture of its trial was drawn by.
    """
    workspace = make_workspace(root / "work", base, count=1)
    checkpoint = make_run(workspace)
    if schedule:
        own = DDIMScheduler.from_pretrained(base / "scheduler")
        plain = {"clip_sample": False, "set_alpha_to_one": False}
        DDIMScheduler.from_config(own.config, **plain, **schedule).save_pretrained(
            checkpoint / "scheduler"
        )
    drawn = []

    def watched(pipeline, order):
        drawn.append(pipeline.scheduler.config.prediction_type)
        return draw_trial(pipeline, order)

    draw_trial = module.draw_trial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "draw_trial", watched)
        if standard:
            patch.setattr(module, "is_standard", lambda pipeline, family: True)
        return package_checkpoint(workspace, options=OPTIONS), drawn


V = {"prediction_type": "v_prediction"}
ZERO = {**V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@pytest.fixture(scope="module", params=[V, ZERO], ids=["v", "zero"])
def case(request, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory):
    return make_package(tiny_base, tmp_path_factory.mktemp("v"), True, **request.param)


@pytest.fixture(scope="module")
def plain(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> PackageSummary:
    return make_package(tiny_base, tmp_path_factory.mktemp("plain"), True)[0]


def opened(path: Path) -> tuple[set[str], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return set(file.keys()), file.metadata()


def a1111_reads(path: Path) -> tuple[str, bool]:
    """`find_checkpoint_config` and `load_model_weights`: the .yaml of that name, the key ztsnr."""
    config = path.with_suffix(".yaml")
    model = yaml.safe_load(config.read_text())["model"] if config.exists() else {"params": {}}
    return model["params"].get("parameterization", "eps"), "ztsnr" in opened(path)[0]


def comfyui_reads(path: Path) -> str:
    """`supported_models`: SDXL by the key, Stable Diffusion 1 is always eps."""
    keys = opened(path)[0]
    sdxl = any(key.startswith("conditioner.") for key in keys)
    return "v" if sdxl and "v_pred" in keys else "eps"


@pytest.mark.slow
def test_the_single_file_is_read_as_it_predicts(case):
    package, _ = case
    path = package.folder / "first-10.safetensors"
    zero = read_schedule(package.folder / "scheduler").zero_snr
    assert a1111_reads(path) == ("v", zero)
    keys, notes = opened(path)
    assert ("v_pred" in keys, "ztsnr" in keys) == (True, zero)
    assert notes["modelspec.prediction_type"] == "v"
    told = package.extras[path.name]
    # No mark that ComfyUI reads exists, so a person must set it.
    assert comfyui_reads(path) == "eps"
    assert f"sampling v_prediction and zsnr {str(zero).lower()}" in told
    assert "`first-10.yaml`" in told and "first-10.yaml" in package.extras
    assert ("Zero Terminal SNR" in told) == zero
    card = (package.folder / "README.md").read_text()
    assert "set that where it is drawn" in package.extras["stableface/"]
    assert told in card and "| UNet predicts | v (v_prediction)" in card


@pytest.mark.slow
def test_a_plain_model_has_no_marks(plain: PackageSummary):
    path = plain.folder / "first-10.safetensors"
    assert a1111_reads(path) == ("eps", False)
    keys, notes = opened(path)
    assert not {"v_pred", "ztsnr"} & keys and notes["modelspec.prediction_type"] == "epsilon"
    assert plain.extras[path.name].endswith("for ComfyUI, A1111 and `from_single_file`")
    notes = opened(plain.folder / LORAS[0])[1]
    assert notes["ss_v_parameterization"] == "False"
    assert not list(plain.folder.rglob("*.yaml"))[1:]  # train_config.yaml at most
    told = "".join(plain.extras.values())
    assert "must be set" not in told and "set that" not in told


def test_the_yaml_describes_stable_diffusion_1(case, tmp_path: Path):
    schedule = read_schedule(case[0].folder / "scheduler")
    write_config(tmp_path / "x.yaml", schedule)
    config = yaml.safe_load((tmp_path / "x.yaml").read_text())
    unet = create_unet_diffusers_config_from_ldm(config, {}, image_size=512)
    assert tuple(unet["block_out_channels"]) == (320, 640, 1280, 1280)
    assert (unet["cross_attention_dim"], unet["attention_head_dim"]) == (768, 8)
    assert tuple(unet["down_block_types"]) == ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    vae = create_vae_diffusers_config_from_ldm(config, {}, image_size=512)
    assert tuple(vae["block_out_channels"]) == (128, 256, 512, 512)
    assert vae["scaling_factor"] == 0.18215
    params = config["model"]["params"]
    scheduler = DDIMScheduler.from_pretrained(case[0].folder / "scheduler").config
    assert params["linear_start"] == scheduler.beta_start
    assert params["linear_end"] == scheduler.beta_end


def test_a_lora_is_tried_as_its_card_says(case, tiny_base: Path):
    package, drawn = case
    assert set(drawn) == {"v_prediction"}
    tuned = draw(StableDiffusionPipeline.from_pretrained(package.folder))
    for name in LORAS:
        told = package.extras[name]
        assert "the base must be set to predict v" in told and "`lora/base.yaml`" in told
        assert 'DDIMScheduler.from_pretrained(<this folder>, subfolder="scheduler")' in told
        assert "too little" not in told
        base = StableDiffusionPipeline.from_pretrained(tiny_base)
        base.load_lora_weights(package.folder / "lora", weight_name=Path(name).name)
        unset = np.abs(draw(base) - tuned).mean()
        base.scheduler = DDIMScheduler.from_pretrained(package.folder, subfolder="scheduler")
        assert np.abs(draw(base) - tuned).mean() < 0.7 * unset
    notes = opened(package.folder / LORAS[0])[1]
    zero = read_schedule(package.folder / "scheduler").zero_snr
    assert (notes["ss_v_parameterization"], notes["ss_zero_terminal_snr"]) == ("True", str(zero))
    config = yaml.safe_load((package.folder / "lora/base.yaml").read_text())
    assert config["model"]["params"]["parameterization"] == "v"


def test_a_model_of_other_sizes_names_diffusers_alone(tiny_base: Path, tmp_path: Path):
    package, _ = make_package(tiny_base, tmp_path, False, **V)
    assert not list(package.folder.rglob("base.yaml"))
    for name in ("first-10.safetensors", *LORAS):
        assert "ComfyUI" not in package.extras[name]
        assert "<this folder>" in package.extras[name]


def test_a_lora_that_draws_no_nearer_is_told():
    wanted, near, far = (Image.new("RGB", (8, 8), (level,) * 3) for level in (100, 110, 160))
    assert module._nearness(near, far, wanted) == ""
    told = module._nearness(far, near, wanted)
    assert "60.0 of 255" in told and "10.0" in told and "--lora-rank" in told
