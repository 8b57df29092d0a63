"""The table of model files in registry.yaml, as typed records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

REGISTRY_FILE = Path(__file__).parent / "registry.yaml"


@dataclass(frozen=True)
class AssetFile:
    """One file of an asset.

    Attributes:
        path: below the asset's folder, with `/`.
        url: where it is freely downloaded from; None when it is gated.
        size: bytes, None when not publicly known for certain.
        sha256: hex digest, or None when not publicly known. May be shorter than 64 characters:
            torch hub file names carry only the first 8 or 10 of the digest.
        git_sha1: SHA-1 of the file as a git blob, for files that live in a git repository.
    """

    path: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True)
class Asset:
    """A named model: one file, or a folder of them."""

    name: str
    purpose: str
    licence: str
    page: str
    folder: str
    files: tuple[AssetFile, ...]
    embedded: bool = False
    note: str = ""

    @property
    def fetchable(self) -> bool:
        """Whether every file can be downloaded without an account or a signed licence."""
        return not self.embedded and all(file.url for file in self.files)

    @property
    def is_single_file(self) -> bool:
        """Whether `locate` answers with a file rather than with a folder."""
        return not self.embedded and len(self.files) == 1

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None when one of them is unknown."""
        sizes = [file.size for file in self.files]
        return None if not sizes or None in sizes else sum(s for s in sizes if s is not None)


@lru_cache(maxsize=1)
def registry() -> dict[str, Asset]:
    """Every known asset by name, in the order of registry.yaml."""
    table = yaml.safe_load(REGISTRY_FILE.read_text(encoding="utf-8"))
    return {name: _asset(name, entry) for name, entry in table.items()}


def _asset(name: str, entry: dict[str, Any]) -> Asset:
    fields = dict(entry)
    files = tuple(AssetFile(**file) for file in fields.pop("files", ()))
    return Asset(name=name, files=files, folder=fields.pop("folder", name), **fields)
