"""The report's tables: what a cell says, and what stands beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.evaluation.reporting.report_tables import (
    flat_settings,
    instrument_rows,
    meanings,
    p_text,
    score_table,
)
from sfe_core.evaluation.summary import (
    Delta,
    EvaluationSummary,
    InstrumentInfo,
    RecogniserResult,
    usual_set,
)
from tests.sfe_core.evaluation.summaries import TOP1, make_summary, metric, score


def cells(summary: EvaluationSummary, name: str) -> dict:
    rows = [row for _, rows in score_table(summary, True).groups for row in rows]
    return next(row for row in rows if row.metric.title == name).cells


def test_a_cell_says_value_interval_change_and_test(tmp_path: Path):
    delta = Delta(value=0.08, low=0.02, high=0.14, n=300, p_value=0.0019, test="McNemar exact")
    found = cells(make_summary(tmp_path, deltas={"guided": {"top1": delta}}), "Emotion Top-1")
    guided = found["guided"]
    assert (guided.value, guided.interval) == ("39.0 %", "34.0 to 45.0")
    assert (guided.delta, guided.verdict) == ("+8.0 points", "better")
    difference = "n = 300; difference +8.0 points [+2.0, +14.0]; McNemar exact, p = 0.0019"
    assert guided.detail == difference
    assert (found["base"].delta, found["real"].delta) == ("", "")


def test_missing_scores_say_why(tmp_path: Path):
    scores = make_summary(tmp_path).scores
    scores["real"]["top1"] = score(None, "x", n=0, reason="no picture has a label")
    found = cells(make_summary(tmp_path, scores=scores), "Emotion Top-1")["real"]
    assert (found.value, found.reason, found.interval) == ("n/a", "no picture has a label", "")


def test_groups_keep_their_order_and_further_numbers_need_a_value(tmp_path: Path):
    metrics = {
        "clip": metric("CLIP", group="text"),
        "top1": metric("Top-1"),
        "recall_sad": metric("Recall, sad", headline=False),
        "recall_fear": metric("Recall, fear", headline=False),
    }
    known, unknown = score((0.5, 0.4, 0.6), "x"), score(None, "x", reason="none asked")
    scores = {name: dict.fromkeys(metrics, known) | {"recall_fear": unknown} for name in TOP1}
    summary = make_summary(tmp_path, metrics=metrics, scores=scores, deltas={})
    assert [heading for heading, _ in score_table(summary, True).groups] == ["Emotion", "Caption"]
    ((_, rows),) = score_table(summary, False).groups
    assert [row.metric.title for row in rows] == ["Recall, sad"]


def test_levels_and_what_the_loss_has_seen_stand_beside_the_name(tmp_path: Path):
    seen = InstrumentInfo(backend="emonet_8", kind="judge", resize="none", seen_by_loss=True)
    metrics = {
        "top1": metric("Top-1", instrument="judge"),
        "identity": metric("Identity", unit="", digits=2, description="Cosine of two faces."),
        "lpips": metric("LPIPS", unit="", description="Cosine of two faces."),
    }
    known = {
        "top1": score((0.5, 0.4, 0.6), "emonet_8"),
        "identity": score((0.7, 0.6, 0.8), "dlib"),
        "lpips": score((0.3, 0.2, 0.4), "lpips-vgg"),
    }
    summary = make_summary(
        tmp_path,
        metrics=metrics,
        scores=dict.fromkeys(TOP1, known),
        deltas={},
        instruments={"judge": seen},
        baselines={"identity": {"same person": 0.781, "different people": -0.2}},
    )
    ((_, rows),) = score_table(summary, True).groups
    # The judge as its instrument says, LPIPS as the provenance says.
    assert [row.seen_by_loss for row in rows] == [True, False, True]
    assert rows[1].baselines == [("same person", "0.78"), ("different people", "−0.20")]
    tools = {tool["backend"]: tool for tool in instrument_rows(summary)}
    assert tools["emonet_8"]["role"] == "judge" and tools["emonet_8"]["seen_by_loss"] == "yes"
    assert tools["dlib"]["metrics"] == "Identity" and tools["dlib"]["seen_by_loss"] == "no"
    assert meanings(summary) == [("Identity", "Cosine of two faces.")]


@pytest.mark.parametrize(("p", "text"), [(0.03125, "p = 0.0312"), (3e-9, "p < 0.0001")])
def test_p_values(p: float, text: str):
    assert p_text(p) == text


def test_settings_are_flat():
    settings = {"a": {"b": [1, 2], "c": {"d": None}}, "e": True}
    assert flat_settings(settings) == [("a.b", "1, 2"), ("a.c.d", "None"), ("e", "True")]


def test_recognisers_go_by_their_part(tmp_path: Path):
    nothing = RecogniserResult(confusion={}, as_photo={}, reliability={})
    instruments = {
        "emonet": InstrumentInfo(backend="emonet_8", kind="recogniser", resize=""),
        "judge": InstrumentInfo(backend="hsemotion", kind="judge", resize=""),
    }
    both = make_summary(
        tmp_path, recognitions=dict.fromkeys(instruments, nothing), instruments=instruments
    )
    assert list(both.recognised) == ["judge", "emonet"]
    assert both.judge == "judge" and both.backend_name("judge") == "hsemotion"
    assert (both.metric_suffix("judge"), both.metric_suffix("emonet")) == ("", "_emonet")
    plain = make_summary(tmp_path, confusion={"base": [[1]]})
    assert plain.recognised["judge"].confusion == {"base": [[1]]}
    assert plain.backend_name("judge") == "emonet_8"


def test_titles_roles_and_the_set_to_show(tmp_path: Path):
    summary = make_summary(tmp_path, sets={})
    assert summary.titles == {
        "base": "base",
        "guided": "fine-tuned, guided",
        "real": "real photos",
    }
    assert summary.tuned == "guided" and summary.with_role("real") == ["real"]
    assert usual_set("theirs") == usual_set("x").model_copy(
        update={"title": "theirs", "prefix": "theirs"}
    )
    alone = summary.model_copy(update={"scores": {"real": summary.scores["real"]}})
    assert alone.tuned == ""
