"""Action units coded frame by frame, as BP4D and DISFA hand them out.

| set | file | content |
| --- | --- | --- |
| DISFA | SN001/SN001_au12.txt | `frame,intensity` lines, 0 to 5, frames from 1 |
| BP4D | AU_OCC/F001_T1.csv | a head of unit numbers, then `frame,0,1,9,…`; 9 is not coded |
| BP4D | AU_INT/AU12/F001_T1_AU12.csv | `frame,intensity` lines, 0 to 5; 9 is not coded |

Images belong to a sequence by the codes in their path (SN001; F001 and T1) and to a frame by the
last number of their name: SN001/00012.png, F001/T1/2440.jpg, F001_T1_2440.jpg. Images of DISFA
that are counted from 0, as some tools write frames, are moved by one. What a table of subjects
right in the folder tells of people (see `subject_tables`) goes to their frames.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from sfe_core.controls.action_units import ACTION_UNITS, UnitScale
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.subject_tables import person_of, read_subjects
from sfe_core.corpus.tables.cells import read_unit_cell
from sfe_core.corpus.tables.classes import WrongLabelError
from sfe_core.errors import UserError

Frames = dict[int, dict[str, str]]  # frame → cells of labels.csv

_DISFA_FILE = re.compile(r"(SN\d{3})_au(\d+)\.txt", re.IGNORECASE)
_BP4D_PRESENCE = re.compile(r"([FM]\d{3})_(T\d+)\.csv", re.IGNORECASE)
_BP4D_INTENSITY = re.compile(r"([FM]\d{3})_(T\d+)_AU(\d+)\.csv", re.IGNORECASE)
_DISFA_IMAGE = re.compile(r"SN\d{3}", re.IGNORECASE)
_BP4D_IMAGE = re.compile(r"(?<![A-Za-z])([FM]\d{3})[/_-](T\d+)(?!\d)", re.IGNORECASE)


def is_unit_sequences(folder: Path) -> bool:
    """Whether a folder holds tables of BP4D or DISFA."""
    return any(True for _ in _tables(folder))


def read_unit_sequences(
    folder: Path, image_keys: Iterable[str], problems: Problems
) -> Iterator[Entry]:
    """An entry per image whose frame was coded, with its units and whose face it is.

    Args:
        folder: of the tables, at any depth.
        image_keys: paths of the images without suffix.
        problems: takes bad cells; frames without an image and images without coding are one
            problem per sequence.

    Raises:
        UserError: no table of these sets, or a table of subjects that contradicts itself.
    """
    tables: dict[str, list[Path]] = defaultdict(list)
    for sequence, path in _tables(folder):
        tables[sequence].append(path)
    if not tables:
        raise UserError(
            folder, "holds no table of BP4D or DISFA", "e.g. SN001_au1.txt, AU_OCC/F001_T1.csv"
        )
    images, subjects = _images(image_keys), read_subjects(folder)
    for sequence, paths in sorted(tables.items()):
        frames: Frames = defaultdict(dict)
        for path in sorted(paths):
            _read_table(path, frames, problems)
        there = images.get(sequence, [])
        person = person_of(sequence.partition("_")[0], subjects)
        for frame, key in there:
            if frame in frames:
                yield Entry(f"{sequence} frame {frame}", key, person | frames[frame])
        if without := len(frames.keys() - {frame for frame, _ in there}):
            problems.add(sequence, "missing file", f"{without} coded frames have no image")
        if uncoded := sum(frame not in frames for frame, _ in there):
            problems.add(sequence, "unlabelled", f"{uncoded} images are not coded")
    for sequence in sorted(images.keys() - tables.keys()):
        count = len(images[sequence])
        problems.add(sequence, "unlabelled", f"{count} images, and no table codes them")


def _tables(folder: Path) -> Iterator[tuple[str, Path]]:
    """(sequence, file) of every table below a folder."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if matched := _DISFA_FILE.fullmatch(name):
                yield matched[1].upper(), Path(place) / name
            elif matched := _BP4D_PRESENCE.fullmatch(name) or _BP4D_INTENSITY.fullmatch(name):
                yield f"{matched[1]}_{matched[2]}".upper(), Path(place) / name


def _images(keys: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """sequence → (frame, key) of every image of it; one frame may be seen by several cameras."""
    series: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for key in keys:
        folder, _, name = key.rpartition("/")
        numbers = re.findall(r"\d+", name)
        if not numbers:
            continue
        camera = f"{folder}/{name[: name.rindex(numbers[-1])]}"
        if matched := _BP4D_IMAGE.search(key):
            sequence = f"{matched[1]}_{matched[2]}".upper()
        elif codes := _DISFA_IMAGE.findall(key):
            sequence = codes[-1].upper()
        else:
            continue
        series[sequence, camera].append((int(numbers[-1]), key))
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (sequence, _), frames in series.items():
        from_zero = sequence.startswith("SN") and any(frame == 0 for frame, _ in frames)
        found[sequence] += [(frame + from_zero, key) for frame, key in frames]
    return {sequence: sorted(frames) for sequence, frames in found.items()}


def _read_table(path: Path, frames: Frames, problems: Problems) -> None:
    """Add the cells of one file to its sequence's frames."""
    single = _DISFA_FILE.fullmatch(path.name) or _BP4D_INTENSITY.fullmatch(path.name)
    columns = [f"AU{int(single[single.lastindex or 1])}"] if single else None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add(path.name, "bad line", f"cannot be read ({error})")
        return
    for number, cells in enumerate(csv.reader(lines), 1):
        where = f"{path.name}:{number}"
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if columns is None:  # the head of an occurrence table
            columns = [f"AU{int(c)}_present" if c.isdecimal() else "" for c in cells[1:]]
            continue
        if len(cells) != len(columns) + 1 or not cells[0].isdecimal():
            problems.add(where, "bad line", f"{len(cells)} cells, {len(columns) + 1} expected")
            continue
        for column, cell in zip(columns, cells[1:], strict=True):
            if column.removesuffix("_present") not in ACTION_UNITS:
                continue
            try:
                scale: UnitScale = "presence" if column.endswith("_present") else "intensity"
                frames[int(cells[0])] |= read_unit_cell(column, cell, scale)
            except WrongLabelError as error:
                problems.add(where, "wrong label", str(error))
