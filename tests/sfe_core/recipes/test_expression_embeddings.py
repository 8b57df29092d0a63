"""The recipe of expressions: what it tells the model, what trains, and that packages draw by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sfe_core.assets.needs import needed_assets
from sfe_core.config.loading import preset_config
from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.corpus.layout import MANIFEST
from sfe_core.diffusion.expression_embeddings import load_embeddings
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import RunError, UserError
from sfe_core.packaging.listing import expressions
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import package_checkpoint
from sfe_core.packaging.preview import preview_package
from sfe_core.recipes.expression_embeddings import SPEC, Expressions
from sfe_core.runs.start import plan_training
from sfe_core.sampling.generate import generate
from sfe_core.sampling.pictures import draw_series
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.sweep import Request
from sfe_core.training.options import TrainOptions
from tests.tiny import make_tiny_workspace
from tests.tiny_runs import NOISE_ALONE, built, run, step

SHOWN = ("neutral", "happy", "sad", "anger")


def emotion_workspace(
    root: Path, base: Path, options: dict | None = None, unlabelled: int = 0, **sections
) -> Workspace:
    """24 random faces with four emotions in turn, named in their captions.

    Args:
        unlabelled: of the first faces, nobody knows what they show.
    """
    settings = {
        "loss": dict(NOISE_ALONE),
        "guidance": {"maps": ()},
        "sampling": {"steps": 2, "guidance_scale": 3.0},
    } | sections
    made = make_tiny_workspace(root, base, **settings)
    path = made.corpus / MANIFEST
    rows = pd.read_parquet(path)
    # Not in step with the split, which takes every fourth.
    emotions = [SHOWN[(number + number // 4) % 4] for number in range(len(rows))]
    rows["emotion"] = [None] * unlabelled + emotions[unlabelled:]
    rows["caption"] = [f"{emotion.capitalize()}, photo of a face" for emotion in emotions]
    rows.to_parquet(path)
    changes = {"recipe": "expressions", "recipe_options": options or {}}
    return Workspace(root, made.config.model_copy(update=changes))


def build(workspace: Workspace) -> Expressions:
    return built(SPEC, workspace, 18, Expressions)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, tiny_base) -> Workspace:
    """One for all: no test here that takes it writes into it."""
    return emotion_workspace(tmp_path_factory.mktemp("emotions"), tiny_base)


@pytest.fixture
def recipe(workspace) -> Expressions:
    return build(workspace)


# Checked


def test_the_plan_tells_expressions_and_counts_what_trains(workspace):
    plan = plan_training(workspace, TrainOptions(cpu_processes=1))
    counted = dict(plan.told)["faces per expression"]
    assert tuple(counted) == SHOWN and sum(counted.values()) == 18
    assert plan.trained_parameters == 4 * 4 * 32


def test_faces_that_nobody_labelled_are_told_of(tmp_path, tiny_base):
    made = emotion_workspace(tmp_path / "some", tiny_base, unlabelled=4)
    checked = SPEC.check(made)
    assert any("3 of 18 faces have no emotion: told as neutral" in note for note in checked.notes)
    none = emotion_workspace(tmp_path / "none", tiny_base, unlabelled=24)
    with pytest.raises(UserError, match="no label of the training split tells of an expression"):
        SPEC.check(none)


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"guidance": {"maps": ("landmarks",)}}, "guidance.maps"),
        ({"train": {"text_encoder": True}}, "train.text_encoder"),
        ({"train": {"lora_rank": 2}}, "train.lora_rank"),
    ],
)
def test_what_would_train_too_is_refused(tmp_path, tiny_base, sections, problem):
    with pytest.raises(UserError, match=f"{problem}: would train too"):
        SPEC.check(emotion_workspace(tmp_path, tiny_base, **sections))


@pytest.mark.parametrize("name", ["expressions", "expressions-sdxl", "tiny-expressions"])
def test_the_presets_train_embeddings_alone(name):
    config = preset_config(name)
    assert config.recipe == "expressions" and not config.guidance.maps
    assert not config.train.lora_rank and not config.train.text_encoder
    assert config.train.weight_decay == 0  # it would pull every vector to zero, none of them's own
    needed = needed_assets(config)
    assert not {asset.name for asset in needed["preprocess"]} & {"flame-2020", "emoca-v2"}


# What is told


def test_each_face_is_told_by_its_label_and_its_caption_is_silent(recipe):
    assert set(recipe.face.dataset.captions) == {"Photo of a face"}
    assert set(recipe.face.faces.captions) == {"Photo of a face"}
    names = recipe.model.expressions.names
    assert names == SHOWN
    draws = [draw for number in range(60) for draw in recipe.draw(number, 8 * number, 8)]
    told = recipe.told(draws)
    for draw, weights in zip(draws, told, strict=True):
        emotion = EMOTIONS[int(recipe.face.dataset.emotions[draw.face.index])]
        expected = [float(draw.told and name == emotion) for name in names]
        assert weights.tolist() == expected
    assert np.mean([not draw.told for draw in draws]) == pytest.approx(0.1, abs=0.04)
    assert recipe.draw(3, 24, 8) == recipe.draw(3, 24, 8)


# What trains


@pytest.mark.parametrize("base", ["tiny_base", "tiny_sdxl"])
def test_the_loss_falls_as_embeddings_move_and_nothing_else(base, request, tmp_path):
    sections = {"model": {"resolution": 64}} if base == "tiny_sdxl" else {}
    recipe = build(emotion_workspace(tmp_path, request.getfixturevalue(base), **sections))
    model = recipe.model
    before = {name: part.clone() for name, part in model.state_dict().items()}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.05)
    losses = []
    for _ in range(12):
        _, total = step(recipe)  # always the same faces, noise and timesteps
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(total.item())
    assert losses[-1] < losses[0] and losses[-1] == pytest.approx(min(losses), rel=0.02)
    moved = {name for name, part in model.state_dict().items() if not part.equal(before[name])}
    own = (
        {"expressions.states", "expressions.pooled"}
        if base == "tiny_sdxl"
        else {"expressions.states"}
    )
    assert moved == own
    drawn = {EMOTIONS[int(recipe.face.dataset.emotions[s.face.index])] for s in step(recipe)[0]}
    changed = (model.expressions.states - before["expressions.states"]).flatten(1).abs().sum(1)
    assert all(changed[SHOWN.index(name)] > 0 for name in drawn)
    assert not any(p.grad is not None for p in recipe.face.base.vae.parameters())
    assert [network.name for network in recipe.networks] == ["expressions"]


def test_the_other_terms_of_the_loss_reach_them(tmp_path, tiny_base):
    loss = NOISE_ALONE | {"noise": 0.0, "expression": 1.0, "pixel_fraction": 1.0}
    recipe = build(emotion_workspace(tmp_path, tiny_base, loss=loss))
    step(recipe)[1].backward()
    assert recipe.model.expressions.states.grad.any()


def test_samples_show_the_expressions(tmp_path, tiny_base):
    recipe = build(emotion_workspace(tmp_path, tiny_base, train={"samples_per_emotion": 1}))
    with torch.no_grad():
        recipe.model.expressions.register_to_config(longest=0.0)
        recipe.model.expressions.states.mul_(5)
        samples = recipe.samples(recipe.model, lambda: False)
    assert samples is not None and samples.picture is not None
    _, text, steered = np.split(samples.picture, 3)
    assert np.abs(text.astype(int) - steered).max() > 3


# Runs and packages


@pytest.mark.slow
def test_a_run_that_was_interrupted_learns_the_same(tmp_path, tiny_base):
    made = emotion_workspace(tmp_path, tiny_base, train={"mixed_precision": "no"})
    whole = run(made, run="whole")
    shutil.copytree(whole.run, made.runs / "parts")
    shutil.rmtree(made.runs / "parts" / "checkpoint-4")
    parts = run(made, resume="parts")
    for suffix in ("", "_ema"):
        one, other = (
            load_embeddings(found.checkpoint / f"expressions{suffix}") for found in (whole, parts)
        )
        assert torch.equal(one.states, other.states)
    assert not any(whole.checkpoint.glob("unet*")) and not any(whole.checkpoint.glob("guidance*"))
    assert one.config["base_sha256"] and "/" not in one.config["base"]


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tiny_base", "tiny_sdxl"])
def test_from_training_to_pictures(base, request, tmp_path):
    """Train, package, generate: words are told at their strength, and not in the prompt."""
    sections = {"train": {"learning_rate": 0.5}}
    if base == "tiny_sdxl":
        sections["model"] = {"resolution": 64}
    made = emotion_workspace(tmp_path, request.getfixturevalue(base), **sections)
    run(made, run="first", steps=2)
    package = package_checkpoint(made).folder
    assert expressions(package) == SHOWN and (package / "sample_guided.png").is_file()

    def drawn(**asked) -> tuple[np.ndarray, dict]:
        (path,) = generate(made, Request(prompt="face", **asked)).pictures
        return np.asarray(Image.open(path), int), read_record(path)

    by = {
        "happy": drawn(emotion="happy"),
        "half": drawn(asked=AskedExpression("happy", 0.5)),
        "more": drawn(asked=AskedExpression("happy", 1.5)),
        "mixed": drawn(asked=AskedExpression(mixture=(("happy", 0.6), ("sad", 0.4)))),
        "neutral": drawn(emotion="neutral"),
        "text": drawn(),
    }
    pictures = [picture for picture, _ in by.values()]
    for place, one in enumerate(pictures):
        assert all(np.abs(one - other).max() > 0 for other in pictures[:place]), list(by)[place]
    assert {record["prompt"] for _, record in by.values()} == {"face"}
    assert by["mixed"][1]["expressions"] == {"happy": 0.6, "sad": 0.4}
    assert by["text"][1].get("expressions") is None
    with pytest.raises(UserError, match="fear: is not what the package learnt; it knows neutral"):
        generate(made, Request(prompt="face", emotion="fear"))
    with pytest.raises(UserError, match="has no encoder for the face's maps"):
        generate(made, Request(prompt="face", emotion="happy", head=True))


def test_the_pictures_of_a_split_are_told_by_labels(tmp_path, tiny_base):
    made = emotion_workspace(tmp_path, tiny_base, unlabelled=1)
    run(made, run="first", steps=2)
    chosen = {"run": None, "step": None, "name": None, "weights": "ema", "source": None}
    preview = preview_package(made, PackageOptions(), **chosen)
    package = package_checkpoint(made).folder
    assert preview.sizes["expressions"] == 4 * 4 * 4 * 32
    card = (package / "README.md").read_text(encoding="utf-8")
    assert "0 to 1.5, and mixtures of them: neutral, happy, sad, anger." in card
    series = draw_series(made, made.config.split.validation_name, "guided", package)
    records = [read_record(path) for path in sorted(series.folder.rglob("*.png"))]
    told = [record.get("expressions") for record in records]
    assert told[0] is None and {"happy": 1.0} in told
    assert {record["prompt"] for record in records} == {"Photo of a face"}
    with pytest.raises(UserError, match="--also lora-kohya: the run learnt expressions alone"):
        package_checkpoint(made, options=PackageOptions(extras=("lora-kohya",)))


def test_torn_expressions_are_told(tmp_path, tiny_base):
    made = emotion_workspace(tmp_path, tiny_base)
    checkpoint = run(made, run="first", steps=2).checkpoint
    (checkpoint / "expressions_ema" / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="is torn"):
        package_checkpoint(made)


def test_an_expression_that_no_photo_shows_steers_its_vectors_alone(tmp_path, tiny_base):
    loss = NOISE_ALONE | {
        "noise": 0.0,
        "crafting_expression": 1.0,
        "pixel_fraction": 1.0,
        "pixel_max_timestep": 1000,
    }
    made = emotion_workspace(
        tmp_path, tiny_base, {"crafting_share": 1.0}, loss=loss, train={"caption_dropout": 0.0}
    )
    recipe = build(made)
    draws = [slot for slot in recipe.draw(0, 0, 8) if slot.face.decode]
    assert draws and all(slot.asked is not None for slot in draws)
    for slot, weights in zip(draws, recipe.told(draws), strict=True):
        told = dict(zip(recipe.names, weights.tolist(), strict=True))
        assert told[EMOTIONS[slot.asked.place]] == pytest.approx(slot.asked.strength)
    step(recipe)[1].backward()
    live = {name for name, p in recipe.model.named_parameters() if p.grad is not None}
    assert "expressions.states" in live and all("expressions" in name for name in live)
