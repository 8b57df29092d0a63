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


def best_and_worst(
    summary: EvaluationSummary, table: pd.DataFrame, sets: Mapping[str, PictureSet]
) -> tuple[list[Strip], list[Strip]]:
    """Keys whose asked emotion became most and least likely, fine-tuned against the baseline.

    Without labels, or without either of the two, the split's first and last keys.
    """
    order, gain = table.index.tolist(), None
    if summary.tuned and summary.baseline in summary.scores:
        tuned, base = (summary.set_info(name).prefix for name in (summary.tuned, summary.baseline))
        found = (table[f"{tuned}_asked"] - table[f"{base}_asked"]).astype(float).dropna()
        if len(found):
            gain = found
            order = gain.sort_values(ascending=False, kind="stable").index.tolist()
    half = min(SHOWN, len(order) // 2) or len(order)
    best, worst = order[:half], order[half:][-half:][::-1]
    made = [
        [_strip(summary, table.loc[row], gain, row, sets) for row in rows] for rows in (best, worst)
    ]
    return made[0], made[1]


def _strip(
    summary: EvaluationSummary,
    row: pd.Series,
    gain: pd.Series | None,
    index: int,
    sets: Mapping[str, PictureSet],
) -> Strip:
    names = [name for name in summary.titles if name in sets]
    names.sort(key=lambda name: summary.set_info(name).role != "real")
    moved = "" if gain is None else f"{100 * gain[index]:+.0f}".replace("-", "\N{MINUS SIGN}")
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    tiles = [_tile(summary, row, name, sets[name]) for name in names]
    return Strip(row["key"], caption, moved, tiles)


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
