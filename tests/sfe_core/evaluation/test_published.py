"""Published numbers stand beside the nearest metric, with all that was measured unlike."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.evaluation.published import with_published
from sfe_core.evaluation.reporting.report_tables import score_table
from tests.sfe_core.evaluation.summaries import TOP1, make_summary, metric, score


def test_emonet_as_judge_is_the_same_measure(tmp_path: Path):
    found = {one.metric: one for one in with_published(make_summary(tmp_path)).published}
    assert set(found) == {"top1", "frechet_emonet_8"}  # no Top-3, no perceptual distance here
    assert (found["top1"].base, found["top1"].tuned) == (0.31, 0.39)
    assert found["top1"].differences == ["photos of another data set"]
    first = found["frechet_emonet_8"].differences[0]
    assert first == "Fréchet (emonet_8) by emonet_8 here, FID there"


def test_the_published_metric_itself_is_preferred(tmp_path: Path):
    summary = make_summary(tmp_path)
    metrics = {
        "top1": metric("Emotion Top-1"),
        "top1_emonet": metric("Emotion Top-1 (emonet)"),
        "fid": metric("FID", unit="", better="lower"),
        "dists": metric("DISTS", unit="", better="lower", digits=3),
    }
    scores = {name: dict.fromkeys(metrics, score((0.5, 0.4, 0.6), "tiny")) for name in TOP1}
    found = with_published(make_summary(tmp_path, metrics=metrics, scores=scores)).published
    assert [one.metric for one in found] == ["top1_emonet", "fid", "dists"]
    assert all(one.differences == ["photos of another data set"] for one in found)
    assert summary.published == []


def test_unlike_circumstances_are_named(tmp_path: Path):
    summary = make_summary(tmp_path, pictures=72, resolution=64)
    settings = {"sampling": {"steps": 25}}
    for base, wanted in (("tiny-sd", "25 sampling steps here, 300 there"), ("", None)):
        origin = summary.provenance.model_copy(update={"base": base, "settings": settings})
        texts = with_published(summary.model_copy(update={"provenance": origin}))
        texts = texts.published[0].differences
        assert {"72 pictures here, 300 there", "64 px here, 512 there"} <= set(texts)
        assert any(text.startswith(f"base model {base or 'unknown'} here") for text in texts)
        # Nothing is known of how pictures made elsewhere were drawn.
        assert any("sampling steps" in text for text in texts) == bool(wanted)
        assert wanted is None or wanted in texts


def test_the_table_says_common_differences_once(tmp_path: Path):
    table = score_table(with_published(make_summary(tmp_path, pictures=72)), headline=True)
    assert table.has_published
    assert table.unlike_all == ["photos of another data set", "72 pictures here, 300 there"]
    assert table.footnotes == ["Fréchet (emonet_8) by emonet_8 here, FID there"]
    (_, (top1,)), (_, (frechet,)) = table.groups
    assert (top1.published.values, top1.published.delta) == ("31 → 39 %", "+8 points")
    assert (frechet.published.values, frechet.published.delta) == ("106.0 → 84.4", "−21.6")
    assert (top1.published.mark, frechet.published.mark) == (0, 1)


@pytest.mark.parametrize("headline", [True, False])
def test_without_a_nearest_metric_there_is_no_column(tmp_path: Path, headline: bool):
    metrics = {"clip": metric("CLIP", unit="", headline=headline)}
    scores = {name: {"clip": score((0.3, 0.2, 0.4), "clip")} for name in TOP1}
    summary = with_published(make_summary(tmp_path, metrics=metrics, scores=scores, deltas={}))
    assert summary.published == []
    assert not score_table(summary, headline).has_published
