"""Results on stdout: facts, tables, JSON, and what to type next."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

STATUS_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def console() -> Console:
    """Stdout; a pipe gets lines as long as they are rather than cut at 80 columns."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=200)


def facts(rows: Iterable[tuple[str, Any]]) -> None:
    """Two columns: what, and its value. None values are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            table.add_row(name, Text(text_of(value)))
    _print(table)


def grid(headers: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """A table; the columns named in `right` are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        cells = [text_of(value) for value in row]
        table.add_row(*[Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in cells])
    _print(table)


def _print(table: Table) -> None:
    screen = console()
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def text_of(value: Any) -> str:
    """A value as people read it: paths from here, no quotes, `-` for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, Path):
        return nearby(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {text_of(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value) or "-"
    return str(value)


def nearby(path: Path) -> str:
    """`path` from the current folder if it lies below it."""
    absolute = Path(os.path.abspath(path))
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def as_json(value: Any) -> None:
    """`value` as JSON on stdout; paths become strings."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def next_step(text: str) -> None:
    """What to type now."""
    console().print(Text("next: ", style="bold").append(text, style="default"), soft_wrap=True)
