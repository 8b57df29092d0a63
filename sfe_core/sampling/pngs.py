"""PNG files that carry the record of how they were made, and are known to be whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sfe_core.faces.decoding import LENIENT
from sfe_core.files import atomic_path

_RECORD, _REMARKS = "sfe", "sfe-remarks"
_LAST_CHUNK = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def save_png(
    image: Image.Image,
    target: Path,
    record: dict[str, Any],
    remarks: dict[str, Any] | None = None,
) -> None:
    """Write `image` with `record` and `remarks` as text chunks, atomically; no dates inside.

    The same picture, record and remarks give the same bytes.

    Args:
        record: JSON-able; all that decides the picture, known before it is made.
        remarks: JSON-able; what was found out about it when it was made.
    """
    info = PngInfo()
    info.add_text(_RECORD, json.dumps(record, sort_keys=True))
    if remarks:
        info.add_text(_REMARKS, json.dumps(remarks, sort_keys=True))
    with atomic_path(target) as partial:
        image.save(partial, format="PNG", pnginfo=info, compress_level=6)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record inside a PNG of `save_png`; None where the file is missing, damaged or foreign.

    Every chunk is held against its checksum, so a picture with a record can be decoded too.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(-len(_LAST_CHUNK), 2)
            if stream.read() != _LAST_CHUNK:
                return None
            stream.seek(0)
            # A whole photo may be larger than what PIL takes from strangers.
            with LENIENT, Image.open(stream, formats=["PNG"]) as image:
                record = json.loads(image.info[_RECORD])
                image.verify()
                return record
    except (OSError, KeyError, ValueError, SyntaxError):
        return None


def read_remarks(path: Path) -> dict[str, Any]:
    """The remarks inside a PNG of `save_png`; none where it has none or cannot be read."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return json.loads(image.info.get(_REMARKS, "{}"))
    except (OSError, ValueError, SyntaxError):
        return {}
