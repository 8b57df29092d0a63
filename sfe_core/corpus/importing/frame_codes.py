"""Classes, dimensions and units that CK+ and Aff-Wild2 hand out beside their frames.

| set | file | content |
| --- | --- | --- |
| CK+ | Emotion/S005/001/S005_001_00000011_emotion.txt | the class of that frame, 0 to 7 |
| CK+ | FACS/S005/001/S005_001_00000011_facs.txt | `unit intensity` lines; 0 is "not graded" |
| Aff-Wild2 | EXPR_…/1-30-1280x720.txt | a head of class names, a number per frame; -1 is none |
| Aff-Wild2 | VA_…/1-30-1280x720.txt | `valence,arousal` per frame; -5 is none |
| Aff-Wild2 | AU_…/1-30-1280x720.txt | a head of units, then `0,1,-1,…` per frame; -1 is none |

Frames of Aff-Wild2 are <video>/00001.jpg, from 1; those of one video count as one person's.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from sfe_core.controls.action_units import ACTION_UNITS, read_unit_column
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.tables.cells import read_affect_cell, read_unit_cell
from sfe_core.corpus.tables.classes import WrongLabelError, read_class, read_name
from sfe_core.errors import UserError

Cells = dict[str, str]

_CK_FILE = re.compile(r"((S\d{3})_\d{3}_\d{8})_(emotion|facs)\.txt", re.IGNORECASE)
_FRAME = re.compile(r"(?:.*/)?([^/]+)/0*(\d+)")


def is_frame_codes(folder: Path) -> bool:
    """Whether a folder holds label files of CK+ or Aff-Wild2."""
    return any(True for _ in _ck_files(folder)) or any(True for _ in _video_files(folder))


def read_frame_codes(
    folder: Path, image_keys: Iterable[str], problems: Problems
) -> Iterator[Entry]:
    """An entry per coded frame.

    Args:
        folder: of the label files, at any depth.
        image_keys: paths of the images without suffix.
        problems: takes bad cells; for Aff-Wild2 frames without an image and images without a code
            are one problem per video.

    Raises:
        UserError: no label file of these sets.
    """
    found = False
    for path, matched in _ck_files(folder):
        found = True
        yield from _read_ck(path, matched, problems)
    videos: dict[str, list[Path]] = defaultdict(list)
    for path in _video_files(folder):
        videos[path.stem].append(path)
    if not found and not videos:
        raise UserError(
            folder, "holds no label file of CK+ or Aff-Wild2", "name the folder of the labels"
        )
    images: dict[str, dict[int, str]] = defaultdict(dict)
    for key in image_keys:
        if frame := _FRAME.fullmatch(key):
            images[frame[1]][int(frame[2])] = key
    for video, paths in sorted(videos.items()):
        yield from _read_video(video, paths, images.get(video, {}), problems)


def _ck_files(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if matched := _CK_FILE.fullmatch(name):
                yield Path(place) / name, matched


def _video_files(folder: Path) -> Iterator[Path]:
    """Label files of Aff-Wild2, known by their heads; those of one folder are of one kind."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        texts = [Path(place) / name for name in sorted(files) if name.endswith(".txt")]
        if texts and _columns(texts[0]):
            yield from filter(_columns, texts)


def _columns(path: Path) -> list[str]:
    """Columns of labels.csv that a file has per frame; [] where it is not a file of Aff-Wild2."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            cells = [cell.strip() for cell in stream.readline().split(",")]
    except (OSError, UnicodeDecodeError):
        return []
    if [cell.lower() for cell in cells] == ["valence", "arousal"]:
        return ["valence", "arousal"]
    if (
        len(cells) in (7, 8)
        and read_name(cells[0]) == "neutral"
        and all(read_name(cell) != "" for cell in cells)
    ):
        return ["emotion"]
    units = [read_unit_column(cell) for cell in cells]
    if len(units) > 1 and all(units):
        return [f"{unit.code}_present" for unit in units if unit]
    return []


def _read_ck(path: Path, matched: re.Match[str], problems: Problems) -> Iterator[Entry]:
    image, subject, kind = matched.groups()
    cells: Cells = {"identity": subject.upper()}
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        if kind.lower() == "emotion":
            cells["emotion"] = read_class(lines[0][0], "ck+") or ""
        else:
            for unit, intensity in (line for line in lines if line):
                cells |= _ck_unit(float(unit), float(intensity))
    except WrongLabelError as error:
        problems.add(path.name, "wrong label", str(error))
        return
    except (OSError, ValueError, IndexError) as error:
        problems.add(path.name, "bad line", f"cannot be read ({error})")
        return
    yield Entry(path.name, image, cells)


def _ck_unit(number: float, intensity: float) -> Cells:
    """The cells of a unit that is there: its intensity, or only its presence."""
    code = f"AU{number:g}"
    if code not in ACTION_UNITS:
        return {}
    if intensity == 0:
        return {f"{code}_present": "1"}
    return read_unit_cell(code, f"{intensity:g}", "intensity")


def _read_video(
    video: str, paths: list[Path], images: dict[int, str], problems: Problems
) -> Iterator[Entry]:
    frames: dict[int, Cells] = defaultdict(dict)
    for path in paths:
        columns = _columns(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()[1:]
        for frame, line in enumerate(lines, 1):
            cells = [cell.strip() for cell in line.split(",")]
            where = f"{path.name}:{frame + 1}"
            if len(cells) != len(columns):
                problems.add(where, "bad line", f"{len(cells)} cells, {len(columns)} expected")
                continue
            try:
                for column, cell in zip(columns, cells, strict=True):
                    frames[frame] |= _cell(column, cell)
            except WrongLabelError as error:
                problems.add(where, "wrong label", str(error))
    coded = {frame for frame, cells in frames.items() if cells}
    for frame in sorted(coded & images.keys()):
        yield Entry(f"{video} frame {frame}", images[frame], {"identity": video} | frames[frame])
    if without := len(coded - images.keys()):
        problems.add(video, "missing file", f"{without} coded frames have no image")
    if uncoded := len(images.keys() - coded):
        problems.add(video, "unlabelled", f"{uncoded} images are not coded")


def _cell(column: str, text: str) -> Cells:
    """The cell of a column of Aff-Wild2; empty where the frame is not annotated."""
    if column == "emotion":
        return {} if text == "-1" else {"emotion": read_class(text, "aff-wild2") or ""}
    if column in ("valence", "arousal"):
        return read_affect_cell(column, text)
    return read_unit_cell(column, text, "presence")
