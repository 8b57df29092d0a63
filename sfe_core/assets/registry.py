"""The table of model files in registry.yaml, as typed records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

REGISTRY_FILE = Path(__file__).parent / "registry.yaml"
EMBEDDED = Path(__file__).parent / "embedded"
CHECKSUMS_FILE = EMBEDDED / "checksums.json"


@dataclass(frozen=True)
class AssetFile:
    """One file of an asset.

    Attributes:
        path: below the asset's folder, with `/`.
        url: where it is freely downloaded from; None when it is gated, lies where only a browser
            gets it, or comes with a package.
        size: bytes, None when not publicly known for certain.
        sha256: hex digest, None when not publicly known.
        git_sha1: SHA-1 of the file as a git blob, for files that live in a git repository.
    """

    path: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True)
class Package:
    """A published package that carries weights, and is opened for them without being installed.

    Attributes:
        index: the registry that it is published in.
        name: its name there.
        version: the one that was looked at.
        archive: its file's name, as the registry's client writes it.
        sha256: hex digest of that file.
        members: the files taken out of it, by their path inside; `url` is where the same bytes lie
            in the package's public repository.
        conversion: which of `CONVERSIONS` makes tensors of them.
    """

    index: Literal["pypi", "npm"]
    name: str
    version: str
    archive: str
    sha256: str
    members: tuple[AssetFile, ...]
    conversion: str

    def __str__(self) -> str:
        kind = {"pypi": "the Python package", "npm": "the npm package"}[self.index]
        return f"{kind} {self.name} {self.version}"


@dataclass(frozen=True)
class Asset:
    """A named model: one file, or a folder of them.

    Attributes:
        name: what sfe.yaml and `sfe assets` call it.
        purpose: which part of sfe needs it.
        licence: of the weights; the user's own to accept.
        page: where the licence and the origin are explained.
        folder: below the assets root, or inside `package`.
        files: what must be there for it to be usable.
        embedded: shipped inside sfe.
        package: the installed Python package that brings it, if one does.
        distribution: what it is installed as, where that is another name.
        taken_from: the package whose weights it is converted from, if it comes so; the one file of
            `files` is then what sfe makes of them.
        about: size as its page names it, where the exact one is not known.
        note: anything else to know before getting it.
    """

    name: str
    purpose: str
    licence: str
    page: str
    folder: str
    files: tuple[AssetFile, ...]
    embedded: bool = False
    package: str | None = None
    distribution: str | None = None
    taken_from: Package | None = None
    about: str = ""
    note: str = ""

    @property
    def source(self) -> str:
        """How it comes to the user: embedded, package, download, or gated (put there by hand)."""
        if self.embedded:
            return "embedded"
        if self.package:
            return "package"
        if self.taken_from:
            return "download"
        return "download" if all(file.url for file in self.files) else "gated"

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
    sealed = {}
    if CHECKSUMS_FILE.is_file():
        sealed = json.loads(CHECKSUMS_FILE.read_text(encoding="utf-8"))
    return {name: _asset(name, entry, sealed) for name, entry in table.items()}


def _asset(name: str, entry: dict[str, Any], sealed: dict[str, list[dict[str, Any]]]) -> Asset:
    fields = dict(entry)
    files = fields.pop("files", ()) or sealed.get(name, ())
    package = fields.pop("taken_from", None)
    return Asset(
        name=name,
        files=_files(files),
        folder=fields.pop("folder", name),
        taken_from=package and Package(**package | {"members": _files(package["members"])}),
        **fields,
    )


def _files(entries: Iterable[dict[str, Any]]) -> tuple[AssetFile, ...]:
    return tuple(AssetFile(**entry) for entry in entries)
