"""Opening a list in whatever form it has, those with the pictures inside among them.

FER2013 has 48 × 48 grey values in a column `pixels`; Hugging Face's Parquet files have a column of
{bytes, path}, and the names of numbered classes in their schema; CelebA's attributes have a line
with their count and a header without a name for the image.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from sfe_core.corpus.annotations.records import cell_of, is_records, open_records
from sfe_core.corpus.importing.rig_database import (
    is_rig_database,
    names_of_database,
    pictures_of_database,
)
from sfe_core.corpus.tables.column_names import open_labels
from sfe_core.corpus.tables.tables import Table
from sfe_core.errors import UserError
from sfe_core.file_kinds import HEAD_BYTES, kind_of

PIXELS = "pixels"
_FER_FILES = ("fer2013.csv", "icml_face_data.csv")  # the same pictures in the same order
_SUFFIXES = {
    "a JPEG": ".jpg", "a PNG": ".png", "a WebP": ".webp", "a GIF": ".gif", "a BMP": ".bmp",
    "a TIFF": ".tif",
}  # fmt: skip
_BATCH = 256
# Attributes of CelebA that captions know: column → what it is, where set and where not.
_ATTRIBUTES: dict[str, tuple[str, str, str]] = {
    "male": ("gender", "male", "female"),
    "young": ("age", "young", ""),
}
_CELEBA = {"male", "young", "smiling"}


class NoPictureError(Exception):
    """A cell that should hold a picture and does not; the text says what was found."""


Picture = Callable[[], tuple[bytes, str]]


def is_parquet(path: Path) -> bool:
    """Whether a file is a Parquet table, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def open_list(path: Path) -> Table:
    """A list as a table with a column for the image, whatever its form.

    Raises:
        UserError: it cannot be read, is empty, or is not a list.
    """
    if is_parquet(path):
        return _open_parquet(path)
    if is_records(path):
        return open_records(path)
    if (celeba := _open_counted(path)) is not None:
        return _with_attributes(celeba)
    table = open_labels(path)
    pixels = table.column(PIXELS)
    if pixels is not None:
        names = tuple(name for place, name in enumerate(table.names) if place != pixels)
        return replace(table, names=("image", *names), lines=partial(_numbered, table, pixels))
    return _with_attributes(table)


def container_of(path: Path) -> Path | None:
    """The file with the pictures of a list: itself, FER2013's beside FERPlus's votes, or None."""
    if is_parquet(path):
        return path if _picture_column(path) else None
    if is_records(path) or _open_counted(path) is not None:
        return None
    table = open_labels(path)
    if table.column(PIXELS) is not None:
        return path
    columns = set(table.columns)
    if not {"neutral", "contempt", "nf"} <= columns:
        return None
    beside = (path.with_name(name) for name in _FER_FILES)
    return next((found for found in beside if found.is_file()), None)


def names_inside(container: Path) -> list[str]:
    """The names under which the pictures of a file or data base go, all different."""
    if is_rig_database(container):
        return names_of_database(container)
    if is_parquet(container):
        return [f"{name}.png" for name in _parquet_names(container)]
    table = open_labels(container)
    return [_pixel_name(container, index) for index, _ in enumerate(table.lines())]


def pictures_inside(container: Path) -> Iterator[tuple[str, Picture]]:
    """(name, gives the picture's bytes and its suffix) of every picture of a container, in order.

    The picture's call raises NoPictureError where there is none.
    """
    if is_rig_database(container):
        for name, content in pictures_of_database(container):
            yield name, partial(_as_stored, content)
        return
    if is_parquet(container):
        yield from _parquet_pictures(container)
        return
    table = open_labels(container)
    pixels = table.column(PIXELS) or 0
    for index, (_, cells) in enumerate(table.lines()):
        text = cells[pixels] if len(cells) > pixels else ""
        yield _pixel_name(container, index), partial(_grey_png, text)


def _pixel_name(path: Path, index: int) -> str:
    """FER2013's pictures as FERPlus calls them; those of other tables after their file."""
    prefix = "fer" if path.name.lower() in _FER_FILES else f"{path.stem}_"
    return f"{prefix}{index:07d}.png"


def _numbered(table: Table, pixels: int) -> Iterator[tuple[int, list[str]]]:
    """Rows without their pixels, each led by the name of its picture; torn rows empty."""
    for index, (number, cells) in enumerate(table.lines()):
        if len(cells) != len(table.names):
            yield number, []
            continue
        rest = [cell for place, cell in enumerate(cells) if place != pixels]
        yield number, [_pixel_name(table.path, index), *rest]


