"""A corpus in WebDataset tar shards: how samples are named, and reading them at random.

Any WebDataset reader can stream the shards. Beside them lie the manifest of what they hold and the
place of every picture's bytes, so that here a picture is one ranged read, from a disk or from
object storage, and training draws the same faces in the same order as from the corpus folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pandas as pd

from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import parse_manifest
from sfe_core.errors import RunError, UserError

FORMAT = "sfe-webdataset-1"
UNFINISHED = "sfe-webdataset-unfinished"
INDEX = "index.json"
MEMBERS = "members.parquet"  # columns key, folder, shard, offset, size
_TRIES = 4
_FIRST_WAIT_S = 0.5
_AGAIN = "export the corpus again"


def sample_name(key: str) -> str:
    """The key as WebDataset needs it: ASCII, without a dot, which would begin the extension.

    `urllib.parse.unquote` gives the key back.
    """
    return quote(key, safe="/").replace(".", "%2E")


def picture_suffix(folder: str) -> str:
    """Extension of a corpus folder's pictures in a shard, e.g. `inputs.png`."""
    return f"{folder}.png"


class ShardStore:
    """The pictures of exported shards, see `picture_store.PictureStore`.

    Args:
        address: the export's folder, or its URL in any scheme that fsspec knows.

    Attributes:
        address: where it lies, without a slash at the end.
        index: what index.json says.

    Raises:
        UserError: there is no export, or the package for the URL's scheme is missing.
        RunError: it is of another format, or cannot be read.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._files: Any = None
        self._process = 0
        self._last: tuple[tuple[str, int, int], bytes] | None = None
        self.index = self._read_index()
        members = pd.read_parquet(BytesIO(self.read_file(MEMBERS)))
        self._members = {
            (folder, key): (shard, int(offset), int(size))
            for key, folder, shard, offset, size in members.itertuples(index=False)
        }
        # A sample's pictures lie side by side: one request fetches them all.
        spans = members.assign(end=members["offset"] + members["size"]).groupby("key")
        ranges = spans.agg(shard=("shard", "first"), begin=("offset", "min"), end=("end", "max"))
        self._spans = {
            key: (shard, int(begin), int(end))
            for key, shard, begin, end in ranges.itertuples(index=True)
        }

    def manifest(self) -> pd.DataFrame:
        """The rows of what was exported, as `manifest.read_manifest` gives them."""
        return parse_manifest(self.read_file(MANIFEST), f"{self.address}/{MANIFEST}")

    def read(self, folder: str, key: str) -> bytes:
        """See `PictureStore.read`."""
        if (folder, key) not in self._members:
            raise RunError(self.place(folder, key), "was not exported", _AGAIN)
        shard, offset, size = self._members[folder, key]
        span = self._spans[key]
        if self._last is None or self._last[0] != span:
            self._last = (span, self.read_file(shard, *span[1:]))
        begin = offset - span[1]
        return self._last[1][begin : begin + size]

    def place(self, folder: str, key: str) -> str:
        """See `PictureStore.place`."""
        shard = self._members.get((folder, key), ("shards",))[0]
        return f"{self.address}/{shard}: {sample_name(key)}.{picture_suffix(folder)}"

    def missing(self, folder: str, keys: Iterable[str]) -> list[str]:
        """See `PictureStore.missing`."""
        return [key for key in keys if not self._members.get((folder, key), (0, 0, 0))[2]]

    def touched(self, folder: str, keys: Iterable[str]) -> list[str]:
        """See `PictureStore.touched`: none, an export holds what was checked when it was made."""
        del folder, keys
        return []

    def read_file(self, name: str, begin: int | None = None, end: int | None = None) -> bytes:
        """Bytes `begin` to `end` of a file of the export; tried again if the network fails.

        Raises:
            UserError: there is no such file.
            RunError: it cannot be read, or is shorter than that.
        """
        path = f"{self.address}/{name}"
        files = self._filesystem()
        for attempt in range(_TRIES):
            try:
                content = files.cat_file(path, start=begin, end=end)
                break
            except FileNotFoundError as error:
                raise UserError(path, "is not there", "make it by `sfe corpus export`") from error
            except Exception as error:  # each storage raises its own types
                if attempt == _TRIES - 1:
                    raise RunError(path, f"cannot be read ({error})", "check it") from error
                time.sleep(_FIRST_WAIT_S * 2**attempt)
        if begin is not None and end is not None and len(content) != end - begin:
            raise RunError(path, f"ends before byte {end}", f"copy it again, or {_AGAIN}")
        return content

    def _filesystem(self) -> Any:
        # Connections do not survive a fork: every process opens its own.
        if self._files is None or self._process != os.getpid():
            try:
                self._files = fsspec.core.url_to_fs(self.address)[0]
            except (ImportError, ValueError) as error:
                raise UserError("corpus.shards", f"{self.address}: {error}", "") from error
            self._process = os.getpid()
        return self._files

    def _read_index(self) -> dict[str, Any]:
        place = f"{self.address}/{INDEX}"
        try:
            index = json.loads(self.read_file(INDEX))
        except json.JSONDecodeError as error:
            raise RunError(place, f"is not JSON ({error})", _AGAIN) from error
        if isinstance(index, dict) and index.get("format") == UNFINISHED:
            raise RunError(place, "the export was cut short", "run `sfe corpus export` again")
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise RunError(place, f"is not of the format {FORMAT}", _AGAIN)
        return index

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": None, "_last": None}


def shard_address(address: str, root: Path) -> str:
    """An address of sfe.yaml as ShardStore takes it: a folder counts from the workspace."""
    return address if "://" in address else str(root / Path(address).expanduser())
