"""An expression in FLAME's terms, as encoders of photos (DECA, EMOCA, SMIRK) write it to files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats
from sfe_core.errors import UserError

MOST_DEVIATIONS = 8.0  # no face is further from rest

# What files call them; a pose of six is the head's, then the jaw's.
_EXPRESSIONS = ("exp", "expression", "expcode", "expr", "expression_params")
_JAWS = ("jaw", "jaw_pose", "jawpose", "jaw_params")
_POSES = ("pose", "posecode")
# Lengths of an array without names: where the expression ends and the jaw begins. Between them
# SMIRK has two eyelids, which FLAME has not.
_LAYOUTS = {50: (50, 50), 53: (50, 50), 55: (50, 52), 100: (100, 100), 103: (100, 100)}


@dataclass(frozen=True)
class FlameExpression:
    """A face in FLAME's terms.

    Args:
        expression: its first components, standard deviations.
        jaw: axis-angle, radians; the first turns the jaw open.

    Raises:
        UserError: no component, more than FLAME's 100, or a number out of range.
    """

    expression: tuple[float, ...]
    jaw: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not 1 <= len(self.expression) <= 100:
            raise UserError(
                "FLAME's expression", f"has {len(self.expression)} numbers", "give 1 to 100"
            )
        for name, values, limit in (
            ("expression", self.expression, MOST_DEVIATIONS),
            ("jaw", self.jaw, np.pi / 2),
        ):
            wrong = next((value for value in values if not abs(value) <= limit), None)
            if wrong is not None:
                raise UserError(
                    f"FLAME's {name}", f"{wrong:g}", f"give {-limit:.3g} to {limit:.3g}"
                )


def is_flame_file(path: Path) -> bool:
    """Whether the file is of arrays, as FLAME's codes are stored."""
    return path.suffix.lower() in (".npz", ".npy")


def read_flame(path: Path) -> FlameExpression:
    """The code in an .npz file, under the corpus', DECA's, EMOCA's or SMIRK's names, or in an .npy.

    Raises:
        UserError: it cannot be read, holds several faces, no expression, or no number of a face.
    """
    arrays = _arrays(path)
    expression = _first(path, arrays, _EXPRESSIONS)
    if expression is None:
        raise UserError(path, f"has no {' or '.join(_EXPRESSIONS)}", "name it exp, and jaw")
    jaw = _first(path, arrays, _JAWS)
    if jaw is None:
        pose = _first(path, arrays, _POSES)
        jaw = pose[3:] if pose is not None and len(pose) == 6 else np.zeros(3)
    if len(jaw) != 3:
        raise UserError(path, f"has a jaw of {len(jaw)} numbers", "give three: axis-angle")
    try:
        a, b, c = jaw.tolist()
        return FlameExpression(tuple(expression.tolist()), (a, b, c))
    except UserError as error:
        raise UserError(path, str(error)) from error


def _arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """By name; those of an array without names by their places."""
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.lib.npyio.NpzFile):
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        remedy = "save its arrays by numpy.savez"
        raise UserError(path, f"cannot be read ({error})", remedy) from error
    code = _one_face(path, stored)
    if len(code) not in _LAYOUTS:
        lengths = ", ".join(map(str, _LAYOUTS))
        raise UserError(path, f"holds {len(code)} numbers", f"FLAME's codes have {lengths}")
    end, begin = _LAYOUTS[len(code)]
    return {"exp": code[:end]} | ({"jaw": code[begin:]} if begin < len(code) else {})


def _first(path: Path, arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> Floats | None:
    return next((_one_face(path, arrays[name]) for name in names if name in arrays), None)


def _one_face(path: Path, array: NDArray[Any]) -> Floats:
    """[N] of an array [N] or [1, N]."""
    if array.dtype.kind not in "fiu" or not array.ndim or array.size != array.shape[-1]:
        raise UserError(path, f"holds an array {array.shape}", "give the codes of one face")
    return array.reshape(-1).astype(np.float64)
