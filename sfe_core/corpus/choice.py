"""Which faces of a split are learnt from: by label, and by the range of any number."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sfe_core.config.training_sections import DataConfig
from sfe_core.errors import UserError


@dataclass(frozen=True)
class Choice:
    """The faces that are left.

    Attributes:
        rows: of the manifest, in their order.
        left_out: setting of the `data` section to the number of faces it leaves out, in the order
            they are applied; a face counts for the first that it fails.
    """

    rows: pd.DataFrame
    left_out: dict[str, int]


def choose_faces(rows: pd.DataFrame, data: DataConfig) -> Choice:
    """Apply `data.emotions` and `data.ranges`; both ends of a range belong to it.

    A face whose number is unknown is in no range.

    Args:
        rows: of the manifest.
        data: section of sfe.yaml.

    Raises:
        UserError: a column that is not there or holds no numbers, or no face is left.
    """
    left_out: dict[str, int] = {}

    def keep(wanted: pd.Series, setting: str) -> None:
        nonlocal rows
        left_out[setting] = int((~wanted).sum())
        rows = rows[wanted].reset_index(drop=True)

    if data.emotions:
        keep(rows["emotion"].isin(data.emotions), "emotions")
    for name, (least, most) in data.ranges.items():
        numbers = _numbers(rows, name)
        keep(numbers.between(least, most), f"ranges.{name}")
    if rows.empty:
        counts = ", ".join(f"{setting} leaves out {count}" for setting, count in left_out.items())
        raise UserError("data", f"no face is left ({counts})", "ask for less")
    return Choice(rows, left_out)


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    if name in rows and pd.api.types.is_numeric_dtype(rows[name]):
        return rows[name].astype("float64")
    known = [column for column in rows if pd.api.types.is_numeric_dtype(rows[column])]
    problem = "holds no numbers" if name in rows else "is not a column of the manifest"
    raise UserError(f"data.ranges.{name}", problem, f"known: {', '.join(map(str, known))}")
