"""Caption files: JSON of key → text, or key → [text, …] of which the first counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.corpus.annotations.captions import first_text
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.errors import UserError


@dataclass(frozen=True)
class _Pairs:
    """An object of JSON with keys that may come twice."""

    pairs: list[tuple[str, Any]]


def _pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


def read_caption_json(path: Path, problems: Problems) -> Iterator[Entry]:
    """Entries of a caption file; keys are paths of images, with or without a suffix.

    Args:
        path: the JSON.
        problems: takes keys that leave the folder and values that are not text.

    Raises:
        UserError: it is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        entries = json.loads(text, object_pairs_hook=_pairs)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(path, f"is not JSON ({error})", "correct it") from error
    if not isinstance(entries, _Pairs):
        raise UserError(path, f"holds a {type(entries).__name__}", 'give {"key": "caption", …}')
    for image, value in entries.pairs:
        where = f"{path.name}: {image}"
        if ".." in image.replace("\\", "/").split("/") or not image:
            problems.add(where, "bad line", "the key leaves the photos folder")
            continue
        caption = first_text(dict(value.pairs) if isinstance(value, _Pairs) else value)
        if caption is None:
            problems.add(where, "wrong label", f"{str(value)[:60]!r} is not text")
        elif caption:
            yield Entry(where, image, caption=caption)
        else:
            problems.add(where, "unlabelled", "the caption is empty")
