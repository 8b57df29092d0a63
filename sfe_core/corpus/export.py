"""A corpus as WebDataset tar shards: few large files, the same bytes from the same corpus.

A sample is the face crop, the guidance maps, the caption (txt) and the manifest's row (json). Each
split has shards of its own, in an order drawn from the keys, so that every shard is a fair sample.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from sfe_core.corpus.artefacts.kinds import KINDS
from sfe_core.corpus.layout import CANVAS, INPUTS, MANIFEST, MAP_FOLDERS
from sfe_core.corpus.manifest import plain_rows, write_manifest
from sfe_core.corpus.picture_store import MEND
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.webdataset import (
    FORMAT,
    INDEX,
    MEMBERS,
    UNFINISHED,
    picture_suffix,
    sample_name,
)
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path, derive_seed, sha256_file, write_json
from sfe_core.reporting import Reporter, Task

# What can come along beside the crop: its maps, and all other pictures of the crop's own frame.
PICTURES = {
    kind.name: kind.folder
    for kind in KINDS
    if kind.suffix == ".png"
    and kind.folder not in (INPUTS, CANVAS, "overlay")
    and not kind.name.startswith("full_")
}
_SHARD_NAME = re.compile(r"[^/\\]+-\d{6}\.tar")


@dataclass(frozen=True)
class Shard:
    """A tar to write: its name, its split, and its rows of the manifest in order."""

    name: str
    split: str
    frame: pd.DataFrame

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as plain dicts, made anew each time: those of all shards would fill memory."""
        return plain_rows(self.frame)


@dataclass(frozen=True)
class ExportSummary:
    """What an export holds, and what this call did for it."""

    folder: Path
    samples: dict[str, int]  # by split
    shards: int
    written: int  # shards written by this call; the others stood
    removed: int  # shards of an earlier export that are no more
    size_bytes: int


def export_corpus(
    corpus: Corpus,
    target: Path,
    splits: tuple[str, ...] = (),
    maps: tuple[str, ...] = tuple(MAP_FOLDERS),
    samples_per_shard: int = 1000,
    reporter: Reporter | None = None,
) -> ExportSummary:
    """Write the shards, their manifest, the places of the pictures, and last the index.

    A shard that stands with the right content is kept, so a call that was cut short goes on.

    Args:
        corpus: what to export; rows of status ok.
        target: folder to write to.
        splits: names; all of the corpus if none.
        maps: guidance maps to take along, and buffers, see `PICTURES`.
        samples_per_shard: most samples in one tar.
        reporter: told of the progress.

    Raises:
        UserError: unknown split or map, no sample per shard, or `target` is not a folder.
        RunError: a picture is missing or not what the manifest says, or the disk is full.
    """
    _check(corpus, target, maps, samples_per_shard)
    kinds = [("inputs", INPUTS), *((name, PICTURES[name]) for name in maps)]
    shards = plan_shards(corpus, splits, samples_per_shard)
    standing = {shard.name for shard in shards if _stands(target / shard.name, shard, kinds)}
    earlier = _earlier_names(target)
    gone = earlier.difference(shard.name for shard in shards)
    if gone or len(standing) < len(shards):
        # While shards change, no index may tell where their pictures were.
        names = sorted(earlier.union(shard.name for shard in shards))
        write_json(target / INDEX, {"format": UNFINISHED, "shards": [{"name": n} for n in names]})
    members: list[tuple[str, str, str, int, int]] = []
    with (reporter or Reporter()).task("export", sum(len(s.frame) for s in shards)) as task:
        for shard in shards:
            if shard.name in standing:
                task.advance(len(shard.frame), f"{shard.name} stands")
            else:
                _write_shard(target / shard.name, shard, kinds, corpus, task)
            members += _places(target / shard.name, shard, kinds)
    for name in gone:
        (target / name).unlink(missing_ok=True)
    listed = [_described(target / shard.name, shard) for shard in shards]
    _write_tables(target, corpus, shards, members)
    write_json(
        target / INDEX,
        {"format": FORMAT, "maps": list(maps), "corpus_sha256": corpus.sha256, "shards": listed},
    )
    samples: dict[str, int] = {}
    for shard in shards:
        samples[shard.split] = samples.get(shard.split, 0) + len(shard.frame)
    size = sum(entry["bytes"] for entry in listed)
    return ExportSummary(target, samples, len(shards), len(shards) - len(standing), len(gone), size)


def plan_shards(corpus: Corpus, splits: tuple[str, ...], samples_per_shard: int) -> list[Shard]:
    """The shards of an export, by split and number.

    Raises:
        UserError: unknown split.
    """
    names = splits or tuple(sorted(name for name in corpus.rows["split"].unique() if name))
    shards = []
    for split in dict.fromkeys(names):
        rows = corpus.split(split)
        keys = rows["key"].tolist()
        rows = rows.iloc[sorted(range(len(keys)), key=lambda n: derive_seed("shards", keys[n]))]
        for number, first in enumerate(range(0, len(rows), samples_per_shard)):
            name = f"{quote(split, safe='')}-{number:06d}.tar"
            shards.append(Shard(name, split, rows[first : first + samples_per_shard]))
    return shards


