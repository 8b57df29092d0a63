"""Tables as CSV files: the lists of commands, and what was read off each picture."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sfe_core.files import atomic_path


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, floats by six digits, whole or not at all."""
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
