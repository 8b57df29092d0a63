"""Download a file of an asset: resumed where it stopped, checked, put in place whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

import requests

from sfe_core.assets.registry import Asset, AssetFile
from sfe_core.assets.verify import git_blob_sha1
from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK, sha256_file
from sfe_core.reporting import Reporter, Task
from sfe_core.wording import bytes_told

CHUNK_BYTES = 1 << 16
TIMEOUT_S = 60
SPARE_BYTES = 1 << 28


def download_file(asset: Asset, file: AssetFile, target: Path, reporter: Reporter) -> None:
    """Download one file of `asset` to `target`.

    A broken download stays beside its target under a partial name, and the next call goes on from
    there. The file appears under its own name only once its size and checksum are right.

    Raises:
        RunError: no network, a full disk, or bytes that are not the expected ones.
    """
    partial = target.with_name(f"{TEMPORARY_MARK}{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        announced = _download(asset, file, partial, reporter)
    except requests.RequestException as error:
        kept = partial.stat().st_size if partial.is_file() else 0
        raise RunError(
            f"asset {asset.name}",
            f"{file.url} could not be read ({_short(error)})",
            f"{kept} bytes are kept; run `sfe assets fetch {asset.name}` again to go on",
        ) from error
    except OSError as error:
        raise RunError(
            target, f"cannot be written ({error})", "free space, or set SFE_ASSETS"
        ) from (error)
    _check(asset, file, partial, announced)
    os.replace(partial, target)


def _download(asset: Asset, file: AssetFile, partial: Path, reporter: Reporter) -> str | None:
    """Append the rest of `file` to `partial`; the SHA-256 the server announced, if any."""
    done = partial.stat().st_size if partial.is_file() else 0
    if file.size is not None and done >= file.size:
        return None
    headers = {"Range": f"bytes={done}-"} if done else {}
    # identity: a compressed answer would make Range and Content-Length mean something else.
    headers["Accept-Encoding"] = "identity"
    with requests.get(str(file.url), headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        announced = _announced_sha256(answer)
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return announced  # nothing left: the partial file is whole, or the check will say
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        if not resumed:
            done = 0
        rest = int(answer.headers.get("Content-Length", 0)) or None
        total = file.size or (done + rest if rest else None)
        _check_space(partial, rest or 0)
        title = f"{asset.name}: {file.path.rsplit('/', 1)[-1]}"
        with (
            open(partial, "ab" if resumed else "wb") as stream,
            reporter.task(title, total, done) as task,
        ):
            _copy(answer, stream, task)
    size = partial.stat().st_size
    if total is not None and size < total:
        raise requests.ConnectionError(f"ended after {size} of {total} bytes")
    return announced


def _copy(answer: requests.Response, stream: BinaryIO, task: Task) -> None:
    for block in answer.iter_content(CHUNK_BYTES):
        stream.write(block)
        task.advance(len(block), "bytes")


def _announced_sha256(answer: requests.Response) -> str | None:
    """The digest that the Hugging Face hub names in the redirect to a large file."""
    for step in (*answer.history, answer):
        tag = step.headers.get("X-Linked-ETag", "").strip('"')
        if len(tag) == 64:
            return tag
    return None


def fault_of(file: AssetFile, path: Path, announced: str | None = None) -> str:
    """What is wrong with the bytes at `path`, as half a sentence; empty where nothing is.

    Args:
        announced: the SHA-256 that the server named, for files of which none is known.
    """
    expected = file.sha256 or announced
    if file.size is not None and path.stat().st_size != file.size:
        return f"{path.stat().st_size} bytes, expected {file.size}"
    if expected and (found := sha256_file(path)) != expected:
        return f"SHA-256 {found}, expected {expected}"
    if file.git_sha1 and git_blob_sha1(path) != file.git_sha1:
        return f"git blob {git_blob_sha1(path)}, expected {file.git_sha1}"
    return ""


def _check(asset: Asset, file: AssetFile, partial: Path, announced: str | None) -> None:
    if wrong := fault_of(file, partial, announced):
        partial.unlink()
        raise RunError(
            f"asset {asset.name}",
            f"{file.url} holds {wrong}",
            f"nothing was kept; try again, or download it by hand at {asset.page}",
        )


def _check_space(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if free < needed + SPARE_BYTES:
        raise RunError(
            partial.parent,
            f"{bytes_told(free)} free, {bytes_told(needed)} needed",
            "free space, or name another folder with SFE_ASSETS",
        )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