def _grey_png(text: str) -> tuple[bytes, str]:
    """Grey values in a text, of a square picture, as a PNG."""
    try:
        values = np.array(text.split(), dtype=np.int64)
    except ValueError as error:
        raise NoPictureError(f"pixels are not numbers ({error})") from error
    side = math.isqrt(values.size)
    if side == 0 or side * side != values.size:
        raise NoPictureError(f"{values.size} pixels are not a square")
    if values.min() < 0 or values.max() > 255:
        raise NoPictureError(f"pixels run from {values.min()} to {values.max()}, not 0 to 255")
    stream = io.BytesIO()
    Image.fromarray(values.reshape(side, side).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue(), ".png"


def _open_counted(path: Path) -> Table | None:
    """CelebA's own form: a count, names of columns, then an image and numbers a line."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            count, names, first = (stream.readline().split() for _ in range(3))
    except UnicodeDecodeError:
        return None
    if len(count) != 1 or not count[0].isdecimal() or len(names) < 2:
        return None
    if len(first) != len(names) + 1:
        return None
    return Table(path, ("image", *names), partial(_counted_lines, path), " ", first_line=2)


def _counted_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if number > 2 and line.strip():
                yield number, line.split()


def _with_attributes(table: Table) -> Table:
    """A table with CelebA's attributes in words, where it has them; others stay as they are."""
    if not set(table.columns) >= _CELEBA:
        return table
    meant = {p: _ATTRIBUTES[name] for p, name in enumerate(table.columns) if name in _ATTRIBUTES}
    names = tuple(meant[p][0] if p in meant else name for p, name in enumerate(table.names))
    return replace(table, names=names, lines=partial(_worded, table, meant))


def _worded(
    table: Table, meant: Mapping[int, tuple[str, str, str]]
) -> Iterator[tuple[int, list[str]]]:
    for number, cells in table.lines():
        yield (
            number,
            [
                cell if place not in meant else meant[place][1 if cell == "1" else 2]
                for place, cell in enumerate(cells)
            ],
        )


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            path, f"is a Parquet table that cannot be read ({error})", "get it anew"
        ) from error


@lru_cache(maxsize=4)
def _picture_column(path: Path) -> str | None:
    """The column with pictures: of {bytes, path}, or of bytes that begin as a picture does."""
    import pyarrow as pa

    file = _parquet(path)
    for field in file.schema_arrow:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            batch = next(file.iter_batches(1, columns=[field.name]), None)
            head = batch.column(0)[0].as_py() if batch is not None and len(batch) else None
            if head and kind_of(head[:HEAD_BYTES]).picture:
                return str(field.name)
    return None


@lru_cache(maxsize=2)
def _parquet_names(path: Path) -> list[str]:
    """A key for each row: its picture's path if all have different ones, else numbered."""
    file, column = _parquet(path), _picture_column(path)
    paths: list[str | None] = [None] * file.metadata.num_rows
    types = {field.name: field.type for field in file.schema_arrow}
    if column and hasattr(types[column], "get_field_index"):
        if types[column].get_field_index("path") >= 0:
            table = file.read(columns=[f"{column}.path"])
            paths = [(row or {}).get("path") for row in table.column(0).to_pylist()]
    stems = [PurePosixPath((text or "").replace("\\", "/")).stem for text in paths]
    if all(stems) and len({stem.casefold() for stem in stems}) == len(stems):
        return stems
    return [f"{path.stem}_{index:07d}" for index in range(len(stems))]


def _open_parquet(path: Path) -> Table:
    """Its columns but the pictures, led by the names of these; classes by their names."""
    column = _picture_column(path)
    names = [name for name in _parquet(path).schema_arrow.names if name != column]
    led = ("image", *names) if column else tuple(names)
    return Table(path, led, partial(_parquet_lines, path, tuple(names), column is not None))


def _parquet_lines(
    path: Path, names: tuple[str, ...], led: bool
) -> Iterator[tuple[int, list[str]]]:
    classes = _class_names(path)
    file, number = _parquet(path), 0
    keys = _parquet_names(path) if led else []
    if not names:
        yield from ((row, [f"{key}.png"]) for row, key in enumerate(keys, 1))
        return
    for batch in file.iter_batches(4096, columns=list(names)):
        for row in batch.to_pylist():
            cells = [_class_cell(row[name], classes.get(name)) for name in names]
            yield number + 1, [f"{keys[number]}.png", *cells] if led else cells
            number += 1


def _class_cell(value: Any, classes: list[str] | None) -> str:
    if classes and isinstance(value, int):
        return classes[value] if 0 <= value < len(classes) else ""
    return cell_of(value)


def _class_names(path: Path) -> dict[str, list[str]]:
    """The names of numbered classes by column, as Hugging Face's datasets write them."""
    text = (_parquet(path).schema_arrow.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else {}
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    }


def _parquet_pictures(path: Path) -> Iterator[tuple[str, Picture]]:
    column, number = _picture_column(path), 0
    keys = _parquet_names(path)
    for batch in _parquet(path).iter_batches(_BATCH, columns=[column]):
        for value in batch.column(0).to_pylist():
            content = value.get("bytes") if isinstance(value, dict) else value
            yield f"{keys[number]}.png", partial(_as_stored, content)
            number += 1


def _as_stored(content: bytes | None) -> tuple[bytes, str]:
    """The bytes of a picture as they are, and the suffix of its format."""
    if not content:
        raise NoPictureError("no picture in the file, only a path: get the pictures as files")
    kind = kind_of(content[:HEAD_BYTES])
    if not kind.picture:
        raise NoPictureError(f"is {kind.name}")
    return content, _SUFFIXES.get(kind.name, ".img")
