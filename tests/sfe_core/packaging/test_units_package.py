"""Packages of runs that learnt action units, loaded again and drawn with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.pipeline import (
    GuidedStableDiffusionPipeline,
    GuidedStableDiffusionXLPipeline,
)
from sfe_core.diffusion.unit_attention import UnitAttention, unit_conditions
from sfe_core.errors import RunError, UserError
from sfe_core.packaging.listing import action_units, guidance_maps
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import package_checkpoint
from sfe_core.packaging.preview import preview_package
from tests.tiny_workspace import make_units_run, make_workspace

UNITS = ("AU4", "AU12")
KINDS = {
    "tiny_base": (StableDiffusionPipeline, GuidedStableDiffusionPipeline),
    "tiny_sdxl": (StableDiffusionXLPipeline, GuidedStableDiffusionXLPipeline),
}


def draw(pipeline, prompts="a face", seeds=(1,), **more) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    options = {"height": 32, "width": 32, "num_inference_steps": 2, "guidance_scale": 3.0} | more
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(prompts, generator=generators, output_type="np", **options).images


@pytest.fixture
def workspace(tiny_base: Path, tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "work", tiny_base, count=1)


@pytest.mark.slow
@pytest.mark.parametrize("base", KINDS)
def test_a_package_draws_by_units_and_plain_diffusers_draws_the_base(base, request, tmp_path):
    plain, guided = KINDS[base]
    folder = request.getfixturevalue(base)
    workspace = make_workspace(tmp_path / "work", folder, count=1)
    checkpoint = make_units_run(workspace, UNITS)
    made = package_checkpoint(workspace)
    assert (action_units(made.folder), guidance_maps(made.folder)) == (UNITS, ())
    packaged, average = (
        load_file(place / "diffusion_pytorch_model.safetensors")
        for place in (made.folder / "action_units", checkpoint / "action_units_ema")
    )
    assert all(torch.equal(packaged[name], tensor) for name, tensor in average.items())
    assert np.array_equal(
        draw(plain.from_pretrained(made.folder)), draw(plain.from_pretrained(folder))
    )
    pipeline = guided.from_pretrained(made.folder)
    without = draw(pipeline)
    by = {scale: draw(pipeline, action_units={"AU12": 3}, units_guidance_scale=scale)
          for scale in (0.0, 1.0, 4.0)}  # fmt: skip
    assert np.array_equal(without, draw(plain.from_pretrained(folder)))
    assert by[0.0] == pytest.approx(without, abs=1e-5)
    assert np.abs(by[1.0] - without).max() > 0.01 < np.abs(by[4.0] - by[1.0]).max()
    assert np.array_equal(draw(pipeline), without)  # nothing of it stays


def test_card_and_provenance_name_the_units(workspace: Workspace):
    make_units_run(workspace, UNITS)
    chosen = {"run": None, "step": None, "name": None, "weights": "ema", "source": None}
    preview = preview_package(workspace, PackageOptions(), **chosen)
    made = package_checkpoint(workspace)
    assert preview.sizes["action_units"] == sum(
        4 * tensor.numel()
        for tensor in UnitAttention.from_pretrained(made.folder / "action_units").parameters()
    )
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "left and right apart: AU4, AU12." in card and 'action_units={"AU4": 3}' in card
    assert "text and action units" in card and "text and maps" not in card
    assert json.loads((made.folder / "provenance.json").read_text())["action_units"] == list(UNITS)
    assert [path.name for path in made.pictures] == ["sample.png", "sample_guided.png"]
    first, second = (np.asarray(Image.open(path), int) for path in made.pictures)
    assert np.abs(first - second).max() > 2


def test_maps_and_units_lie_in_one_package_and_act_together(workspace: Workspace):
    make_units_run(workspace, UNITS, alone=False)
    folder = package_checkpoint(workspace).folder
    assert len(guidance_maps(folder)) == 3 and action_units(folder) == UNITS
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(folder)
    both = {"guidance_images": {"depth": torch.rand(1, 3, 32, 32)}, "action_units": {"AU12": 3}}
    drawn = draw(pipeline, **both)
    for name, value in both.items():
        assert np.abs(drawn - draw(pipeline, **{name: value})).max() > 0.01


def test_raw_weights_are_packaged_where_asked(workspace: Workspace):
    checkpoint = make_units_run(workspace, UNITS)
    raw = package_checkpoint(workspace, weights="raw").folder / "action_units"
    first, second = (
        load_file(place / "diffusion_pytorch_model.safetensors")
        for place in (raw, checkpoint / "action_units")
    )
    assert all(torch.equal(first[name], tensor) for name, tensor in second.items())


def test_each_picture_has_its_own_units(workspace: Workspace):
    make_units_run(workspace, UNITS)
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(package_checkpoint(workspace).folder)
    asked = [{"AU4": 4.0}, {"AU12L": 2.0, "AU12R": 0.0}]
    together = draw(pipeline, ["a face"] * 2, (1, 2), action_units=asked)
    for place, one in enumerate(asked):
        alone = draw(pipeline, seeds=(place + 1,), action_units=one)
        assert together[place] == pytest.approx(alone[0], abs=1e-5)
    told = unit_conditions(UNITS, asked)
    assert np.array_equal(draw(pipeline, ["a face"] * 2, (1, 2), action_units=told), together)
    with pytest.raises(UserError, match="told of 2 pictures, and 3 are drawn"):
        draw(pipeline, ["a face"] * 3, (1, 2, 3), action_units=asked)
    with pytest.raises(UserError, match="'AU9' is not known; known: AU4, AU12"):
        draw(pipeline, action_units={"AU9": 1})


@pytest.mark.slow
def test_a_personal_lora_and_units_act_together(workspace: Workspace, tmp_path: Path):
    """Another run's LoRA, of one person, loaded as any diffusers user would."""
    personal = make_workspace(tmp_path / "person", Path(workspace.config.model.base), count=1)
    make_units_run(personal, UNITS, alone=False)
    lora = package_checkpoint(personal, options=PackageOptions(extras=("lora-diffusers",))).folder
    make_units_run(workspace, UNITS)
    folder = package_checkpoint(workspace).folder
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(folder)
    asked = {"action_units": {"AU12": 3}}
    plain, units = draw(pipeline), draw(pipeline, **asked)
    pipeline.load_lora_weights(lora / "lora", weight_name="pytorch_lora_weights.safetensors")
    person, both = draw(pipeline), draw(pipeline, **asked)
    pictures = [plain, units, person, both]
    apart = [np.abs(one - other).max() for n, one in enumerate(pictures) for other in pictures[:n]]
    assert min(apart) > 0.01
    pipeline.fuse_lora()
    assert draw(pipeline, **asked) == pytest.approx(both, abs=1e-3)
    pipeline.unfuse_lora()
    pipeline.unload_lora_weights()
    assert draw(pipeline, **asked) == pytest.approx(units, abs=1e-3)


