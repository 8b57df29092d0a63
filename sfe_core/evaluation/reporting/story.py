"""One sheet that tells what fine-tuning did: one person, every emotion, a row for each set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.pictures import PictureSet
from sfe_core.evaluation.summary import PERSON, EvaluationSummary
from sfe_core.files import atomic_path
from sfe_core.sampling.composition import as_tile, blank_tile
from sfe_core.sampling.lettering import draw_line, wrap

STORY = "story.png"
_FEWEST = 2  # emotions of one person that are worth a sheet
_TILE_PX, _GAP, _NAMES_PX, _HEAD_PX, _SEEN_PX, _LINE_PX = 128, 6, 104, 30, 22, 18
_PAPER, _INK, _FAINT, _RIGHT = (255, 255, 255), (24, 24, 27), (113, 113, 122), (11, 107, 69)
_WORDS = {
    "base": "base model, from the caption",
    "text": "fine-tuned, from the caption",
    "guided": "fine-tuned, from caption and maps",
    "real": "the photo",
}


@dataclass(frozen=True)
class Story:
    """Who is shown.

    Attributes:
        person: as the corpus names them.
        rows: of the table of all pictures, one for each emotion that there is a photo of, in the
            emotions' order.
    """

    person: str
    rows: pd.DataFrame

    @property
    def emotions(self) -> list[str]:
        """The columns of the sheet."""
        return self.rows["emotion"].tolist()


def choose_person(table: pd.DataFrame) -> Story | None:
    """The first person with most emotions, with the first photo of each.

    Args:
        table: per-image rows as `outputs.per_image_table` makes them.

    Returns:
        None where nobody is known by two or more emotions.
    """
    known = table.dropna(subset=[PERSON, "emotion"]).drop_duplicates([PERSON, "emotion"])
    counts = known.groupby(PERSON, sort=False)["emotion"].size()
    if counts.empty or counts.max() < _FEWEST:
        return None
    person = counts.idxmax()
    rows = known[known[PERSON] == person]
    return Story(str(person), rows.sort_values("emotion", key=lambda names: names.map(_place)))


def write_story(
    summary: EvaluationSummary, table: pd.DataFrame, sets: Mapping[str, PictureSet]
) -> Path | None:
    """Write `story.png` into the evaluation's folder; nothing is drawn by a model for it.

    Below each picture stands what the judge sees in it, in green where that was asked for.

    Args:
        summary, table: the numbers, of all and by picture.
        sets: where the pictures are; the photos come last.

    Returns:
        Its path; None where nobody is known by two or more emotions, and an old one is deleted.
    """
    path, story = summary.folder / STORY, choose_person(table)
    if story is None:
        path.unlink(missing_ok=True)
        return None
    names = [name for name in sets if name in summary.scores]
    columns, note = len(story.rows), wrap(told(summary, story), 12, _width(len(story.rows)) - 16)
    height = _HEAD_PX + len(names) * _cell_height() + len(note) * _LINE_PX + _GAP
    sheet = Image.new("RGB", (_width(columns), height), _PAPER)
    for column, emotion in enumerate(story.emotions):
        middle = _left(column) + _TILE_PX / 2
        draw_line(sheet, (middle, _HEAD_PX / 2), emotion, 14, _INK, "center")
    for place, name in enumerate(names):
        _draw_set(sheet, _HEAD_PX + place * _cell_height(), summary, name, sets[name], story)
    top = _HEAD_PX + len(names) * _cell_height()
    for number, line in enumerate(note):
        draw_line(sheet, (_GAP, top + (number + 0.5) * _LINE_PX), line, 12, _FAINT)
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG", optimize=True)
    return path


def told(summary: EvaluationSummary, story: Story) -> str:
    """What the sheet shows, in words, with what it lacks."""
    left_out = [name for name in EMOTIONS if name not in story.emotions]
    lacks = f" No photo of this person shows {', '.join(left_out)}." if left_out else ""
    return (
        f"Person {story.person} of {summary.split}, the first with most emotions; columns: the "
        f"emotion asked for. Below each picture: what the judge "
        f"({summary.backend_name(summary.judge)}) sees, green where it was asked for.{lacks}"
    )


def _draw_set(
    sheet: Image.Image,
    top: int,
    summary: EvaluationSummary,
    name: str,
    pictures: PictureSet,
    story: Story,
) -> None:
    """One row: its name, its pictures, and what the judge sees in each."""
    info = summary.set_info(name)
    lines = wrap(_WORDS.get(name, info.title), 12, _NAMES_PX - _GAP)
    for number, line in enumerate(lines):
        middle = top + _TILE_PX / 2 + (number - (len(lines) - 1) / 2) * _LINE_PX
        draw_line(sheet, (_GAP, middle), line, 12, _INK)
    for column, (_, row) in enumerate(story.rows.iterrows()):
        left, picture = _left(column), pictures.picture(row["key"], summary.resolution)
        if picture.image is None:
            sheet.paste(blank_tile(_TILE_PX, picture.fault), (left, top))
            continue
        levels = ((picture.image.clamp(-1, 1) + 1.0) * 127.5).round().byte().permute(1, 2, 0)
        sheet.paste(as_tile(Image.fromarray(levels.numpy()), _TILE_PX), (left, top))
        seen = row[f"{info.prefix}_top1"]
        if not pd.isna(seen):
            colour = _RIGHT if seen == row["emotion"] else _FAINT
            middle = top + _TILE_PX + _SEEN_PX / 2 - 1
            draw_line(sheet, (left + _TILE_PX / 2, middle), str(seen), 11, colour, "center")


def _place(emotion: str) -> int:
    return EMOTIONS.index(emotion)


def _left(column: int) -> int:
    return _NAMES_PX + column * (_TILE_PX + _GAP)


def _width(columns: int) -> int:
    return _left(columns)


def _cell_height() -> int:
    return _TILE_PX + _SEEN_PX
