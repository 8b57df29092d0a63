"""The mean shape of a person's head, over the photos of an album.

A shape read off one photo is unsure, most of all in profile; a person's bones are the same in all
of them (Ding et al. 2023, https://arxiv.org/abs/2304.06711, sec. 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.corpus.layout import mean_shape_path
from sfe_core.corpus.stored_scene import read_arrays, stored_codes

# What each backend calls the shape: Anny's head, FLAME.
_NAMES = ("identity", "shape")


def album_shape(corpus: Path, person: str, keys: Iterable[str]) -> Floats:
    """The shape [K] that heads of an album are given: one that came with it, or the mean.

    Args:
        corpus: its folder.
        person: whose album; "" for loose photos.
        keys: of its photos; at least one.

    Raises:
        RunError: codes are missing or torn.
    """
    mean, given = mean_shape(corpus, keys), mean_shape_path(corpus, person)
    if given.is_file():
        shape = read_arrays(given).get("shape", mean)
        if shape.shape == mean.shape:  # Anny's heads have other numbers than FLAME's
            return np.asarray(shape, np.float32)
    return mean


def mean_shape(corpus: Path, keys: Iterable[str]) -> Floats:
    """The mean [K] float32 of the heads' shapes over some photos of one person.

    Args:
        corpus: its folder, which holds their codes.
        keys: of the photos; at least one.

    Raises:
        RunError: codes are missing or torn.
    """
    shapes = []
    for key in keys:
        codes = stored_codes(corpus, key)
        shapes.append(next(codes[name] for name in _NAMES if name in codes))
    return np.asarray(np.stack(shapes).mean(axis=0, dtype=np.float64), np.float32)
