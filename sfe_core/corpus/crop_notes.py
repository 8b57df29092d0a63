"""What slow models said of crops, in files of JSON lines beside the corpus.

A line names the crop's hash and the model's. Such a file only grows: a line cut short by a kill is
left aside and written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sfe_core.errors import RunError


def read_notes(path: Path, model: str, value: str) -> Iterator[dict[str, Any]]:
    """The lines that one model wrote, with `crop` and `value`; none where there is no file."""
    if not path.is_file():
        return
    with open(path, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                note = json.loads(line)
                if note["model"] == model and note["crop"] and value in note:
                    yield note
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # cut short by a kill


def append_notes(path: Path, notes: Sequence[dict[str, Any]]) -> None:
    """Write lines, each with `crop`, `model` and what the model said.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    try:
        with open(path, "a+b") as stream:
            text = "".join(json.dumps(note, ensure_ascii=False) + "\n" for note in notes)
            if stream.tell():
                stream.seek(-1, 2)
                if stream.read(1) != b"\n":
                    text = "\n" + text
            stream.write(text.encode())
    except OSError as error:
        raise RunError(path, f"cannot be written ({error.strerror})", "free space") from error
