"""The action-unit recipe: what it tells the model, what trains, and that runs go on exactly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.views import View
from sfe_core.diffusion.unit_attention import UnitAttention
from sfe_core.errors import UserError
from sfe_core.packaging.package import package_checkpoint
from sfe_core.recipes.action_units import (
    SPEC,
    ActionUnits,
    Options,
    UnitSlot,
    conditions_of_rows,
    draw_told,
)
from sfe_core.recipes.known import recipe_of
from sfe_core.recipes.shared.draws import Slot
from sfe_core.runs.start import plan_training
from sfe_core.sampling.generate import generate
from sfe_core.sampling.sweep import Request
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainOptions
from tests.tiny import make_tiny_workspace
from tests.tiny_runs import NOISE_ALONE, built, run, step
from tests.tiny_workspace import woken

UNTOLD = "faces/023"  # of the training split; the labels tell nothing of it


def unit_workspace(root: Path, base: Path, options: dict | None = None, **sections) -> Workspace:
    """24 random faces whose labels tell AU1, AU12 with sides, and that AU4 is there."""
    settings = {"loss": dict(NOISE_ALONE), "guidance": {"maps": ()}} | sections
    made = make_tiny_workspace(root, base, **settings)
    path = made.corpus / MANIFEST
    rows = pd.read_parquet(path)
    random = np.random.default_rng(0)
    told = rows["key"] != UNTOLD
    for name in ("AU1", "AU12", "AU12L"):
        rows[f"label_{name}"] = np.where(told, random.uniform(0, 5, len(rows)), np.nan)
    rows["label_AU4_present"] = np.where(told, random.integers(0, 2, len(rows)), np.nan)
    rows["label_AU1_present"] = np.where(told, 1.0, np.nan)
    rows.to_parquet(path)
    chosen = {"recipe": "action-units", "recipe_options": {"hidden": 16, **(options or {})}}
    return Workspace(root, made.config.model_copy(update=chosen))


def build(workspace: Workspace) -> ActionUnits:
    return built(SPEC, workspace, 18, ActionUnits)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, tiny_base) -> Workspace:
    """One for all: no test here that takes it writes into it."""
    return unit_workspace(tmp_path_factory.mktemp("units"), tiny_base)


@pytest.fixture
def recipe(workspace) -> ActionUnits:
    return build(workspace)


# Checked


def test_the_plan_tells_units_and_gaps(workspace):
    plan = plan_training(workspace, TrainOptions(cpu_processes=1))
    assert dict(plan.told)["faces per unit"] == {"AU1": 17, "AU4": 17, "AU12": 17}
    assert any("1 of 18 faces" in note for note in plan.notes)
    expected = sum(p.numel() for p in build(workspace).model.units.parameters())
    assert plan.trained_parameters == expected


def test_units_that_no_label_tells_of_are_refused(workspace, tmp_path, tiny_base):
    with pytest.raises(UserError, match="'AU9'.*AU1, AU4, AU12"):
        SPEC.check(_with_options(workspace, units=("AU9",)))
    plain = make_tiny_workspace(tmp_path, tiny_base, loss=dict(NOISE_ALONE))
    with pytest.raises(UserError, match="no label of the training split"):
        SPEC.check(plain)


def test_unknown_options_are_refused(workspace):
    with pytest.raises(UserError, match="recipe_options.hiden"):
        recipe_of(_with_options(workspace, hiden=3))


def _with_options(workspace: Workspace, **options) -> Workspace:
    changed = workspace.config.model_copy(update={"recipe_options": options})
    return Workspace(workspace.root, changed)


# What is told


def test_labels_become_conditions():
    rows = pd.DataFrame(
        {
            "label_AU12": [3.0, np.nan],
            "label_AU12R": [0.0, np.nan],
            "label_AU12_present": [1.0, 1.0],
            "label_AU4": [np.nan, 5.0],
        }
    )
    told = conditions_of_rows(("AU12", "AU4"), rows)
    known = {
        tuple(place): told[tuple(place)].item() for place in (~told.isnan()).nonzero().tolist()
    }
    assert known == {
        (0, 0, 0): 3.0,
        (0, 0, 1): 0.0,
        (1, 0, 2): 1.0,  # presence only where no intensity is told
        (1, 1, 0): 5.0,
        (1, 1, 1): 5.0,
    }


@pytest.mark.parametrize(("name", "value"), [("AU12L", 9.0), ("AU12R", "weak"), ("AU4", -1.0)])
def test_a_label_that_is_no_intensity_is_one_line(name, value):
    rows = pd.DataFrame({"label_AU12": [1.0, 2.0], f"label_{name}": [None, value]})
    with pytest.raises(UserError, match=f"column {name}: .*{value}.*give 0 to 5"):
        conditions_of_rows(("AU12", "AU4"), rows)


def test_each_image_is_told_of_its_own_labels_and_mirrored_with_its_view(recipe):
    def told(view: View) -> torch.Tensor:
        face = Slot(view, 5, False, False, False, 0)
        return recipe.told([UnitSlot(face, (True, True, False))])[0]

    rows = recipe.face.corpus.split("train").set_index("key")
    for place, key in enumerate(recipe.face.dataset.keys):
        given, turned = told(View(place)), told(View(place, mirrored=True))
        assert given[2].isnan().all()  # left out
        if key == UNTOLD:
            assert given.isnan().all()
            continue
        assert given[0].nan_to_num(-1).tolist() == pytest.approx(
            [rows.loc[key, "label_AU1"]] * 2 + [-1]
        )
        assert given[1, 2] == rows.loc[key, "label_AU4_present"]
        assert torch.equal(turned[0, :2], given[0, [1, 0]])
    sides = recipe.told([UnitSlot(Slot(View(0), 5, False, False, False, 0), (True,) * 3)])[0, 2]
    other = recipe.told(
        [UnitSlot(Slot(View(0, mirrored=True), 5, False, False, False, 0), (True,) * 3)]
    )[0, 2]
    assert sides[0] != sides[1] and sides[:2].tolist() == other[[1, 0]].tolist()


def test_dropout_has_its_shares():
    options = Options(unit_dropout=0.3, all_units_dropout=0.1)
    slots = [Slot(View(0), 5, False, False, False, seed) for seed in range(4000)]
    told = torch.tensor([draw_told(slot, 6, options).told for slot in slots]).float()
    none = float((told.sum(1) == 0).float().mean())
    assert none == pytest.approx(0.1 + 0.9 * 0.3**6, abs=0.02)
    assert (told.mean(0) - 0.9 * 0.7).abs().max() < 0.03
    # One by one: of those not dropped whole, pairs are told as often as if by two coins.
    some = told[told.sum(1) > 0]
    assert float((some[:, 0] * some[:, 1]).mean()) == pytest.approx(0.49, abs=0.03)
    assert draw_told(slots[3], 6, options) == draw_told(slots[3], 6, options)


@pytest.mark.parametrize(("single", "every", "share"), [(0.0, 0.0, 1), (1.0, 0.0, 0), (0, 1.0, 0)])
def test_no_dropout_and_full_dropout(single, every, share):
    options = Options(unit_dropout=single, all_units_dropout=every)
    for seed in range(20):
        drawn = draw_told(Slot(View(0), 5, False, False, False, seed), 4, options)
        assert drawn.told == (bool(share),) * 4


# What trains


def test_gradients_reach_every_units_token_and_nothing_frozen(recipe):
    woken(recipe.model.units)
    for number in range(3):
        step(recipe, number)[1].backward()
    assert (recipe.model.units.encoder.directions.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(p.grad is not None and p.grad.any() for p in recipe.model.units.parameters())
    frozen = [*recipe.model.unet.parameters(), *recipe.face.base.vae.parameters()]
    assert not any(p.requires_grad or p.grad is not None for p in frozen)
    assert [network.name for network in recipe.networks] == ["action_units"]


def test_the_first_update_starts_at_the_base(recipe):
    """Untrained, they change nothing: the loss is that without units."""
    draws, total = step(recipe)
    batch = next(iter(recipe.batches([draws]))).to(torch.device("cpu"))
    faces = [slot.face for slot in draws]
    assert torch.equal(total, recipe.face.loss(recipe.model, batch, faces, faces).total)
    woken(recipe.model.units)
    assert not torch.equal(step(recipe)[1], total)


@pytest.mark.parametrize(
    ("options", "sections", "trained"),
    [
        ({}, {"train": {"lora_rank": 2}}, ["action_units", "unet"]),
        ({"train_unet": True}, {}, ["action_units", "unet"]),
        ({}, {"guidance": {"maps": ("landmarks",)}}, ["action_units", "guidance_encoder"]),
        ({}, {"train": {"text_encoder": True}}, ["action_units", "text_encoder"]),
    ],
)
def test_other_networks_train_where_asked(tmp_path, tiny_base, options, sections, trained):
    recipe = build(unit_workspace(tmp_path, tiny_base, options, **sections))
    assert [network.name for network in recipe.networks] == trained
    step(recipe)[1].backward()
    for network in recipe.networks:
        parameters = network.of(recipe.model).parameters()
        assert any(p.grad is not None and p.grad.any() for p in parameters), network.name


def test_the_other_terms_of_the_loss_reach_the_units(tmp_path, tiny_base):
    loss = NOISE_ALONE | {"noise": 0.0, "valence": 1.0, "pixel_fraction": 1.0}
    recipe = build(unit_workspace(tmp_path, tiny_base, loss=loss))
    woken(recipe.model.units)
    step(recipe)[1].backward()
    assert recipe.model.units.encoder.directions.grad.any()


@pytest.mark.slow
def test_sdxl_learns_units_too(tmp_path, tiny_sdxl):
    recipe = build(unit_workspace(tmp_path, tiny_sdxl, model={"resolution": 64}))
    woken(recipe.model.units)
    step(recipe)[1].backward()
    assert (recipe.model.units.encoder.directions.grad.flatten(1).abs().sum(1) > 0).all()


# Runs


def learnt(checkpoint: Path, suffix: str = "") -> dict[str, torch.Tensor]:
    return UnitAttention.from_pretrained(checkpoint / f"action_units{suffix}").state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 2])
def test_a_run_that_was_interrupted_learns_the_same(tmp_path, tiny_base, rank):
    made = unit_workspace(tmp_path, tiny_base, train={"lora_rank": rank, "mixed_precision": "no"})
    whole = run(made, run="whole")
    shutil.copytree(whole.run, made.runs / "parts")
    shutil.rmtree(made.runs / "parts" / "checkpoint-4")
    parts = run(made, resume="parts")
    assert whole.checkpoint.name == parts.checkpoint.name == "checkpoint-4"
    for suffix in ("", "_ema"):
        expected, actual = learnt(whole.checkpoint, suffix), learnt(parts.checkpoint, suffix)
        assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    folders = {path.name for path in whole.checkpoint.iterdir() if path.is_dir()}
    assert ("unet" in folders) == bool(rank) and "action_units" in folders
    before = UnitAttention.from_pretrained(whole.checkpoint / "action_units")
    assert any(layer.weight.any() for layer in before.projections.to_v.values())


@pytest.mark.slow
def test_samples_show_the_units(tmp_path, tiny_base):
    recipe = build(unit_workspace(tmp_path, tiny_base, train={"samples_per_emotion": 1}))
    woken(recipe.model.units)
    with torch.no_grad():
        samples = recipe.samples(recipe.model, lambda: False)
    assert samples is not None and samples.picture is not None
    photo, text, steered = np.split(samples.picture, 3)
    assert photo.shape == text.shape and np.abs(text.astype(int) - steered).max() > 3


@pytest.mark.slow
def test_a_run_logs_its_terms(tmp_path, tiny_base):
    summary = run(unit_workspace(tmp_path, tiny_base), run="logged", steps=2)
    lines = read_metrics(summary.run)
    assert set(lines[0]["raw"]) == {"noise"} and set(lines[0]["lr"]) == {"units"}


@pytest.mark.slow
@pytest.mark.parametrize(("base", "rank"), [("tiny_base", 2), ("tiny_sdxl", 0)])
def test_from_training_to_pictures(base, rank, request, tmp_path):
    """Train, package, generate: the units asked for decide the picture, at their own scale."""
    sections = {"train": {"lora_rank": rank, "learning_rate": 0.05}, "sampling": {"steps": 2}}
    if base == "tiny_sdxl":
        sections["model"] = {"resolution": 64}
    made = unit_workspace(tmp_path, request.getfixturevalue(base), **sections)
    run(made, run="first", steps=4)
    package = package_checkpoint(made).folder
    assert (package / "action_units").is_dir() and not (package / "guidance_encoder").is_dir()

    def drawn(scale: float, **units: tuple[float, float]) -> np.ndarray:
        sampling = made.config.sampling.model_copy(update={"units_guidance_scale": scale})
        asked = AskedExpression(units=tuple(units.items())) if units else None
        workspace = Workspace(made.root, made.config.model_copy(update={"sampling": sampling}))
        (path,) = generate(workspace, Request(prompt="face", asked=asked)).pictures
        return np.asarray(Image.open(path), int)

    left, right = (drawn(4, AU12=sides) for sides in ((5.0, 0.0), (0.0, 5.0)))
    pictures = [left, right, drawn(4, AU1=(5.0, 5.0)), drawn(8, AU12=(5.0, 0.0)), drawn(4)]
    for place, one in enumerate(pictures):
        assert all(np.abs(one - other).max() > 1 for other in pictures[:place]), place
    assert np.abs(drawn(0, AU12=(5.0, 0.0)) - drawn(4)).max() <= 1