# What does not go


def test_units_of_another_base_are_refused(workspace: Workspace, tiny_sdxl: Path):
    make_units_run(workspace, UNITS)
    folder = package_checkpoint(workspace).folder
    own = UnitAttention.from_pretrained(folder / "action_units")
    with pytest.raises(UserError, match="action_units: is of a UNet with other layers"):
        GuidedStableDiffusionXLPipeline.from_pretrained(tiny_sdxl, action_units=own)
    plain = GuidedStableDiffusionPipeline.from_pretrained(workspace.config.model.base)
    with pytest.raises(UserError, match="has no action_units/"):
        draw(plain, action_units={"AU12": 3})


def test_other_forms_of_units_alone_are_refused_before_work(workspace: Workspace):
    make_units_run(workspace, UNITS)
    for form in ("single-file", "lora-kohya", "stableface"):
        with pytest.raises(UserError, match=f"--also {form}: the run learnt action units alone"):
            package_checkpoint(workspace, options=PackageOptions(extras=(form,)))
    assert not any(workspace.packaged.glob("*"))


def test_torn_units_are_told(workspace: Workspace):
    checkpoint = make_units_run(workspace, UNITS, alone=False)
    weights = checkpoint / "action_units_ema" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    save_file({name: part for name, part in state.items() if name != "encoder.directions"}, weights)
    with pytest.raises(RunError, match="action_units: 1 missing keys, encoder.directions first"):
        package_checkpoint(workspace)
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(RunError, match="is torn"):
        package_checkpoint(workspace)
    for part in ("action_units_ema", "unet_ema"):
        shutil.move(checkpoint / part, checkpoint / "kept")
        with pytest.raises(RunError, match=f"{part}.*is missing"):
            package_checkpoint(workspace)
        shutil.move(checkpoint / "kept", checkpoint / part)


def test_saved_again_it_is_the_same(workspace: Workspace, tmp_path: Path):
    make_units_run(workspace, UNITS)
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(package_checkpoint(workspace).folder)
    pipeline.save_pretrained(tmp_path / "again")
    again = GuidedStableDiffusionPipeline.from_pretrained(tmp_path / "again")
    asked = {"action_units": some_units()}
    assert np.array_equal(draw(again, **asked), draw(pipeline, **asked))


def some_units() -> torch.Tensor:
    return unit_conditions(UNITS, [{"AU4_present": 1.0, "AU12R": 5.0}])
