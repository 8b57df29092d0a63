"""Files written whole or not at all, and the names and hashes they go by."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfe_core.errors import RunError, UserError
from sfe_core.file_kinds import PICTURE_SUFFIXES

TEMPORARY_MARK = ".sfe-partial-"
_LEFT_S = 3600.0


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` (file or folder) that becomes `target` on success.

    The temporary name keeps the suffix, so that writers that look at it (PIL, pandas) still work.
    A folder that stands at `target` is replaced only once the new one is whole.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(target.parent, f"cannot be made ({error.strerror})", "check it") from error
    partial = target.with_name(f"{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield partial
        if partial.is_dir() and target.is_dir():
            retired = target.with_name(f"{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}-old")
            os.replace(target, retired)
            os.replace(partial, target)
            shutil.rmtree(retired)
        else:
            os.replace(partial, target)
    except OSError as error:
        raise RunError(
            target, f"cannot be written ({error.strerror})", "free space or check permissions"
        ) from error
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file or a whole folder; no error where there is neither."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`; no error where there is no folder.

    A temporary file or folder counts as left when nothing in it was written for an hour: a process
    of another machine may be at work here, and cannot be asked.
    """
    for left in folder.glob(f"{TEMPORARY_MARK}*"):
        try:
            written = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
        except OSError:  # its writer has just finished
            continue
        if time.time() - written >= _LEFT_S:
            remove(left)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_folder(folder: Path) -> str:
    """Hex SHA-256 over the names and bytes of every file below `folder`, in name order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(sha256_file(path).encode())
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value, whatever the order of its keys.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from a run seed and the names of what is drawn, e.g. (seed, key, "noise").

    The same parts give the same seed on every machine; order of work and batch size play no part.

    >>> derive_seed(0, "1221/f4c7", "noise")
    49636622781277093
    """
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def key_of(photo: Path, photos_folder: Path) -> str:
    """The key of a photo: its path below the photos folder, without extension, always with `/`.

    Only what is a picture's extension is one:

    >>> key_of(Path("photos/1221/f4c7.jpg"), Path("photos"))
    '1221/f4c7'
    >>> key_of(Path("photos/frame.0001"), Path("photos"))
    'frame.0001'
    """
    below = photo.relative_to(photos_folder)
    is_extension = below.suffix.lower() in PICTURE_SUFFIXES
    return (below.with_suffix("") if is_extension else below).as_posix()


def check_key(key: str, where: str) -> str:
    """Return `key`, or raise a UserError if it could leave its folder.

    >>> check_key("1221/f4c7", "labels.csv")
    '1221/f4c7'
    """
    parts = re.split(r"[/\\]", key)
    if not key or key.startswith(("/", "\\")) or ".." in parts or re.match(r"^[A-Za-z]:", key):
        raise UserError(
            where, f"key {key!r} is not a path below photos/", "write it as subfolder/name"
        )
    return key
