"""The mean shape of a person's head, over the photos of an album.

A shape read off one photo is unsure, most of all in profile; a person's bones are the same in all
of them (Ding et al. 2023, https://arxiv.org/abs/2304.06711, sec. 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.corpus.stored_scene import stored_codes
from sfe_core.faces.reconstruction import HeadMaker


def mean_shape(corpus: Path, keys: Iterable[str], maker: HeadMaker) -> Floats:
    """The mean [K] float32 of the heads' identity codes over some photos of one person.

    Args:
        corpus: its folder, which holds their codes.
        keys: of the photos; at least one.
        maker: of the reconstruction that found the heads.

    Raises:
        RunError: codes are missing or torn.
    """
    codes = [maker.identity(stored_codes(corpus, key)) for key in keys]
    return np.asarray(np.stack(codes).mean(axis=0, dtype=np.float64), np.float32)
