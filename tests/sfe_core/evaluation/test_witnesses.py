"""A judge from outside stands beside the judge wherever numbers are told, and alike everywhere."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.compare import compare
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.summary import EvaluationSummary
from tests.outside_judge import put_outside_judge
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.evaluation.conftest import VALIDATION

NAME = "outsider.bin"


@pytest.fixture
def witnessed(
    evaluable: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_plots: None
) -> tuple[Workspace, EvaluationSummary]:
    """An evaluation with one, which sees every photo as happy, so that one of nine is right."""
    path, network = put_outside_judge(tmp_path / "models", monkeypatch)
    network.head.weight.zero_()
    network.head.bias[EMOTIONS.index("happy")] = 5.0
    (package,) = evaluable.packaged.iterdir()
    (package / "README.md").write_text("# tuned\n", encoding="utf-8")
    workspace = with_settings(evaluable, evaluate={"witnesses": [path]})
    return workspace, evaluate(workspace)


def test_every_output_tells_the_same_of_it(witnessed: tuple[Workspace, EvaluationSummary]):
    _, summary = witnessed
    assert summary.instruments[NAME].kind == "witness"
    # Of nine photos the first and the last ask for neutral, and one for contempt.
    for name in ("base", "text", "guided", "real"):
        score = summary.scores[name][f"top1_{NAME}"]
        assert (score.value, score.n) == (pytest.approx(1 / 8), VALIDATION - 1)
    assert summary.scores["guided"][f"top1_of_photos_{NAME}"].value == 1.0
    assert summary.metrics[f"top1_{NAME}"].chance == pytest.approx(1 / 7)
    unread = f"{NAME} does not know contempt: 1 of {VALIDATION} pictures of a set"
    assert any(note.startswith(unread) for note in summary.notes)

    stored = json.loads((summary.folder / "summary.json").read_text("utf-8"))
    assert stored["recognitions"][NAME]["unreadable"] == ["contempt"]
    assert stored["deltas"]["guided"][f"top1_{NAME}"]["value"] == 0.0

    table = pd.read_csv(summary.folder / "per_image.csv")
    ranks = table[f"fine_rank_{NAME}"].to_numpy(dtype=float)
    assert np.isnan(ranks).tolist() == (table["emotion"] == "contempt").tolist()
    assert np.nanmean(ranks == 1) == pytest.approx(1 / VALIDATION)  # nan counts as not first
    assert f"fine_valence_{NAME}" not in table  # it reads none

    page = summary.report.read_text("utf-8")
    (judges,) = re.findall(r'<table class="scores" id="judges-table">.*?</table>', page, re.DOTALL)
    heads = re.findall(r'<th scope="row">(\S+) <small>(.*?)</small>', judges)
    assert heads == [
        ("random-judge", "the judge"),
        (NAME, "from outside"),
        ("tiny-emotion-loss", "the loss&#39;s own"),
    ]
    assert "cannot read contempt; guessing gives 14.3 %" in judges
    assert judges.count("<b>12.5 %</b>") == 4 and "100.0 % of the photos’" in judges
    assert f"From outside, {NAME} sees it in 12.5 % (base)" in page
    tex = (summary.folder / "table.tex").read_text("utf-8")
    assert tex.count(f"({NAME})") == 2
    card = (summary.folder.parents[1] / "packaged" / "tuned" / "README.md").read_text("utf-8")
    assert f"Judges from outside: {NAME}." in card
    assert f"| Emotion Top-1 ({NAME}) ↑ |" in card


def test_it_is_compared_picture_by_picture(witnessed: tuple[Workspace, EvaluationSummary]):
    workspace, summary = witnessed
    shutil.copytree(summary.folder, workspace.evaluation / "again")
    path = workspace.evaluation / "again" / "per_image.csv"
    table = pd.read_csv(path)
    table[f"fine_rank_{NAME}"] = table[f"fine_rank_{NAME}"].where(table["emotion"] == "contempt", 1)
    table.to_csv(path, index=False)
    scores = compare(workspace, "val300", "again").scores
    found = {one.metric: one.change for one in scores if one.set == "guided"}
    assert found[f"top1_{NAME}"].value == pytest.approx(7 / 8)
    assert found[f"top1_{NAME}"].test == "McNemar exact"
    assert found[f"top1_of_photos_{NAME}"].value == pytest.approx(8.0 - 1.0)
    assert found["top1"].value == 0.0


def test_evaluations_with_and_without_one_are_compared_in_what_both_have(
    witnessed: tuple[Workspace, EvaluationSummary],
):
    workspace, summary = witnessed
    summary.folder.rename(workspace.evaluation / "with")
    evaluate(with_settings(workspace, evaluate={"witnesses": []}))
    found = {one.metric for one in compare(workspace, "val300", "with").scores}
    assert "top1" in found and f"top1_{NAME}" not in found


def test_a_witness_that_the_loss_learnt_to_please_is_told_of(
    evaluable: Workspace, without_plots: None
):
    settings = {"witnesses": ["tiny-emotion-loss"]}
    summary = evaluate(with_settings(evaluable, evaluate=settings))
    assert any("tiny-emotion-loss is the network that" in note for note in summary.notes)
    assert "from outside, yet the loss&#39;s own" in summary.report.read_text("utf-8")


def test_one_that_is_named_and_not_there_stops_before_any_picture_is_drawn(
    evaluable: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sfe_core.evaluation.evaluate.drawn_sets", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UserError, match="no-such-witness"):
        evaluate(with_settings(evaluable, evaluate={"witnesses": ["no-such-witness"]}))
