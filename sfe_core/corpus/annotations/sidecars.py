"""What people write beside their photos: `a.txt`, `a.caption`, metadata.jsonl, metadata.csv.

A text beside a photo is its caption (kohya, SimpleTuner): the first line that is not blank. A
metadata file is about the files of its folder (Hugging Face's ImageFolder). In a folder `10_woman`
with such texts, photos without one get the concept, woman. labels.csv and captions.json go before.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sfe_core.corpus.annotations.records import caption_column, is_records, open_records
from sfe_core.corpus.photo_files import walk_folders
from sfe_core.corpus.tables.cells import read_cells
from sfe_core.corpus.tables.classes import WrongLabelError, folder_class
from sfe_core.corpus.tables.columns import find_columns, open_labels
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.corpus.tables.numbering import Evidence, column_hints
from sfe_core.corpus.tables.tables import Table
from sfe_core.errors import UserError
from sfe_core.file_kinds import PICTURE_SUFFIXES
from sfe_core.wording import listed

_TEXTS = (".txt", ".caption")
_METADATA = ("metadata.jsonl", "metadata.csv")
_CONCEPT = re.compile(r"(\d+)_(.+)")
_NAMED = 3
_MOST_BYTES = 1 << 16


@dataclass
class Beside:
    """What stands beside the photos.

    Attributes:
        captions: text by key.
        origins: by key, what it comes from: sidecar, metadata or folder.
        labels: key → cells of labels.csv, from metadata.
        said: how many captions come from what; "" where there are none.
        notes: what a person should know, a sentence each.
    """

    captions: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    said: str = ""
    notes: list[str] = field(default_factory=list)

    def add(self, key: str, text: str, origin: str) -> None:
        """Take a caption in, if there is none yet."""
        if text and key not in self.captions:
            self.captions[key], self.origins[key] = text, origin


def read_beside(photos: Path, keys: Collection[str], scheme: str | None = None) -> Beside:
    """Read all that stands beside photos.

    Args:
        photos: their folder.
        keys: of the photos there are.
        scheme: what numbered emotions in metadata mean; None to tell it from the file.
    """
    beside, known = Beside(), KeyMatcher(keys)
    empty: list[str] = []
    tables: list[Path] = []
    concepts: dict[str, str] = {}  # folder → concept
    for folder, name in _files(photos):
        if name in _METADATA:
            tables.append(photos / folder / name)
            continue
        bare = os.path.splitext(name)[0]
        if os.path.splitext(bare)[1].lower() in PICTURE_SUFFIXES:
            bare = os.path.splitext(bare)[0]
        key = f"{folder}/{bare}" if folder else bare
        if key not in keys:
            continue
        text = read_sidecar(photos / folder / name)
        if not text:
            empty.append(f"{folder}/{name}".lstrip("/"))
        beside.add(key, text, "sidecar")
        if text and (concept := concept_of(folder)):
            concepts[folder] = concept
    for path in sorted(tables):
        _read_metadata(path, path.parent.relative_to(photos).as_posix(), known, scheme, beside)
    for key in keys:
        beside.add(key, concepts.get(key.rpartition("/")[0], ""), "folder")
    counts = Counter(beside.origins.values())
    if counts:
        told = ", ".join(f"{n} from {_CALLED[origin]}" for origin, n in counts.items())
        beside.said = f"captions beside the photos: {told}"
    if empty:
        named = listed(empty, _NAMED)
        beside.notes.append(f"{len(empty)} of the texts beside photos hold no caption: {named}")
    return beside


_CALLED = {
    "sidecar": "texts of the same name",
    "metadata": "metadata files",
    "folder": "names of folders",
}


def read_sidecar(path: Path) -> str:
    """The caption in a text file: its first line; empty where it holds only numbers, or no text."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    line = next((" ".join(line.split()) for line in lines if line.strip()), "")
    return line if any(letter.isalpha() for letter in line) else ""


def sidecars_of(photo: Path) -> list[tuple[Path, str]]:
    """The texts beside a photo (`a.txt`, `a.caption`, `a.jpg.txt`) and their captions."""
    paths = [photo.with_suffix(suffix) for suffix in _TEXTS]
    paths += [photo.with_name(photo.name + suffix) for suffix in _TEXTS]
    return [(path, read_sidecar(path)) for path in paths if path.is_file()]


def metadata_of(photo: Path) -> list[Path]:
    """The metadata files in the folder of a photo."""
    return [path for name in _METADATA if (path := photo.with_name(name)).is_file()]


def concept_of(folder: str) -> str:
    """The concept of a folder `10_woman`; empty for others, and for names of emotions."""
    name = folder.rpartition("/")[2]
    found = _CONCEPT.fullmatch(name)
    return found[2].replace("_", " ").strip() if found and folder_class(name) is None else ""


def _files(photos: Path) -> Iterator[tuple[str, str]]:
    """(folder below `photos`, name) of the files that may say something of photos, in order."""
    for place, names, _ in sorted(walk_folders(photos), key=lambda folder: folder[0]):
        below = place.relative_to(photos).as_posix()
        for name in sorted(names, key=lambda name: (not name.endswith(".txt"), name)):
            if os.path.splitext(name)[1].lower() in _TEXTS or name in _METADATA:
                yield "" if below == "." else below, name


def _read_metadata(
    path: Path, folder: str, known: KeyMatcher, scheme: str | None, beside: Beside
) -> None:
    """Take in what a metadata file says of the files of its folder; what is wrong is noted."""
    shown = path.name if folder == "." else f"{folder}/{path.name}"
    wrong = unmatched = 0
    try:
        table = open_records(path) if is_records(path) else open_labels(path)
        columns, caption = find_columns(table), caption_column(table)
    except UserError as error:
        beside.notes.append(f"{shown} is not read: {error.problem}")
        return
    if columns.image is None:
        beside.notes.append(f"{shown} is not read: no column names the file; call it file_name")
        return
    told = scheme
    if columns.numbers_seen and not told:
        told = Evidence(columns.numbers_seen, tuple(column_hints(table)), columns.valences).scheme
    torn: list[int] = []
    for _, cells in table.rows(lambda number, found: torn.append(number)):
        listed = cells[columns.image]
        key = known.exact(listed if folder == "." else f"{folder}/{listed}")
        if key is None:
            unmatched += 1
            continue
        if caption is not None:
            beside.add(key, " ".join(cells[caption].split()), "metadata")
        try:
            found = read_cells(cells, columns, told)
        except WrongLabelError:
            wrong += 1
            continue
        found = {name: cell for name, cell in found.items() if cell}
        if found:
            beside.labels[key] = found | beside.labels.get(key, {})
    _note_odd(beside, shown, table, torn=len(torn), wrong=wrong, unmatched=unmatched)


def _note_odd(beside: Beside, shown: str, table: Table, **counts: int) -> None:
    """A sentence on the rows of a metadata file that could not be used."""
    words: Mapping[str, str] = {
        "torn": "cannot be read",
        "wrong": "have a label that is no emotion, or a number of which nothing says whose it is "
        "(sfe.yaml: photos.classes)",
        "unmatched": "name no photo",
    }
    told = [f"{n} {words[name]}" for name, n in counts.items() if n]
    if told:
        beside.notes.append(f"{shown}: of its lines, {'; '.join(told)}")
