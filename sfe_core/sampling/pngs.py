"""PNG files that carry the record of how they were made, and are known to be whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sfe_core.files import atomic_path

_CHUNK = "sfe"
_LAST_CHUNK = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def save_png(image: Image.Image, target: Path, record: dict[str, Any]) -> None:
    """Write `image` with `record` (JSON-able) as a text chunk, atomically; no dates inside.

    The same picture and record give the same bytes.
    """
    info = PngInfo()
    info.add_text(_CHUNK, json.dumps(record, sort_keys=True))
    with atomic_path(target) as partial:
        image.save(partial, format="PNG", pnginfo=info, compress_level=6)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record inside a PNG of `save_png`; None where the file is missing, torn or foreign.

    Reads the chunks before the pixels and the last twelve bytes, not the pixels.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(-len(_LAST_CHUNK), 2)
            if stream.read() != _LAST_CHUNK:
                return None
            stream.seek(0)
            with Image.open(stream, formats=["PNG"]) as image:
                return json.loads(image.info[_CHUNK])
    except (OSError, KeyError, ValueError, SyntaxError):
        return None
