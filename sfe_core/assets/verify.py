"""Are the model files whole? Sizes and checksums against the registry, or against first sight."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sfe_core.assets.registry import Asset, AssetFile
from sfe_core.assets.store import assets_root, folder_of, missing_files
from sfe_core.errors import RunError
from sfe_core.files import sha256_file, write_json
from sfe_core.reporting import Reporter

Verdict = Literal["ok", "recorded", "missing", "wrong size", "wrong checksum"]
RECORD_NAME = "seen.json"


@dataclass(frozen=True)
class FileCheck:
    """The verdict on one file.

    `recorded`: no public checksum exists; its SHA-256 was noted now and is compared from now on.
    """

    asset: str
    path: Path
    verdict: Verdict
    sha256: str | None = None
    detail: str = ""


def verify_assets(assets: list[Asset], reporter: Reporter | None = None) -> list[FileCheck]:
    """Check every file of `assets`; files that are not there are `missing`, not an error.

    Writes the digests of files without a public checksum to `seen.json` in the assets folder.
    """
    reporter = reporter or Reporter()
    seen = _read_record()
    checks: list[FileCheck] = []
    pairs = [(asset, file) for asset in assets for file in asset.files]
    fresh: dict[str, str] = {}
    for asset, file in reporter.track(pairs, "verify", len(pairs)):
        check = check_file(asset, file, seen)
        checks.append(check)
        if check.verdict == "recorded" and check.sha256:
            fresh[_record_key(asset, file)] = check.sha256
    for asset in assets:
        if not asset.files:
            checks += [FileCheck(asset.name, path, "missing") for path in missing_files(asset)]
    if fresh:
        write_json(assets_root() / RECORD_NAME, seen | fresh)
    return checks


def check_file(asset: Asset, file: AssetFile, seen: dict[str, str]) -> FileCheck:
    """The verdict on one file; `seen` holds earlier digests by record key."""
    path = folder_of(asset) / file.path
    if not path.is_file():
        return FileCheck(asset.name, path, "missing")
    found = path.stat().st_size
    if file.size is not None and found != file.size:
        detail = f"{found} bytes, expected {file.size}"
        return FileCheck(asset.name, path, "wrong size", detail=detail)
    digest = sha256_file(path)
    expected = file.sha256 or seen.get(_record_key(asset, file))
    if expected and not digest.startswith(expected):
        detail = f"SHA-256 {digest}, expected {expected}"
        return FileCheck(asset.name, path, "wrong checksum", digest, detail)
    if file.git_sha1 and git_blob_sha1(path) != file.git_sha1:
        detail = f"git blob {git_blob_sha1(path)}, expected {file.git_sha1}"
        return FileCheck(asset.name, path, "wrong checksum", digest, detail)
    if expected or file.git_sha1:
        return FileCheck(asset.name, path, "ok", digest)
    detail = "no public checksum; compared with this one from now on"
    return FileCheck(asset.name, path, "recorded", digest, detail)


def git_blob_sha1(path: Path) -> str:
    """SHA-1 of a file the way git names blobs: over `blob SIZE`, a zero byte and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _record_key(asset: Asset, file: AssetFile) -> str:
    return f"{asset.name}/{file.path}"


def _read_record() -> dict[str, Any]:
    record = assets_root() / RECORD_NAME
    if not record.is_file():
        return {}
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise RunError(record, f"cannot be read ({error})", "delete it; it is made anew") from error
