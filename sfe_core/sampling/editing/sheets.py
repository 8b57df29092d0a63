"""What an edit made, to look through: photo, buffers and picture in a row; sweeps as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.arrays import Pixels
from sfe_core.files import atomic_path
from sfe_core.sampling.editing.plan import EditShot
from sfe_core.sampling.sheets import Tile, compose_grid

SHEET, GRID = "sheet", "grid.png"
_ROWS = 20
_PANELS = ("photo", "light", "normals", "albedo")


def buffers_strip(source: Pixels, buffers: np.ndarray) -> Image.Image:
    """The photo's crop [S, S, 3] and the buffers [9, S, S] of the edit, side by side."""
    shaded, normals, albedo = (part.transpose(1, 2, 0) for part in np.split(buffers, 3))
    hit = np.any(buffers[3:6] != 0, axis=0)[..., None]
    coloured = np.where(hit, (normals + 1.0) / 2.0, 0.0)
    panels = [
        (part.clip(0, 1) * 255).round().astype(np.uint8) for part in (shaded, coloured, albedo)
    ]
    return Image.fromarray(np.concatenate([source, *panels], axis=1))


def write_sheets(folder: Path, shots: Sequence[EditShot], caption: str) -> list[Path]:
    """Contact sheets `sheet.png`, `sheet-2.png` …: a row per picture.

    Args:
        folder: where the pictures and their buffers lie.
        shots: those that were drawn.
        caption: what they share.
    """
    sheets = []
    for page, start in enumerate(range(0, len(shots), _ROWS), start=1):
        tiles = [tile for shot in shots[start : start + _ROWS] for tile in _row(folder, shot)]
        path = folder / (f"{SHEET}.png" if page == 1 else f"{SHEET}-{page}.png")
        _save(path, tiles, caption, len(_PANELS) + 1)
        sheets.append(path)
    return sheets


def write_grids(folder: Path, shots: Sequence[EditShot], columns: int, caption: str) -> list[Path]:
    """A sweep's pictures of each photo as one picture, `<key>/grid.png`."""
    keys = list(dict.fromkeys(shot.source.key for shot in shots))
    grids = []
    for key in keys:
        own = [shot for shot in shots if shot.source.key == key]
        tiles = [(shot.label, Image.open(folder / shot.file)) for shot in own]
        path = folder / key / GRID
        _save(path, tiles, f"{key} · {caption}" if caption else key, columns)
        grids.append(path)
    return grids


def _row(folder: Path, shot: EditShot) -> list[Tile]:
    with Image.open(folder / shot.buffers) as strip:
        side = strip.height
        panels = [strip.crop((side * n, 0, side * (n + 1), side)) for n in range(len(_PANELS))]
    headings = (_tail(shot.source.key), *_PANELS[1:])
    drawn = (_tail(shot.label or "edit"), Image.open(folder / shot.file))
    return [*zip(headings, panels, strict=True), drawn]


def _tail(text: str, letters: int = 20) -> str:
    """The end of a text: file names differ at their ends."""
    return text if len(text) <= letters else "…" + text[1 - letters :]


def _save(path: Path, tiles: Sequence[Tile], caption: str, columns: int) -> None:
    with atomic_path(path) as partial:
        compose_grid(tiles, caption, columns).save(partial, format="PNG")
