"""The report's pictures: the keys where the fine-tuning helped most and least, side by side."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import pandas as pd
from PIL import Image
from torch import Tensor

from sfe_core.evaluation.pictures import PictureSet
from sfe_core.evaluation.summary import EvaluationSummary

SHOWN = 4
PICTURE_PX = 160
HEADINGS = {"real": "photo", "base": "base", "text": "text", "guided": "guided"}


@dataclass(frozen=True)
class Tile:
    """One picture of a strip; `source` is empty where there is none, `seen` then says why."""

    heading: str
    source: str
    seen: str
    right: bool
    share: str


@dataclass(frozen=True)
class Strip:
    """All pictures of one key, the photo first."""

    key: str
    caption: str
    change: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Strips:
    """Some keys under headings, and by what they were chosen; `worst` may be empty."""

    best_heading: str
    worst_heading: str
    chosen_by: str
    best: list[Strip]
    worst: list[Strip]


NO_STRIPS = Strips("", "", "", [], [])


def best_and_worst(
    summary: EvaluationSummary, table: pd.DataFrame, sets: Mapping[str, PictureSet]
) -> Strips:
    """Keys whose asked emotion became most and least likely, fine-tuned against the baseline.

    Without a baseline beside it, keys whose asked emotion is most and least likely; without labels,
    the split's first and last keys.
    """
    order, points, headings = _ranking(summary, table)
    half = min(SHOWN, len(order) // 2) or len(order)
    best, worst = order[:half], order[half:][-half:][::-1]
    made = [
        [_strip(summary, table.iloc[row], points.get(row), sets) for row in rows]
        for rows in (best, worst)
    ]
    return Strips(*headings, *made)


def _ranking(
    summary: EvaluationSummary, table: pd.DataFrame
) -> tuple[list[int], dict[int, str], tuple[str, str, str]]:
    """Rows from best to worst, what to write beside each, and the headings."""
    tuned, base = summary.tuned, summary.baseline
    every, plain = list(range(len(table))), ("Pictures", "More pictures", "")
    if not tuned:
        return every, {}, plain
    value = table[f"{summary.set_info(tuned).prefix}_asked"].astype(float)
    paired = base in summary.scores and base != tuned
    if paired:
        value = value - table[f"{summary.set_info(base).prefix}_asked"].astype(float)
    value = value.reset_index(drop=True).dropna().sort_values(ascending=False, kind="stable")
    if value.empty:
        return every, {}, plain
    order = [int(row) for row in value.index]
    if not paired:
        words = f"By the probability that the judge gives to the asked emotion in {tuned}."
        return order, {}, ("Most as asked", "Least as asked", words)
    points = {
        row: f"{100 * gain:+.0f} points".replace("-", "\N{MINUS SIGN}")
        for row, gain in zip(order, value, strict=True)
    }
    words = (
        "By the probability that the judge gives to the asked emotion, "
        f"{summary.titles[tuned]} against {summary.titles[base]}."
    )
    return order, points, ("Where fine-tuning helped most", "Where it helped least", words)


def _strip(
    summary: EvaluationSummary, row: pd.Series, change: str | None, sets: Mapping[str, PictureSet]
) -> Strip:
    names = [name for name in summary.titles if name in sets]
    names.sort(key=lambda name: summary.set_info(name).role != "real")
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    tiles = [_tile(summary, row, name, sets[name]) for name in names]
    return Strip(row["key"], caption, change or "", tiles)


def _tile(summary: EvaluationSummary, row: pd.Series, name: str, pictures: PictureSet) -> Tile:
    prefix = summary.set_info(name).prefix
    heading = HEADINGS.get(name, summary.set_info(name).title)
    picture = pictures.picture(row["key"], summary.resolution)
    if picture.image is None:
        return Tile(heading, "", picture.fault, False, "")
    asked, seen = row[f"{prefix}_asked"], row[f"{prefix}_top1"]
    share = "" if pd.isna(asked) else f"p({row['emotion']}) {100 * asked:.0f} %"
    seen = "" if pd.isna(seen) else str(seen)
    return Tile(heading, _picture_uri(picture.image), seen, seen == row["emotion"], share)


def _picture_uri(image: Tensor) -> str:
    """A [3, S, S] picture in [-1, 1] as a data URI, at most `PICTURE_PX` wide."""
    levels = ((image.clamp(-1, 1) + 1.0) * 127.5).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(levels)
    if max(picture.size) > PICTURE_PX:
        picture = picture.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
