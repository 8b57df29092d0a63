"""Drawing with a package that fuses its person with expressions, against the same without."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.diffusion.base_expressions import begin_expressions
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.loading import read_configs
from sfe_core.files import write_text
from sfe_core.packaging.class_prompts import class_prompts
from sfe_core.packaging.listing import can_guide
from sfe_core.sampling.generate import Generated, generate
from sfe_core.sampling.pictures import Series, draw_series
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.sweep import Request
from tests.corpora import write_corpus
from tests.sfe_core.sampling.conftest import with_sampling

RUN = "captions: {token: qxz, class_word: woman}\n"
HAPPY = Request("photo of qxz woman, lit", emotion="happy")
GATE = 60.0  # so wide that an untrained network shows it by more than rounding


def package_of(base: Path, folder: Path, gate: float | None = GATE) -> Path:
    """The base as a package of a person, with fusion unless `gate` is None."""
    shutil.copytree(base, folder)
    write_text(folder / "train_config.yaml", RUN)
    if gate is not None:
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_pretrained(base / "unet")
        ExpressionFusion.beside(unet, gate=gate).save_pretrained(folder / "fusion")
    return folder


@pytest.fixture(scope="module")
def fusing(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package_of(tiny_base, tmp_path_factory.mktemp("fusing") / "fusing")


@pytest.fixture(scope="module")
def plain(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package_of(tiny_base, tmp_path_factory.mktemp("plain") / "plain", gate=None)


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    return with_sampling(workspace, steps=6, precision="float32")  # two in fusion's window


def pixels(made: Generated) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in made.pictures])


def drawn(series: Series) -> np.ndarray:
    return np.stack([np.asarray(Image.open(series.picture(key)), int) for key in "012"])


def test_an_expression_is_fused_with_the_prompt_without_the_person(
    workspace: Workspace, fusing: Path, plain: Path
):
    made = generate(workspace, HAPPY, fusing)
    record = read_record(made.pictures[0])
    assert record["prompt"] == "happy, photo of qxz woman, lit"
    assert record["fusion_prompt"] == "happy, photo of a woman, lit"
    assert record["drawn_with"]["fusion_strength"] == 1.0
    without = generate(workspace, HAPPY, plain)
    assert not np.array_equal(pixels(made), pixels(without))
    half = generate(with_sampling(workspace, fusion_strength=0.5), HAPPY, fusing)
    assert not np.array_equal(pixels(half), pixels(made))


def test_strength_0_and_closed_gates_are_as_without_to_the_bit(
    workspace: Workspace, fusing: Path, plain: Path, tiny_base: Path, tmp_path: Path
):
    without = generate(workspace, HAPPY, plain, folder=tmp_path / "without")
    off = with_sampling(workspace, fusion_strength=0.0)
    zero = generate(off, HAPPY, fusing, folder=tmp_path / "zero")
    closed = package_of(tiny_base, tmp_path / "closed", gate=0.0)
    shut = generate(workspace, HAPPY, closed, folder=tmp_path / "shut")
    assert all(one.drawn == 1 for one in (without, zero, shut))
    assert np.array_equal(pixels(without), pixels(zero))
    assert np.array_equal(pixels(without), pixels(shut))
    assert read_record(zero.pictures[0]) == read_record(without.pictures[0])


@pytest.mark.parametrize("prompt", ["photo of qxz woman", "photo of a woman, happy"])
def test_without_expression_or_person_nothing_is_fused(
    workspace: Workspace, fusing: Path, plain: Path, prompt: str
):
    made, without = (generate(workspace, Request(prompt), one) for one in (fusing, plain))
    assert "fusion_prompt" not in read_record(made.pictures[0])
    assert np.array_equal(pixels(made), pixels(without))


def test_embeddings_tell_the_expression_of_both_passes(
    workspace: Workspace, fusing: Path, tiny_base: Path, tmp_path: Path
):
    told = shutil.copytree(fusing, tmp_path / "told")
    begin_expressions(Encoders(tiny_base), read_configs(tiny_base)).save_pretrained(
        told / "expressions"
    )
    request = Request("photo of qxz woman", asked=AskedExpression("happy", 0.7))
    made = generate(workspace, request, told)
    record = read_record(made.pictures[0])
    assert record["expressions"] == {"happy": 0.7}
    assert record["prompt"] == "photo of qxz woman"
    assert record["fusion_prompt"] == "photo of a woman"
    without = generate(with_sampling(workspace, fusion_strength=0.0), request, told)
    assert not np.array_equal(pixels(made), pixels(without))


def test_a_splits_guided_pictures_are_fused_whatever_batch_they_are_in(
    workspace: Workspace, fusing: Path, plain: Path
):
    captions = ("photo of qxz woman, happy", "photo of qxz woman", "photo of qxz woman, sad")
    rows = [
        {"key": str(n), "split": "val300", "caption": text, "emotion": "happy"}
        for n, text in enumerate(captions)
    ]
    write_corpus(workspace, rows, 64)
    assert can_guide(fusing) and not can_guide(plain)
    text = draw_series(workspace, "val300", "text", fusing)
    fused = draw_series(workspace, "val300", "guided", fusing)
    together = drawn(fused)
    shutil.rmtree(fused.folder)
    alone = draw_series(with_sampling(workspace, batch_size=1), "val300", "guided", fusing)
    assert alone.folder == fused.folder and alone.drawn == 3
    assert np.abs(together - drawn(alone)).max() <= 1
    first, second, third = np.abs(together - drawn(text)).max(axis=(1, 2, 3))
    assert second <= 1 < min(first, third)
    told = [read_record(alone.picture(key)).get("fusion_prompt") for key in "012"]
    assert told == ["photo of a woman, happy", None, "photo of a woman, sad"]


def test_who_the_person_is_the_packages_run_says_or_else_the_workspace(
    workspace: Workspace, fusing: Path, plain: Path, tmp_path: Path
):
    names = class_prompts(fusing, workspace)
    assert names is not None and (names.token, names.class_word) == ("qxz", "woman")
    assert class_prompts(plain, workspace) is None
    assert class_prompts(fusing, with_sampling(workspace, fusion_strength=0.0)) is None
    foreign = shutil.copytree(fusing, tmp_path / "foreign")
    (foreign / "train_config.yaml").unlink()
    assert class_prompts(foreign, workspace) is None  # nobody says a token
    album = RUN + "data: {person: ben}\n"
    write_text(
        foreign / "train_config.yaml", album.replace("woman}", "x, class_words: {ben: man}}")
    )
    names = class_prompts(foreign, workspace)
    assert names is not None and names.of("photo of qxz man, sad") == "photo of a man, sad"
