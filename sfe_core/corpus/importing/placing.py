"""Putting images into the photos folder: as links or copies, each whole or not at all."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from pathlib import Path
from typing import Literal

from sfe_core.errors import UserError
from sfe_core.files import atomic_path

Way = Literal["symlink", "hardlink", "copy"]


class OccupiedError(Exception):
    """Another file stands where one is to go."""


def place(source: Path, target: Path, way: Way) -> bool:
    """Put `source` at `target`.

    Args:
        source: an existing file.
        target: where it is wanted; a file with the same bytes that stands there already is kept.
        way: symlink (absolute), hardlink or copy.

    Returns:
        Whether anything was written.

    Raises:
        OccupiedError: a file with other bytes stands there.
        FileNotFoundError: `source` is gone.
        UserError: no hard link is possible across disks.
        RunError: the disk is full or read-only.
    """
    if os.path.lexists(target):
        if target.exists():
            if _same(source, target):
                return False
            raise OccupiedError(f"{target} is another picture")
        # A link whose goal is gone is written anew.
    os.stat(source)  # tells a vanished source apart from a target that cannot be written
    with atomic_path(target) as partial:
        if way == "symlink":
            partial.symlink_to(os.path.abspath(source))
        elif way == "copy":
            shutil.copyfile(source, partial)
        else:
            _hardlink(source, partial)
    return True


def write_picture(content: bytes, target: Path) -> bool:
    """Write a picture's bytes; what stands there with the same bytes is kept.

    Returns:
        Whether anything was written.

    Raises:
        OccupiedError: a file with other bytes stands there.
        RunError: the disk is full or read-only.
    """
    if target.exists():
        if target.read_bytes() == content:
            return False
        raise OccupiedError(f"{target} is another picture")
    with atomic_path(target) as partial:
        partial.write_bytes(content)
    return True


def _same(source: Path, target: Path) -> bool:
    """Whether both are one file, or hold the same bytes."""
    return os.path.samefile(source, target) or filecmp.cmp(source, target, shallow=False)


def _hardlink(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise UserError(
            "--as hardlink", f"{source} lies on another disk", "use symlink or copy"
        ) from error
