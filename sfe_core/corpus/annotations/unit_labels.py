"""Action units as the manifest's labels tell them: which are told, and what of each face.

labels.csv names them `AU12` (both sides, 0 to 5), `AU12L` and `AU12R` (the person's left and right)
and `AU12_present` (0 or 1, where no intensity is known).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sfe_core.controls.action_units import ACTION_UNITS, MAXIMUM_INTENSITY
from sfe_core.errors import UserError

_PREFIX = "label_"  # of what labels.csv says, in the manifest
_ENDINGS = ("", "_present", "L", "R")


def labelled_units(rows: pd.DataFrame) -> tuple[str, ...]:
    """The units that a label of any of these rows tells of, in FACS order."""
    return tuple(
        code
        for code in ACTION_UNITS
        if any(rows[name].notna().any() for name in _columns(code) if name in rows)
    )


def told_units(units: Sequence[str], rows: pd.DataFrame) -> list[dict[str, float]]:
    """What the labels of each row tell of these units, as `AU12`, `AU12L` or `AU12_present`.

    Presence is left out where an intensity is told. What is not told has no entry.

    Raises:
        UserError: a column holds text, or a number that is no intensity.
    """
    columns = [name for code in units for name in _columns(code) if name in rows]
    found = []
    for values in _numbers(rows[columns]).to_dict("records"):
        told = {
            str(name).removeprefix(_PREFIX): float(value)
            for name, value in values.items()
            if not np.isnan(value)
        }
        for code in units:
            if any(code + side in told for side in ("", "L", "R")):
                told.pop(f"{code}_present", None)
        found.append(told)
    return found


def _numbers(told: pd.DataFrame) -> pd.DataFrame:
    """The columns as floats; those of one side are not looked at when labels are read."""
    for name in told:
        column = str(name).removeprefix(_PREFIX)
        most = 1.0 if column.endswith("_present") else MAXIMUM_INTENSITY
        numbers = pd.to_numeric(told[name], errors="coerce")
        wrong = told[name][told[name].notna() & ~numbers.between(0.0, most)]
        if len(wrong):
            raise UserError(
                f"photos.labels, column {column}",
                f"{wrong.iloc[0]!r}",
                f"give 0 to {most:g}, or leave the cell empty",
            )
    return told.astype(float)


def _columns(code: str) -> list[str]:
    return [f"{_PREFIX}{code}{ending}" for ending in _ENDINGS]
