"""The sheet of pictures that a protocol's report begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from sfe_core.files import atomic_path
from sfe_core.sampling.sheets import Tile, compose_grid


def tiles_there(wanted: Iterable[tuple[str, Path]]) -> Iterator[Tile]:
    """Those of some labelled files that can be read."""
    for label, path in wanted:
        try:
            yield label, Image.open(path).convert("RGB")
        except OSError:
            continue


def write_sheet(path: Path, tiles: Sequence[Tile], caption: str, columns: int) -> Path | None:
    """Write tiles in rows, each as large as the smallest; None where there are none."""
    if not tiles:
        return None
    side = min(picture.width for _, picture in tiles)
    even = [(label, picture.resize((side, side))) for label, picture in tiles]
    sheet = compose_grid(even, caption, columns)
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG")
    return path
