from __future__ import annotations

import unicodedata

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sfe_core.sampling import lettering
from sfe_core.sampling.lettering import (
    draw_line,
    missing_glyphs,
    reads_right_to_left,
    shipped_fonts,
    text_width,
    wrap,
)

shaped = pytest.mark.skipif(
    matplotlib.__version_info__[:2] < (3, 11), reason="matplotlib shapes text from 3.11 on"
)

# One word of each script, in none of which DejaVu Sans alone would do but the first four.
WORDS = {
    "latin": "häppy",
    "cyrillic": "Дмитрий",
    "greek": "χαρά",
    "arabic": "وجه",
    "hebrew": "פנים",
    "chinese": "快乐",
    "japanese": "幸せな顔",
    "korean": "행복한",
    "devanagari": "खुश",
    "bengali": "খুশি",
    "tamil": "முகம்",
    "thai": "ใบหน้า",
    "amharic": "ደስተኛ",
    "armenian": "երջանիկ",
    "georgian": "ბედნიერი",
    "khmer": "សប្បាយ",
    "burmese": "ပျော်",
    "sinhala": "සතුටු",
    "emoji": "😀",
}


def inked(text: str, size_px: int = 24, align: str = "left", x: float = 10.0) -> np.ndarray:
    """The line drawn in black on white, as grey levels [64, 480]."""
    canvas = Image.new("RGB", (480, 64), (255, 255, 255))
    draw_line(canvas, (x, 32), text, size_px, (0, 0, 0), align)
    return np.asarray(canvas.convert("L"))


def columns(picture: np.ndarray) -> np.ndarray:
    return np.flatnonzero((picture < 128).any(axis=0))


@pytest.mark.parametrize("script", WORDS)
def test_every_script_is_drawn_without_boxes(script: str):
    word = WORDS[script]
    for character in word:
        shipped = [
            path
            for path in shipped_fonts()
            if lettering.font_manager.get_font([path]).get_char_index(ord(character))
        ]
        assert shipped, unicodedata.name(character)
    box = inked("\U000f0000")  # private use: no font has it
    drawn = inked(word)
    assert (drawn < 128).any()
    assert not np.array_equal(drawn, box)
    assert missing_glyphs([word]) == []


def test_letters_of_a_script_are_not_one_and_the_same_picture():
    assert not np.array_equal(inked("顔"), inked("快"))
    assert not np.array_equal(inked("한"), inked("행"))


@shaped
def test_arabic_letters_join_and_run_from_right_to_left():
    joined, apart = inked("ببب"), inked("ب ب ب")
    assert len(columns(joined)) == columns(joined)[-1] - columns(joined)[0] + 1  # one stroke
    assert len(columns(apart)) < columns(apart)[-1] - columns(apart)[0] + 1
    # Alef is a bar, beh a bowl: the first letter, alef, must stand at the right.
    ink = (inked("ا ب") < 128).sum(axis=0)
    tall = np.flatnonzero((inked("ا ب") < 128).sum(axis=0) > 10)
    assert tall.min() > np.flatnonzero(ink).mean()


@shaped
def test_devanagari_is_shaped():
    # The sign for i is written before the letter that it follows.
    assert not np.array_equal(inked("कि"), inked("क" + " " + "ि"))
    assert text_width("क्ष", 24) < text_width("क", 24) + text_width("ष", 24)


@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_a_line_ends_where_it_is_told(align: str):
    found = columns(inked("HHH", align=align, x=240))
    anchor = {"left": found[0], "center": found.mean(), "right": found[-1]}[align]
    assert abs(anchor - 240) <= 4


def test_capitals_of_all_sizes_stand_about_the_middle():
    for size_px in (10, 24, 40):
        rows = np.flatnonzero((inked("H", size_px) < 128).any(axis=1))
        assert abs((rows[0] + rows[-1] + 1) / 2 - 32) <= 1


def test_characters_without_any_font_are_told(monkeypatch: pytest.MonkeyPatch):
    lettering._font_of.cache_clear()
    monkeypatch.setattr(lettering, "_system_fonts", lambda: ("/no/such/font.ttf",))
    assert missing_glyphs(["happy \U000f0000\u200d\n", "顔"]) == ["\U000f0000"]
    dejavu = shipped_fonts()[:1]
    lettering._font_of.cache_clear()
    monkeypatch.setattr(lettering, "shipped_fonts", lambda: dejavu)
    assert missing_glyphs(["happy", "顔"]) == ["顔"]
    lettering._font_of.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("happy", False), ("123 وجه", True), ("…פנים", True), ("face, وجه", False), ("", False)],
)
def test_the_first_letter_decides_the_direction(text: str, expected: bool):
    assert reads_right_to_left(text) is expected


def test_lines_keep_words_whole_and_stay_within_the_width():
    text = "surprise, close-up photo of a man with a hat, Дмитрий, " * 3
    lines = wrap(text, 20, 400)
    assert " ".join(lines) == " ".join(text.split())
    assert len(lines) > 2
    assert all(text_width(line, 20) <= 400 for line in lines)


def test_a_word_wider_than_a_line_is_broken_and_nothing_of_it_lost():
    lines = wrap("x" * 100, 20, 200)
    assert "".join(lines) == "x" * 100
    assert all(text_width(line, 20) <= 200 for line in lines)


def test_an_endless_caption_ends_in_an_ellipsis():
    lines = wrap("word " * 500, 20, 200)
    assert len(lines) == 8
    assert lines[-1].endswith("…")
    assert text_width(lines[-1], 20) <= 200


def test_no_caption_is_no_line():
    assert wrap("  ", 20, 200) == []


def test_japanese_breaks_between_characters_but_not_before_closing_punctuation():
    text = "幸せ、長い黒髪の女性。「とても嬉しい」と言う。" * 3
    for width_px in range(200, 240, 4):
        lines = wrap(text, 20, width_px)
        assert "".join(lines) == text
        assert all(text_width(line, 20) <= width_px for line in lines)
        assert not [line for line in lines if line[0] in "、。」"]
        assert not [line for line in lines if line[-1] == "「"]
        # Full lines, not one for each run of characters without a space.
        assert all(text_width(line, 20) > width_px - 70 for line in lines[:-1])


def test_marks_stay_with_their_letters_when_a_word_is_broken():
    text = "खुशमहिलाकाचेहरा" * 6
    lines = wrap(text, 20, 150)
    assert "".join(lines) == text
    assert len(lines) > 2
    assert not [line for line in lines if unicodedata.category(line[0])[0] == "M"]
