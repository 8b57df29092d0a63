"""The manifest row by row, so that its size plays no part in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sfe_core.corpus.manifest import COLUMNS, Row
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path

_ROWS_AT_ONCE = 256
# Without these a row says nothing that another run could go on from.
_NEEDED = frozenset({"key", "photo", "status", "photo_sha256", "made_with"})

_FIXED_TYPES = {"Int64": pa.int64(), "float64": pa.float64()}


def stream_manifest(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a manifest in their order, as plain Python values, missing ones None.

    Args:
        path: the manifest; no file, a torn one, or one of an older version has no rows.
        columns: the only ones to read; those it lacks are left out. None means all.
    """
    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            if not _NEEDED.issubset(known):
                return
            chosen = known if columns is None else [name for name in columns if name in known]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=chosen):
                for row in batch.to_pylist():
                    yield {
                        name: None if _is_missing(value) else value for name, value in row.items()
                    }
    except (OSError, pa.ArrowException):
        return


def require_manifest(path: Path) -> None:
    """Make sure that a manifest can be streamed.

    Raises:
        UserError: there is none yet.
        RunError: it is torn, or of an older version.
    """
    if not path.is_file():
        raise UserError(path, "no corpus yet", "run `sfe preprocess` in the workspace first")
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            path, f"cannot be read ({error})", "run `sfe preprocess` to write it again"
        ) from error
    lacking = sorted(_NEEDED.difference(names))
    if lacking:
        raise RunError(
            path,
            f"lacks the columns {', '.join(lacking)}",
            "it is of an older version: run `sfe preprocess` to write it again",
        )


def stream_groups(path: Path) -> Iterator[tuple[str, list[Row]]]:
    """(photo, its rows) in the manifest's order, which is that of the photos' paths."""
    for photo, rows in groupby(stream_manifest(path), key=lambda row: row["photo"]):
        yield photo, list(rows)


class ColumnTypes:
    """Finds out the type of each column from the rows it is shown."""

    def __init__(self) -> None:
        self._found: dict[str, set[str]] = {}

    def see(self, row: Row) -> None:
        """Take note of one row's values."""
        for name, value in row.items():
            kinds = self._found.setdefault(name, set())
            if not _is_missing(value):
                kinds.add(_kind(value))

    def schema(self) -> pa.Schema:
        """Every column of `COLUMNS`, then the others by name, with pandas's own metadata.

        A column with values of several kinds is text.
        """
        extra = sorted(self._found.keys() - COLUMNS.keys())
        fields = [pa.field(name, self._type(name)) for name in [*COLUMNS, *extra]]
        frame = pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in COLUMNS.items()})
        for name in extra:
            frame[name] = pd.Series([], dtype=self._type(name).to_pandas_dtype())
        described = pa.Schema.from_pandas(frame, preserve_index=False).metadata
        return pa.schema(fields, metadata=described)

    def _type(self, name: str) -> pa.DataType:
        fixed = _FIXED_TYPES.get(COLUMNS.get(name, ""))
        if fixed is not None:
            return fixed
        kinds = self._found.get(name, set())
        if kinds == {"numbers"}:
            return pa.list_(pa.float64())
        if kinds == {"number"}:
            return pa.float64()
        if kinds == {"flag"}:
            return pa.bool_()
        return pa.string()


class ManifestWriter:
    """Writes a manifest in pieces; the same rows give the same bytes.

    Args:
        path: where to.
        schema: see `ColumnTypes.schema`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema)
        self._held: list[Row] = []

    def add(self, row: Row) -> None:
        """Append a row; keys without a column are left out."""
        self._held.append(row)
        if len(self._held) == _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what is held back, and the file's end."""
        if self._held:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        arrays = [
            pa.array(
                [_of_type(row.get(field.name), field.type) for row in self._held],
                type=field.type,
                from_pandas=True,
            )
            for field in self._schema
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._held = []


def write_rows(path: Path, rows: Iterator[Row], schema: pa.Schema) -> None:
    """Write a manifest atomically.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    with atomic_path(path) as partial:
        try:
            writer = ManifestWriter(partial, schema)
            for row in rows:
                writer.add(row)
            writer.close()
        except pa.ArrowException as error:
            raise RunError(path, f"cannot be written ({error})", "report this") from error


def _is_missing(value: Any) -> bool:
    """None, or NaN: a missing number in files of pandas."""
    return value is None or value != value  # noqa: PLR0124


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, Number):
        return "number"
    return "text" if isinstance(value, str) else "numbers"


def _of_type(value: Any, kind: pa.DataType) -> Any:
    if _is_missing(value):
        return None
    return str(value) if pa.types.is_string(kind) else value
