"""The ablation: which variants, what each changes, and the table of their numbers."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import Interrupted, Stopped, UserError
from sfe_core.evaluation import ablation
from sfe_core.evaluation.ablation import FULL, ablate, chosen_variants, collect, variants_of
from sfe_core.evaluation.metrics import in_ablation
from sfe_core.packaging.package import PackageExists
from sfe_core.training.options import TrainOptions
from tests.sfe_core.evaluation.summaries import make_summary, score


def test_every_active_part_is_off_once():
    config = Config.model_validate({"loss": {"perceptual": 0}, "train": {"balance": 0}})
    names = [variant.name for variant in variants_of(config)]
    assert names == [FULL, "no-noise", "no-valence", "no-arousal", "no-expression", "no-guidance"]
    assert "no-balance" in [variant.name for variant in variants_of(Config())]
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
    summaries = {FULL: make_summary(tmp_path), "no-noise": make_summary(tmp_path)}
    found = collect(summaries, tmp_path / "out")
    ablation.write_table(found)
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
        FULL: full,
        "no-valence": make_summary(tmp_path, scores=scores),
        "no-balance": make_summary(tmp_path),
    }
    found = collect(summaries, tmp_path / "out")
    (note,) = found.notes
    assert note.startswith("no-balance is full to the last digit") and "equally often" in note
    ablation.write_table(found)
    assert note in (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["notes"] == [note]


def test_numbers_of_other_photos_are_not_put_side_by_side(tmp_path):
    other = make_summary(tmp_path, keys_sha256="ff" * 32)
    with pytest.raises(UserError, match="no-noise.*other photos"):
        collect({FULL: make_summary(tmp_path), "no-noise": other}, tmp_path)
