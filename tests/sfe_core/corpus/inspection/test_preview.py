"""The contact sheet: which rows it shows, and that every column is filled."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.inspection.preview import choose_rows


def test_rows_spread_over_emotions_and_keys() -> None:
    rows = [
        {"key": f"{emotion}/{n:02}", "emotion": emotion}
        for emotion in ("happy", "sad")
        for n in range(30)
    ]
    chosen = choose_rows(rows)
    assert len(chosen) == 16 == len({row["key"] for row in chosen})
    assert [row["emotion"] for row in chosen[:4]] == ["happy", "sad", "happy", "sad"]
    assert choose_rows(rows[::-1]) == chosen
    assert chosen[14]["key"] > "happy/20"


def test_few_rows_are_all_shown() -> None:
    rows = [{"key": str(n), "emotion": None} for n in range(3)]
    assert choose_rows(rows) == rows
    assert choose_rows([]) == []


def test_sheet_of_a_real_corpus(small_corpus: Workspace) -> None:
    with Image.open(small_corpus.corpus / "preview.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[0] == 20 + 4 * 164
    for row in range(4):
        for column in range(5):
            tile = pixels[20 + row * 164 : 180 + row * 164, column * 164 : column * 164 + 160]
            assert tile.std() > 10
