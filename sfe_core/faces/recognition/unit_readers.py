"""The readers of action units by name: what settings may name wherever units are read.

`evaluate.units_judge`, `sampling.units_reader` and `photos.labels_read_by` speak of these. A new
kind of reader is one line of `_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from sfe_core.assets import locate
from sfe_core.errors import UserError
from sfe_core.faces.recognition.open_graph_au import load_open_graph_au
from sfe_core.faces.recognition.tiny_units import load_tiny_units


class UnitReader(Protocol):
    """What every reader offers beside being a `torch.nn.Module`.

    Called with faces [B, 3, H, W], RGB in [-1, 1], cropped as `preprocess` crops, of any size, it
    tells intensities [B, 2, U] of the person's left and right half, about 0 to 5.

    Attributes:
        units: FACS names of the U units it reads, in their order; no others.
        input_px: side of the pictures that the network sees.
    """

    units: tuple[str, ...]
    input_px: int


@dataclass(frozen=True)
class _Kind:
    """A kind of reader.

    Args:
        is_one: whether a name or path is of this kind.
        load: it, frozen and in evaluation mode; raises UserError.
    """

    is_one: Callable[[str | Path], bool]
    load: Callable[[str | Path], nn.Module]


def _is_file(given: str | Path) -> bool:
    try:
        return locate(given).is_file()
    except UserError:  # it is not here, which is told where it is loaded
        return False


# The first that says yes loads it. The last takes any asset or folder with a `config.json`.
_KINDS = (
    _Kind(_is_file, lambda given: load_open_graph_au(locate(given))),
    _Kind(lambda given: True, load_tiny_units),
)


def load_unit_reader(name_or_path: str | Path) -> nn.Module:
    """A frozen reader of action units: see `UnitReader`.

    Args:
        name_or_path: an asset, as `tiny-units-judge` or `opengraphau`; the folder of a tiny reader,
            or a file of OpenGraphAU's authors.

    Raises:
        UserError: it is missing, or what lies there is no such reader.
    """
    return next(kind for kind in _KINDS if kind.is_one(name_or_path)).load(name_or_path)