def _check(corpus: Corpus, target: Path, maps: tuple[str, ...], samples_per_shard: int) -> None:
    unknown = [name for name in maps if name not in PICTURES]
    if unknown:
        raise UserError("--maps", f"{unknown[0]!r} is not a map", f"known: {', '.join(PICTURES)}")
    for name in maps:
        column = f"{name}_sha256"
        if column not in corpus.rows or corpus.rows[column].isna().any():
            raise UserError(
                "--maps", f"not every face has {name}", "leave it out, or preprocess it"
            )
    if samples_per_shard < 1:
        raise UserError("--samples-per-shard", f"{samples_per_shard} is too few", "give 1 or more")
    if "://" in str(target) or re.match(r"^\w+:/\w", str(target)):
        raise UserError("--to", f"{target} is a URL", "export to a folder, then upload it as it is")
    if target.exists() and not target.is_dir():
        raise UserError("--to", f"{target} is not a folder", "give a folder")
    if target.resolve() == corpus.folder.resolve():
        raise UserError("--to", f"{target} is the corpus itself", "give another folder")


def _texts(row: dict[str, Any]) -> dict[str, bytes]:
    """The members of a sample that come from the manifest, by extension."""
    known = {name: value for name, value in row.items() if value is not None}
    text = json.dumps(known, sort_keys=True, ensure_ascii=False)
    return {"json": text.encode(), "txt": (row["caption"] or "").encode()}


def _write_shard(
    path: Path, shard: Shard, kinds: list[tuple[str, str]], corpus: Corpus, task: Task
) -> None:
    with (
        atomic_path(path) as partial,
        tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for row in shard.rows:
            base = sample_name(row["key"])
            for column, folder in kinds:
                content = corpus.store.read(folder, row["key"])
                if hashlib.sha256(content).hexdigest() != row[f"{column}_sha256"]:
                    place = corpus.store.place(folder, row["key"])
                    raise RunError(place, "is not the picture that preprocess wrote", MEND)
                _add(tar, f"{base}.{picture_suffix(folder)}", content)
            for extension, content in _texts(row).items():
                _add(tar, f"{base}.{extension}", content)
            task.advance(1, path.name)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, group and time stay 0: the bytes tell of no machine
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def _scan(path: Path) -> Iterator[tuple[str, int, int, tarfile.TarFile, tarfile.TarInfo]]:
    """Name, offset and size of every member, with what it takes to read it."""
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            yield member.name, member.offset_data, member.size, tar, member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a member; none of one that is not a file."""
    stream = tar.extractfile(member)
    return stream.read() if stream else b""


def _stands(path: Path, shard: Shard, kinds: list[tuple[str, str]]) -> bool:
    """Whether a whole tar of exactly this content is there.

    Shards appear under their name only when whole, and each sample's json names the hashes of its
    pictures, so equal names and texts mean equal content.
    """
    wanted: dict[str, bytes | None] = {}
    for row in shard.rows:
        base = sample_name(row["key"])
        wanted |= {f"{base}.{picture_suffix(folder)}": None for _, folder in kinds}
        wanted |= {f"{base}.{extension}": text for extension, text in _texts(row).items()}
    try:
        found = {
            name: None if wanted.get(name, b"") is None else _content(tar, member)
            for name, _, _, tar, member in _scan(path)
        }
    except (OSError, tarfile.TarError):
        return False
    return list(found.items()) == list(wanted.items())


def _places(
    path: Path, shard: Shard, kinds: list[tuple[str, str]]
) -> list[tuple[str, str, str, int, int]]:
    """Key, folder, shard, offset and size of every picture in a shard."""
    owner = {
        f"{sample_name(row['key'])}.{picture_suffix(folder)}": (row["key"], folder)
        for row in shard.rows
        for _, folder in kinds
    }
    return [
        (*owner[name], shard.name, offset, size)
        for name, offset, size, _, _ in _scan(path)
        if name in owner
    ]


def _described(path: Path, shard: Shard) -> dict[str, Any]:
    return {
        "name": shard.name,
        "split": shard.split,
        "samples": len(shard.frame),
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
    }


def _write_tables(
    target: Path, corpus: Corpus, shards: list[Shard], members: list[tuple[str, str, str, int, int]]
) -> None:
    exported = {key for shard in shards for key in shard.frame["key"]}
    rows = corpus.rows[corpus.rows["key"].isin(exported)].reset_index(drop=True)
    write_manifest(target / MANIFEST, rows)
    with atomic_path(target / MEMBERS) as partial:
        columns = ["key", "folder", "shard", "offset", "size"]
        pd.DataFrame(members, columns=columns).to_parquet(partial, index=False)


def _earlier_names(target: Path) -> set[str]:
    """Names of the shards that an earlier export wrote here, finished or not."""
    try:
        index = json.loads((target / INDEX).read_text(encoding="utf-8"))
        names = {str(shard["name"]) for shard in index["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if _SHARD_NAME.fullmatch(name)}
