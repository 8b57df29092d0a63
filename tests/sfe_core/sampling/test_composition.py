import numpy as np
import pytest
from PIL import Image

from sfe_core.sampling.composition import (
    Panel,
    as_tile,
    compose_triptych,
    tile_box,
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


def test_a_picture_that_is_not_square_is_shown_whole():
    wide = np.asarray(as_tile(Image.new("RGB", (200, 100), (255, 0, 0)), 64))
    assert (wide[32] == (255, 0, 0)).all()
    assert (wide[0] == wide[0, 0]).all() and (wide[0, 0] != (255, 0, 0)).any()


def test_a_caption_that_reads_from_right_to_left_starts_at_the_right():
    def ink_columns(caption: str) -> np.ndarray:
        triptych = np.asarray(compose(caption, 64).convert("L"))
        return np.flatnonzero((triptych[tile_box(0, 64)[3] + 1 :] < 128).any(axis=0))

    latin, arabic = ink_columns("happy"), ink_columns("سعيدة")
    width = compose("", 64).width
    assert latin.max() < width / 2 < arabic.min()
