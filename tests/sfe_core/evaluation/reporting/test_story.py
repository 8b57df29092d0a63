"""The sheet of one person: who is chosen, what is on it, and what it says it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.pictures import Picture
from sfe_core.evaluation.reporting.report import render_report
from sfe_core.evaluation.reporting.story import STORY, choose_person, told, write_story
from tests.sfe_core.evaluation.summaries import make_summary


class Plain:
    """Every key in one grey, but a key that is not there."""

    def __init__(self, grey: float, gone: str = "") -> None:
        self.grey, self.gone = grey, gone

    def picture(self, key: str, size: int) -> Picture:
        if key == self.gone:
            return Picture(None, "missing")
        return Picture(torch.full((3, size, size), self.grey))

    def fingerprint(self, key: str) -> str:
        return key


def table(people: dict[str, list[str | None]]) -> pd.DataFrame:
    rows = [(person, emotion) for person, emotions in people.items() for emotion in emotions]
    made = {
        "key": [f"k{number}" for number in range(len(rows))],
        "caption": "a face",
        "person": [person or None for person, _ in rows],
        "emotion": [emotion for _, emotion in rows],
    }
    seen = {f"{name}_top1": "happy" for name in ("orig", "base", "fine")}
    asked = {f"{name}_asked": 0.5 for name in ("orig", "base", "fine")}
    return pd.DataFrame(made | seen | asked)


MANY = table(
    {
        "": [*EMOTIONS],  # nobody knows who this is
        "ada": ["happy", "happy", "happy"],
        "bo": ["sad", "happy", "fear", None],
        "cy": ["fear", "sad", "happy"],
    }
)


def test_the_first_person_with_most_emotions_is_shown_in_their_order() -> None:
    story = choose_person(MANY)
    assert story is not None and story.person == "bo"
    assert story.emotions == ["happy", "sad", "fear"]
    assert story.rows["key"].tolist() == ["k12", "k11", "k13"]


@pytest.mark.parametrize("people", [{"": [*EMOTIONS]}, {"ada": ["happy", "happy"]}, {}])
def test_without_a_person_in_several_emotions_there_is_none(people, tmp_path: Path) -> None:
    (tmp_path / STORY).write_bytes(b"of before")
    sets = {"base": Plain(0.0)}
    assert write_story(make_summary(tmp_path), table(people), sets) is None
    assert not (tmp_path / STORY).exists()


def test_each_picture_stands_in_its_row_and_column(tmp_path: Path) -> None:
    greys = {"base": -0.5, "guided": 0.0, "real": 0.5}
    sets = {name: Plain(grey, "k11" if name == "base" else "") for name, grey in greys.items()}
    summary = make_summary(tmp_path, resolution=64)
    path = write_story(summary, MANY, sets)
    assert path == tmp_path / STORY
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    # Rows by the brightness that runs through a whole tile; columns by their number.
    for name, grey in greys.items():
        level = round((grey + 1) * 127.5)
        tiles = (sheet == level).all(axis=2).sum() / 128**2
        wanted = 2 if name == "base" else 3
        assert wanted <= tiles < wanted + 0.1, name
    tops = [np.argmax((sheet == round((g + 1) * 127.5)).all(axis=2).any(axis=1)) for g in (-0.5, 0)]
    assert tops == sorted(tops)
    # What was asked for is green below its pictures, and nothing else is coloured.
    coloured = np.ptp(sheet, axis=2) > 60
    columns = np.flatnonzero(coloured.any(axis=0))
    assert coloured.any() and np.ptp(columns) < 128


def test_it_says_whose_pictures_by_which_judge_and_what_is_not_there(tmp_path: Path) -> None:
    story = choose_person(MANY)
    assert story is not None
    words = told(make_summary(tmp_path), story)
    assert words.startswith("Person bo of val300") and "emonet_8" in words
    lacking = [name for name in EMOTIONS if name not in ("happy", "sad", "fear")]
    assert words.endswith(f"No photo of this person shows {', '.join(lacking)}.")


def test_the_report_shows_it(tmp_path: Path) -> None:
    summary, sets = make_summary(tmp_path, resolution=64), {"guided": Plain(0.0)}
    page = render_report(summary, MANY, sets, [], write_story(summary, MANY, sets))
    assert 'id="story"' in page and "data:image/png" in page
    assert 'id="story"' not in render_report(summary, MANY, sets, [])
