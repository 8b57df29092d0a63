"""Checksums of a checkpoint: `checksums.sha256`, in the format of the `sha256sum` tool."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sfe_core.files import sha256_file, write_text

CHECKSUMS = "checksums.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file below `folder`, and see that they reach the disk.

    `sha256sum --check checksums.sha256` inside the folder checks them without this program.
    """
    lines = []
    for name in _files(folder):
        lines.append(f"{sha256_file(folder / name)}  {name}\n")
        _flush(folder / name)
    write_text(folder / CHECKSUMS, "".join(lines))
    _flush(folder / CHECKSUMS)


def compare_checksums(folder: Path) -> str | None:
    """What is wrong with the files below `folder`, in words that name the file; None if nothing."""
    listing = Path(folder) / CHECKSUMS
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{CHECKSUMS} is missing or unreadable"
    expected = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return f"{CHECKSUMS} has a line that is not a checksum"
        expected[match[2]] = match[1]
    present = set(_files(folder))
    for name, digest in expected.items():
        if name not in present:
            return f"{name} is missing"
        try:
            if sha256_file(Path(folder) / name) != digest:
                return f"{name} is not what was written (its checksum differs)"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    added = sorted(present - expected.keys())
    return f"{added[0]} was not part of it" if added else None


def _files(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())
    return sorted(name for name in names if name != CHECKSUMS)


def _flush(path: Path) -> None:
    """A power cut after this must not leave the name with other contents."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
