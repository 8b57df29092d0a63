"""Which keys the report shows, and what it says where a picture is missing."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from sfe_core.evaluation.pictures import Picture
from sfe_core.evaluation.reporting.report_strips import PICTURE_PX, SHOWN, best_and_worst
from tests.sfe_core.evaluation.summaries import TOP1, make_summary


class Grey:
    """Every key the same grey, except one that is not there."""

    def __init__(self, gone: str = "") -> None:
        self.gone = gone

    def picture(self, key: str, size: int) -> Picture:
        return Picture(None, "missing") if key == self.gone else Picture(torch.zeros(3, size, size))

    def fingerprint(self, key: str) -> str:
        return key


def table(rows: int = 12) -> pd.DataFrame:
    """Key k's asked emotion gains k - 5 hundredths in the guided pictures."""
    return pd.DataFrame(
        {
            "key": [f"k{i}" for i in range(rows)],
            "caption": [None if i == 11 else f"caption {i}" for i in range(rows)],
            "emotion": ["happy"] * rows,
            **{f"{name}_top1": ["happy"] * rows for name in ("orig", "base", "fine")},
            "orig_asked": [0.9] * rows,
            "base_asked": [0.5] * rows,
            "fine_asked": [0.5 + (i - 5) / 100 for i in range(rows)],
        }
    )


def sets(gone: str = "") -> dict[str, Grey]:
    return {"base": Grey(), "guided": Grey(gone), "real": Grey()}


def test_the_greatest_gain_first_and_the_greatest_loss_first(tmp_path: Path):
    found = best_and_worst(make_summary(tmp_path, resolution=64), table(), sets(gone="k11"))
    assert [strip.key for strip in found.best] == ["k11", "k10", "k9", "k8"]
    assert [strip.key for strip in found.worst] == ["k0", "k1", "k2", "k3"]
    assert (found.best[0].change, found.worst[0].change) == ("+6 points", "−5 points")
    assert found.best[0].caption == "" and found.best[1].caption == "caption 10"
    photo, base, guided = found.best[0].tiles
    assert (photo.heading, base.heading, guided.heading) == ("photo", "base", "guided")
    assert (guided.source, guided.seen, guided.share) == ("", "missing", "")
    assert photo.right and photo.share == "p(happy) 90 %"
    encoded = photo.source.removeprefix("data:image/png;base64,")
    with Image.open(BytesIO(base64.b64decode(encoded))) as picture:
        assert picture.size == (64, 64) and picture.getpixel((0, 0)) == (128, 128, 128)


def test_large_pictures_are_shrunk(tmp_path: Path):
    found = best_and_worst(make_summary(tmp_path, resolution=512), table(2), sets())
    encoded = found.best[0].tiles[0].source.split(",")[1]
    with Image.open(BytesIO(base64.b64decode(encoded))) as picture:
        assert picture.size == (PICTURE_PX, PICTURE_PX)


def test_few_keys_are_shown_once(tmp_path: Path):
    summary = make_summary(tmp_path, resolution=64)
    for count in (1, 2, 3, 2 * SHOWN - 1):
        found = best_and_worst(summary, table(count), sets())
        keys = [strip.key for strip in (*found.best, *found.worst)]
        assert len(keys) == len(set(keys)) and len(found.best) == max(1, count // 2)
    empty = best_and_worst(summary, table(0), sets())
    assert empty.best == empty.worst == []


def test_without_labels_the_first_and_last_keys(tmp_path: Path):
    rows = table()
    rows[["orig_asked", "base_asked", "fine_asked"]] = None
    rows["emotion"] = None
    found = best_and_worst(make_summary(tmp_path, resolution=64), rows, sets())
    assert [strip.key for strip in found.best] == ["k0", "k1", "k2", "k3"]
    assert found.best_heading == "Pictures" and found.best[0].change == ""
    assert not found.best[0].tiles[0].right and found.best[0].tiles[0].share == ""


def test_a_lone_model_is_ranked_by_itself(tmp_path: Path):
    summary = make_summary(tmp_path, resolution=64)
    scores = {name: summary.scores[name] for name in TOP1 if name != "base"}
    alone = summary.model_copy(update={"scores": scores, "baseline": "guided"})
    found = best_and_worst(alone, table(), {"guided": Grey(), "real": Grey()})
    assert found.best_heading == "Most as asked" and found.best[0].key == "k11"
    assert found.best[0].change == "" and len(found.best[0].tiles) == 2
