"""Pictures of a package with LoRAs on top: which series have them, and what their records tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from pydantic import TypeAdapter
from safetensors.torch import save_file

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.files import sha256_file
from sfe_core.processes.worker import as_json
from sfe_core.sampling.generate import generate
from sfe_core.sampling.pictures import draw_series
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.share import Share
from sfe_core.sampling.sweep import Request
from tests.sfe_core.diffusion.test_lora_files import changed, written
from tests.sfe_core.sampling.conftest import with_sampling
from tests.sfe_core.sampling.test_fused_drawing import HAPPY, package_of
from tests.sfe_core.sampling.test_settings import PLAIN


@pytest.fixture(scope="module")
def lora(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipeline = DiffusionPipeline.from_pretrained(tiny_base)
    made = changed(pipeline, 1)[1]
    return written(made, pipeline, tmp_path_factory.mktemp("lora"))["kohya"]


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    return with_sampling(workspace, steps=6, precision="float32")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), int)


def test_generate_draws_with_them_and_the_record_tells(workspace: Workspace, lora: Path):
    request = Request("portrait")
    with_lora = with_sampling(workspace, loras={str(lora): 0.5})
    plain, drawn = (generate(one, request).pictures[0] for one in (workspace, with_lora))
    assert plain != drawn and np.abs(pixels(plain) - pixels(drawn)).max() > 2
    assert read_record(drawn)["drawn_with"]["loras"] == {sha256_file(lora): 0.5}
    assert "loras" not in read_record(plain)["drawn_with"]
    assert generate(with_lora, request).drawn == 0
    at_rest = generate(with_sampling(workspace, loras={str(lora): 0.0}), request).pictures[0]
    assert np.array_equal(pixels(plain), pixels(at_rest))


def test_only_the_fine_tuned_series_has_them(workspace: Workspace, lora: Path):
    with_lora = with_sampling(workspace, loras={str(lora): 1.0})
    found = {
        variant: [draw_series(one, "val300", variant).folder for one in (workspace, with_lora)]
        for variant in ("base", "guided")
    }
    assert found["base"][0] == found["base"][1]
    plain, drawn = found["guided"]
    assert plain != drawn
    name = min(path.relative_to(plain) for path in plain.rglob("*.png"))
    assert np.abs(pixels(plain / name) - pixels(drawn / name)).max() > 2


def test_a_package_that_kept_its_base_is_drawn_itself_under_a_lora(
    workspace: Workspace, lora: Path, tiny_base: Path, tmp_path: Path
):
    package = package_of(tiny_base, tmp_path / "kept", gate=None)
    assert draw_series(workspace, "val300", "text", package).folder.name.startswith("base-")
    with_lora = with_sampling(workspace, loras={str(lora): 1.0})
    assert draw_series(with_lora, "val300", "text", package).folder.name.startswith("text-")


def test_fusion_works_on_top_of_them(
    workspace: Workspace, lora: Path, tiny_base: Path, tmp_path: Path
):
    package = package_of(tiny_base, tmp_path / "fusing")
    drawn = [
        pixels(generate(with_sampling(workspace, **changes), HAPPY, package).pictures[0])
        for changes in (
            {"loras": {str(lora): 1.0}},
            {"loras": {str(lora): 1.0}, "fusion_strength": 0.0},
            {},
        )
    ]
    fused, unfused, without = drawn
    assert np.abs(fused - unfused).max() > 2 and np.abs(fused - without).max() > 2


def test_a_misfit_is_refused_before_anything_is_drawn(workspace: Workspace, tmp_path: Path):
    odd = tmp_path / "odd.safetensors"
    name = "lora_unet_odd"
    save_file(
        {f"{name}.lora_{end}.weight": torch.zeros(1, 1) for end in ("up", "down")},
        odd,
        {"ss_base_model_version": "sdxl_base_v1-0"},
    )
    changed_workspace = with_sampling(workspace, loras={str(odd): 1.0})
    said = "1 of its 1 layers find no place, lora_unet_odd first; it was made for Stable Diffusion"
    with pytest.raises(UserError, match=said):
        draw_series(changed_workspace, "val300", "base")
    with pytest.raises(UserError, match=said):
        generate(changed_workspace, Request("portrait"))
    assert not list(workspace.generated.rglob("*.png"))


def test_a_share_without_the_files_its_settings_tell_of_is_an_error():
    with pytest.raises(ValueError, match="files are not given"):
        Share(Path(), SimpleNamespace(loras={"ab": 1.0}), Path(), 1)


def test_a_share_reaches_a_worker_with_its_loras():
    settings = replace(PLAIN, loras={"ab": 0.5})
    share = Share(Path("a"), settings, Path("b"), 1, loras={"/c": 0.5})
    assert TypeAdapter(Share).validate_python(json.loads(json.dumps(as_json(share)))) == share


def test_files_are_meant_from_the_workspace_and_weights_are_finite(workspace_folder: Path):
    found = load_workspace(workspace_folder, ["sampling.loras={a.safetensors: 0.5, /b/c: -4}"])
    assert found.config.sampling.loras == {
        str(workspace_folder.resolve() / "a.safetensors"): 0.5,
        "/b/c": -4.0,
    }
    for weight in ("4.1", ".nan", "-.inf", "much"):
        with pytest.raises(UserError, match=r"sampling\.loras"):
            load_workspace(workspace_folder, [f"sampling.loras={{a: {weight}}}"])
