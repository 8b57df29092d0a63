"""FineFace's published files, packaged beside a base or a run and drawn with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.diffusion.fineface import UNITS
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.errors import UserError
from sfe_core.packaging.listing import action_units, guidance_maps, knows_sides
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import package_checkpoint
from sfe_core.packaging.preview import preview_package
from sfe_core.sampling.generate import generate
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.sweep import Request
from tests.fineface_files import write_fineface
from tests.sfe_core.packaging.test_units_package import draw
from tests.tiny_workspace import make_run, make_units_run, make_workspace


@pytest.fixture
def workspace(tiny_base: Path, tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "work", tiny_base, count=1)


@pytest.fixture
def files(tiny_base: Path, tmp_path: Path) -> Path:
    return write_fineface(tmp_path / "fineface", tiny_base)


def test_beside_the_base_alone_it_draws_by_units_at_the_base_of_old(
    workspace: Workspace, files: Path, tiny_base: Path
):
    made = package_checkpoint(workspace, fineface=files)
    assert made.folder.name == f"{tiny_base.name}-fineface"
    assert action_units(made.folder) == UNITS and not knows_sides(made.folder)
    base = draw(StableDiffusionPipeline.from_pretrained(tiny_base))
    assert np.array_equal(draw(StableDiffusionPipeline.from_pretrained(made.folder)), base)
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(made.folder)
    assert np.array_equal(draw(pipeline), base)
    smile, frown = (
        draw(pipeline, action_units={code: 5}, units_guidance_scale=3.0) for code in ("AU12", "AU4")
    )
    assert np.abs(smile - base).max() > 0.01 < np.abs(smile - frown).max()
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "Put together by sfe" in card and "with FineFace's action units" in card
    assert "left and right apart" not in card and "not named count as 0" in card
    assert "units_guidance_scale=7.5" in card
    with pytest.raises(UserError, match="exists"):
        package_checkpoint(workspace, fineface=files)


def test_the_command_draws_with_it_and_refuses_sides(workspace: Workspace, files: Path):
    package = package_checkpoint(workspace, fineface=files).folder
    asked = AskedExpression(units=(("AU12", (3.0, 3.0)),))
    made = generate(workspace, Request(prompt="x", asked=asked), package)
    record = read_record(made.pictures[0])
    assert record["units"] == {"AU12L": 3.0, "AU12R": 3.0} and record["maps"] == {}
    plain = generate(workspace, Request(prompt="x"), package)
    first, second = (np.asarray(Image.open(one.pictures[0]), int) for one in (made, plain))
    assert np.abs(first - second).max() > 2
    smirk = AskedExpression(units=(("AU12", (3.0, 0.0)),))
    with pytest.raises(UserError, match="does not tell left from right, and AU12 differs"):
        generate(workspace, Request(prompt="x", asked=smirk), package)
    # A word's units are nobody's left or right: their mean is told.
    made = generate(workspace, Request(asked=AskedExpression("contempt", 0.5)), package)
    told = read_record(made.pictures[0])["units"]
    assert told["AU12L"] == told["AU12R"] > 0


@pytest.mark.slow
def test_beside_a_run_its_maps_and_its_own_unet_stay(workspace: Workspace, files: Path):
    make_run(workspace)
    plain = package_checkpoint(workspace).folder
    made = package_checkpoint(workspace, run="first", fineface=files)
    assert made.folder.name == "first-10-fineface" and len(guidance_maps(made.folder)) == 3
    assert made.origin == "run first, step 10, with FineFace's action units"
    pair = [GuidedStableDiffusionPipeline.from_pretrained(one) for one in (plain, made.folder)]
    assert np.array_equal(draw(pair[0]), draw(pair[1]))
    maps = {"guidance_images": {"depth": torch.rand(1, 3, 32, 32)}}
    guided, both = draw(pair[1], **maps), draw(pair[1], **maps, action_units={"AU12": 5})
    assert np.abs(guided - both).max() > 0.01
    smirk = AskedExpression(units=(("AU12", (3.0, 0.0)),))  # the face shows which side
    record = read_record(
        generate(workspace, Request(prompt="x", asked=smirk), made.folder).pictures[0]
    )
    assert record["units"] == {"AU12L": 1.5, "AU12R": 1.5} and record["maps"]


def test_a_preview_tells_its_size_and_writes_nothing(workspace: Workspace, files: Path):
    chosen = {"run": None, "step": None, "name": "x", "weights": "ema", "source": None}
    preview = preview_package(workspace, PackageOptions(), **chosen, fineface=files)
    assert preview.folder.name == "x" and not any(workspace.packaged.glob("*"))
    made = package_checkpoint(workspace, name="x", fineface=files).folder
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(made)
    numbers = sum(one.numel() for one in pipeline.action_units.parameters())
    assert preview.sizes["action_units"] == 4 * numbers


def test_what_does_not_go_is_one_line_and_nothing_is_written(
    workspace: Workspace, files: Path, tmp_path: Path, tiny_sdxl: Path
):
    make_units_run(workspace, ("AU4",))
    for options, said in (
        ({"fineface": tmp_path / "gone"}, "holds no attn_processors.ckpt"),
        ({"fineface": files, "run": "first"}, "run first, step 10 has action units of its own"),
        ({"fineface": write_fineface(tmp_path / "xl", tiny_sdxl)}, "does not fit"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            package_checkpoint(workspace, **options)
        assert "\n" not in str(caught.value)
    form = PackageOptions(extras=("single-file",))
    with pytest.raises(UserError, match="--also single-file: only action units are new"):
        package_checkpoint(workspace, fineface=files, options=form)
    assert not any(workspace.packaged.glob("*"))
