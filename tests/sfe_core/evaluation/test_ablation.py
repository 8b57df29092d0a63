"""The ablation: which variants, what each changes, and the table of their numbers."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import Interrupted, Stopped, UserError
from sfe_core.evaluation import ablation
from sfe_core.evaluation.ablation import ablate, chosen_variants, variants_of
from sfe_core.evaluation.ablation_table import FULL, collect, write_table
from sfe_core.evaluation.definitions import in_ablation
from sfe_core.evaluation.resampled import load_resampled, save_resampled
from sfe_core.evaluation.statistics.pooling import Resampled
from sfe_core.evaluation.statistics.resampling import Behind
from sfe_core.evaluation.summary import Resampling
from sfe_core.packaging.package import PackageExists
from sfe_core.training.options import TrainOptions
from tests.sfe_core.evaluation.summaries import make_summary, score


def test_every_active_part_is_off_once():
    config = Config.model_validate({"loss": {"perceptual": 0}, "train": {"balance": 0}})
    names = [variant.name for variant in variants_of(config)]
    assert names == [FULL, "no-noise", "no-valence", "no-arousal", "no-expression", "no-guidance"]
    assert "no-balance" in [variant.name for variant in variants_of(Config())]
    units = {"train": {"balance": 0, "balance_units": 0.5, "balance_subjects": 1}}
    last = variants_of(Config.model_validate(units))[-1]
    assert last.changes == {"train": {"balance_units": 0.0, "balance_subjects": 0.0}}
    # A single term cannot be switched off: nothing would be learnt.
    alone = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0}
    names = [variant.name for variant in variants_of(Config.model_validate({"loss": alone}))]
    assert names == [FULL, "no-guidance", "no-balance"]


def test_a_variant_changes_its_part_and_nothing_else(tmp_path):
    workspace = Workspace(tmp_path, Config())
    for variant in variants_of(workspace.config):
        changed = variant.applied_to(workspace).config.model_dump()
        expected = workspace.config.model_dump()
        for section, fields in variant.changes.items():
            expected[section] |= fields
        assert changed == expected
        assert (changed == workspace.config.model_dump()) == (variant.name == FULL)
    off = chosen_variants(workspace.config, ["no-guidance"])[1].applied_to(workspace).config
    assert off.guidance.maps == ()


def test_the_full_recipe_is_always_measured_and_unknown_variants_are_named():
    names = [variant.name for variant in chosen_variants(Config(), ["no-balance"])]
    assert names == [FULL, "no-balance"]
    with pytest.raises(UserError, match="--only no-tea: no such variant.*no-guidance"):
        chosen_variants(Config(), ["no-tea"])


def test_each_variant_is_trained_packaged_and_measured_under_its_own_name(tmp_path, monkeypatch):
    calls: list[tuple] = []

    def launch(workspace, options, reporter):
        calls.append((options.run, options.resume, options.steps, workspace.config.guidance.maps))
        return SimpleNamespace(step=7)

    def package(workspace, run, step, name, *, reporter, reuse=False, force=False):
        assert (run, step, name) == (calls[-1][0], 7, calls[-1][0])
        if reuse and "no-guidance" in run:
            raise PackageExists(name, "exists")  # of other weights
        assert reuse or force
        return SimpleNamespace(folder=tmp_path / name)

    def evaluate(workspace, split, package, reporter, name):
        assert package.name in name and split == "val300"
        sets = {"text": {"top1": score((0.2, 0.1, 0.3), "judge")}}
        if workspace.config.guidance.maps:
            sets["guided"] = {"top1": score((0.4, 0.3, 0.5), "judge")}
        return make_summary(tmp_path / name, scores=sets)

    monkeypatch.setattr(ablation, "launch", launch)
    monkeypatch.setattr(ablation, "package_checkpoint", package)
    monkeypatch.setattr(ablation, "evaluate", evaluate)
    workspace = Workspace(tmp_path, Config())
    found = ablate(workspace, TrainOptions(steps=5), only=["no-guidance"])
    runs = [call[0] for call in calls]
    assert runs[0].startswith("ablation-full-") and runs[1].startswith("ablation-no-guidance-")
    assert [call[1:3] for call in calls] == [("auto", 5)] * 2
    assert calls[1][3] == ()
    assert [(row.variant, row.pictures) for row in found.rows] == [
        (FULL, "guided"),
        (FULL, "text"),
        ("no-guidance", "text"),
    ]
    # Another number of updates is another run, whose checkpoints are not mixed up with these.
    ablate(workspace, TrainOptions(steps=6), only=["no-guidance"])
    assert not set(runs) & {call[0] for call in calls[2:]}


def test_only_a_stale_package_is_replaced(tmp_path, monkeypatch):
    forced = []

    def package(*arguments, reporter, reuse=False, force=False):
        forced.append(force)
        raise UserError("sfe.yaml: model.base", "is not there")

    monkeypatch.setattr(ablation, "launch", lambda *_: SimpleNamespace(step=7))
    monkeypatch.setattr(ablation, "package_checkpoint", package)
    with pytest.raises(UserError, match="model.base: is not there"):
        ablate(Workspace(tmp_path, Config()), TrainOptions(steps=5), only=["no-guidance"])
    assert forced == [False]


@pytest.mark.parametrize("kind", [Stopped, Interrupted])
def test_a_variant_that_was_stopped_goes_on_with_the_same_command(tmp_path, monkeypatch, kind):
    def launch(*arguments):
        raise kind("run x", "stopped", "go on with `sfe train --resume x`")

    monkeypatch.setattr(ablation, "launch", launch)
    with pytest.raises(kind, match="run x: stopped; the same `sfe ablate` goes on$"):
        ablate(Workspace(tmp_path, Config()), TrainOptions(steps=5), only=["no-guidance"])


def test_the_table_holds_values_and_intervals_in_each_form(tmp_path):
    summaries = {FULL: [make_summary(tmp_path)], "no-noise": [make_summary(tmp_path)]}
    found = collect(summaries, tmp_path / "out")
    write_table(found)
    assert list(found.metrics) == ["top1", "frechet_emonet_8"]
    row = found.table()[0]
    assert row["pictures"] == "guided" and "39.0" in row["Emotion Top-1 ↑"]
    assert "84.4" in row["Fréchet (emonet_8) ↓"]
    with open(tmp_path / "out" / "ablation.csv", newline="", encoding="utf-8") as stream:
        numbers = list(csv.DictReader(stream))[1]
    assert (numbers["variant"], float(numbers["top1_low"])) == ("no-noise", 0.34)
    assert (float(numbers["frechet_emonet_8"]), numbers["top1_n"]) == (84.4, "300")
    plain = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    assert plain["rows"][0]["scores"]["top1"]["high"] == 0.45
    # A row of each variant, below the heading and its rule.
    text = (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")
    assert text.startswith("| variant |") and text.count("\n| ") == 3


def test_the_table_shows_what_the_judge_and_the_distance_say_alone():
    shown = ("top1", "valence_ccc", "arousal_ccc", "fid", "frechet_judge")
    others = ("top1_other", "top2", "valence_rmse", "valence_ccc_other", "kid", "kernel_judge")
    assert all(map(in_ablation, shown)) and not any(map(in_ablation, others))


def test_a_variant_that_changes_nothing_is_told(tmp_path):
    full = make_summary(tmp_path)
    scores = {**full.scores, "guided": {"top1": score((0.5, 0.4, 0.6), "judge")}}
    summaries = {
        FULL: [full],
        "no-valence": [make_summary(tmp_path, scores=scores)],
        "no-balance": [make_summary(tmp_path)],
    }
    found = collect(summaries, tmp_path / "out")
    seeds, note = found.notes
    assert "one training seed" in seeds
    assert note.startswith("no-balance is full to the last digit") and "equally often" in note
    write_table(found)
    assert note in (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["notes"] == [seeds, note]


def test_numbers_of_other_photos_are_not_put_side_by_side(tmp_path):
    other = make_summary(tmp_path, keys_sha256="ff" * 32)
    with pytest.raises(UserError, match="no-noise.*other photos"):
        collect({FULL: [make_summary(tmp_path)], "no-noise": [other]}, tmp_path)


def seed_of(folder, top1: float, people: np.ndarray, **changes):
    """A summary whose guided Top-1 is `top1` on average of `people`, with its resamples."""
    drawn = Resampled(people + top1, Behind(96, 12, 1 / 12, True))
    save_resampled(folder, {"guided": {"top1": drawn}})
    scores = {"guided": {"top1": score((top1, top1 - 0.1, top1 + 0.1), "judge", n=96)}}
    return make_summary(folder, scores=scores, **changes)


def test_seeds_are_pooled_and_each_is_held_against_the_full_recipe_of_its_own(tmp_path):
    people = np.random.default_rng(0).normal(0.0, 0.05, 400)
    values = {FULL: (0.5, 0.7, 0.6), "no-noise": (0.41, 0.59, 0.50)}
    summaries = {
        name: [
            seed_of(
                tmp_path / f"{name}{place}",
                value,
                people,
                resampling=Resampling(unit="people", people=12, unknown=0),
            )
            for place, value in enumerate(of_seeds)
        ]
        for name, of_seeds in values.items()
    }
    found = collect(summaries, tmp_path / "out")
    full, without = found.rows
    assert full.by_seed["top1"] == [0.5, 0.7, 0.6] and full.changes == {}
    assert full.scores["top1"].value == pytest.approx(0.6)
    assert (full.scores["top1"].n, full.scores["top1"].people) == (96, 12)
    # Seeds differ by far more than what the part is worth, which each seed shows alike.
    change = without.changes["top1"]
    assert change.value == pytest.approx(-0.1) and change.low < -0.1 < change.high < 0.0
    wide, narrow = (one.high - one.low for one in (full.scores["top1"], change))
    assert wide > 3 * narrow
    assert "60.0 %" in found.table()[0]["Emotion Top-1 ↑"]
    assert found.table()[0]["Emotion Top-1 ↑"].endswith("; seeds 50.0 to 70.0")
    (row,) = found.changes()
    assert row["variant"] == "no-noise" and row["Emotion Top-1 ↑"].startswith("−10.0 %")
    assert found.notes == (
        "intervals are over 12 people, each with all of their pictures and over 3 training seeds",
    )
    write_table(found)
    plain = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    assert plain["rows"][1]["by_seed"]["top1"] == [0.41, 0.59, 0.5]
    assert plain["rows"][1]["minus_full"]["top1"]["value"] == pytest.approx(-0.1)
    assert "Minus full" in (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")


def test_seeds_without_resamples_have_a_mean_and_no_interval(tmp_path):
    found = collect({FULL: [make_summary(tmp_path), make_summary(tmp_path)]}, tmp_path)
    pooled = found.rows[0].scores["top1"]
    assert pooled.value == pytest.approx(0.39) and pooled.low is None and pooled.reason
    missing = make_summary(tmp_path, scores={"guided": {"top1": score(None, "x", reason="none")}})
    (row,) = collect({FULL: [make_summary(tmp_path), missing]}, tmp_path).rows
    assert row.scores["top1"].value is None and row.scores["top1"].reason == "none"


def test_every_seed_is_a_run_of_its_own_and_the_first_is_the_workspaces(tmp_path, monkeypatch):
    trained = []

    def launch(workspace, options, reporter):
        trained.append((options.run, workspace.config.train.seed, workspace.config.sampling.seed))
        return SimpleNamespace(step=7)

    monkeypatch.setattr(ablation, "launch", launch)
    monkeypatch.setattr(
        ablation, "package_checkpoint", lambda *_, **__: SimpleNamespace(folder=tmp_path)
    )
    monkeypatch.setattr(ablation, "evaluate", lambda *_, name: make_summary(tmp_path / name))
    workspace = Workspace(tmp_path, Config())
    alone = ablate(workspace, TrainOptions(steps=5), only=["no-noise"])
    assert alone.rows[0].by_seed["top1"] == [0.39]
    once, trained = trained, []
    ablate(workspace, TrainOptions(steps=5), only=["no-noise"], seeds=3)
    # What one seed has trained is gone on from; a seed is done before the next one begins.
    assert trained[:2] == once
    assert [seed for _, seed, _ in trained] == [42, 42, 43, 43, 44, 44]
    assert len({name for name, _, _ in trained}) == 6 and len({s for _, _, s in trained}) == 1
    assert trained[2][0].startswith("ablation-full-seed43-")


def test_resamples_survive_their_file(tmp_path):
    kept = {"guided": {"top1": Resampled(np.array([0.5, np.nan]), Behind(9, 3, 0.4, True))}}
    save_resampled(tmp_path, kept)
    found = load_resampled(tmp_path)["guided"]["top1"]
    assert found.behind == kept["guided"]["top1"].behind
    np.testing.assert_array_equal(found.values, [0.5, np.nan])
    assert load_resampled(tmp_path / "nowhere") == {}
