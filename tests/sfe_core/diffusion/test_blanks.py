import numpy as np
import pytest

from sfe_core.diffusion.drawing import is_blank


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
def test_one_colour_is_blank_and_rounding_changes_nothing(colour: tuple[int, int, int]):
    picture = np.full((64, 64, 3), colour, np.uint8)
    assert is_blank(picture)
    picture[0, 0, 0] ^= 1
    assert is_blank(picture)


def test_the_faintest_picture_is_not_blank():
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[:, ::2, 1] += 2
    assert not is_blank(picture)
