import numpy as np
import pytest
from PIL import Image

from sfe_core.sampling.composition import (
    Panel,
    _font,
    as_tile,
    compose_triptych,
    tile_box,
    wrap,
)

RED, GREEN = Image.new("RGB", (512, 512), (255, 0, 0)), Image.new("L", (64, 64), 200)


def compose(caption: str, tile_px: int = 512) -> Image.Image:
    panels = (Panel("Original", RED), Panel("Base", GREEN), Panel("Fine-tuned", None, "lost"))
    return compose_triptych(panels, caption, tile_px)


@pytest.mark.parametrize("tile_px", [64, 512])
def test_each_picture_stands_whole_in_its_box(tile_px: int):
    triptych = compose("happy, face", tile_px)
    red, grey, blank = (np.asarray(triptych.crop(tile_box(index, tile_px))) for index in range(3))
    assert red.shape == (tile_px, tile_px, 3)
    assert (red == (255, 0, 0)).all()
    assert (grey == 200).all()
    assert len(np.unique(blank.reshape(-1, 3), axis=0)) > 2  # grey with a label on it


def test_a_small_picture_is_enlarged_with_lanczos():
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    small = Image.fromarray(random)
    expected = small.resize((512, 512), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(as_tile(small, 512)), np.asarray(expected))


def test_a_longer_caption_makes_a_taller_picture_and_nothing_else():
    short, long = compose("happy"), compose("a rather long caption of many words " * 8)
    assert long.width == short.width
    assert long.height > short.height
    box = tile_box(1, 512)
    assert np.array_equal(np.asarray(short.crop(box)), np.asarray(long.crop(box)))


def test_lines_keep_words_whole_and_stay_within_the_width():
    font = _font(20)
    text = "surprise, close-up photo of a man with a hat, Дмитрий, " * 3
    lines = wrap(text, font, 400)
    assert " ".join(lines) == " ".join(text.split())
    assert len(lines) > 2
    assert all(font.getlength(line) <= 400 for line in lines)


def test_a_word_wider_than_a_line_is_broken_and_nothing_of_it_lost():
    font = _font(20)
    lines = wrap("x" * 100, font, 200)
    assert "".join(lines) == "x" * 100
    assert all(font.getlength(line) <= 200 for line in lines)


def test_an_endless_caption_ends_in_an_ellipsis():
    lines = wrap("word " * 500, _font(20), 200)
    assert len(lines) == 8
    assert lines[-1].endswith("…")
    assert _font(20).getlength(lines[-1]) <= 200


def test_no_caption_is_no_line():
    assert wrap("  ", _font(20), 200) == []
