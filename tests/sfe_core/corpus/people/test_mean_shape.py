"""The shape of an album: the mean of its codes, or the one that came with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.layout import mean_shape_path
from sfe_core.corpus.people.mean_shape import album_shape, mean_shape
from sfe_core.errors import RunError

KEYS = ("anna/1", "anna/2")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Codes of two photos, as DECA's."""
    for number, key in enumerate(KEYS):
        codes = {"shape": np.full(100, number, np.float32), "exp": np.zeros(50, np.float32)}
        write_artefact(tmp_path / "codes" / f"{key}.npz", codes)
    return tmp_path


def test_it_is_the_mean_of_the_codes(corpus: Path) -> None:
    np.testing.assert_array_equal(mean_shape(corpus, KEYS), np.full(100, 0.5))
    np.testing.assert_array_equal(album_shape(corpus, "anna", KEYS), np.full(100, 0.5))
    with pytest.raises(RunError, match="cannot be read"):
        mean_shape(corpus, ["anna/3"])


def test_one_that_came_with_the_album_goes_before(corpus: Path) -> None:
    write_artefact(mean_shape_path(corpus, "anna"), {"shape": np.full(100, 7.0, np.float32)})
    np.testing.assert_array_equal(album_shape(corpus, "anna", KEYS), np.full(100, 7.0))
    np.testing.assert_array_equal(album_shape(corpus, "berta", KEYS), np.full(100, 0.5))


def test_a_given_shape_of_another_kind_of_head_is_no_help(corpus: Path) -> None:
    write_artefact(mean_shape_path(corpus, "anna"), {"shape": np.zeros(40, np.float32)})
    np.testing.assert_array_equal(album_shape(corpus, "anna", KEYS), np.full(100, 0.5))
