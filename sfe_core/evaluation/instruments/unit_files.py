"""A judge of action units that is no network here: what a detector wrote of the same pictures.

OpenFace's FaceLandmarkImg writes a CSV for each picture, by its name, into a folder; py-feat and
tables of one's own have a line for each picture and a column that names it. A line belongs to a
picture by that name alone, never by its place: it ends in the name of the folder that holds the
set, or of the set, and the picture's key (`guided-0a1b/person/3.png`). Where pictures of one drawn
set alone are read, the key is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from sfe_core.assets.reference import ModelReference
from sfe_core.controls.action_units import ACTION_UNITS
from sfe_core.controls.expression_files import DETECTORS, DetectedFace, read_detected
from sfe_core.corpus.layout import INPUTS
from sfe_core.errors import UserError
from sfe_core.evaluation.instruments.probes import Batch, Instrument
from sfe_core.evaluation.pictures import DrawnPictures, PictureSet
from sfe_core.evaluation.yardstick import UNITS
from sfe_core.file_kinds import PICTURE_SUFFIXES
from sfe_core.files import sha256_json

WHERE = "evaluate.units_judge"
_MOST_NAMED = 5

Parts = tuple[str, ...]


class FiledUnits:
    """Action units of pictures out of files, as a probe; columns as `UnitsProbe` has them.

    A detector that does not tell left from right gives both halves the same. Pictures that the
    files do not tell of, or on which the detector found no face, are nan.

    Attributes:
        tool: who wrote the files; the file's name where its columns do not tell.
        units: that it measured, in FACS order.
    """

    beside = False
    of_photos = True
    needs: tuple[str, ...] = ()
    searches = False
    name = UNITS

    def __init__(self, path: Path) -> None:
        """Raises: UserError: no such file, no unit in it, or lines that name no picture."""
        self.path = path
        faces = list(_named_faces(path))
        told = {unit for _, face in faces for unit in face.units}
        self.units = tuple(unit for unit in ACTION_UNITS if unit in told)
        if not self.units:
            raise UserError(
                f"{WHERE}: {path}", "has no intensity of any action unit", "give AU12_r …"
            )
        self.tool = tool_of(str(path), faces[0][1])
        self._faces = _surest(faces)
        self._matched: dict[tuple[str, str], Parts] = {}
        self._tell()

    def _tell(self) -> None:
        content = [[*name, face.units] for name, face in sorted(self._faces.items())]
        matched = sorted([*key, *name] for key, name in self._matched.items())
        tool = Instrument(self.tool, sha256_json([content, matched]), "read elsewhere", "units")
        self.instruments: Mapping[str, Instrument] = {self.name: tool}

    def match(self, sets: Mapping[str, PictureSet], keys: Sequence[str]) -> list[str]:
        """Find the line of each picture; says in sentences what is not there.

        Args:
            sets: by name, the photos among them.
            keys: of the drawn sets' pictures; a photo's are found by the same.

        Raises:
            UserError: not one picture is told of, or names that do not tell which set is meant.
        """
        return self.match_each({name: (one, keys) for name, one in sets.items()})

    def match_each(self, sets: Mapping[str, tuple[PictureSet, Sequence[str]]]) -> list[str]:
        """The same of sets with keys of their own."""
        tails: dict[Parts, list[Parts]] = {}
        for name in self._faces:
            for start in range(len(name)):
                tails.setdefault(name[start:], []).append(name)
        drawn = [name for name, (one, _) in sets.items() if isinstance(one, DrawnPictures)]
        notes = []
        for title, (pictures, keys) in sets.items():
            lost = []
            for key in keys:
                names = list(_names(title, pictures, key))
                found = next((tails[name] for name in names if name in tails), [])
                if not found and [title] == drawn:
                    found = [name for name in _bare(key) if name in self._faces][:1]
                if len(found) > 1:
                    raise UserError(
                        f"{WHERE}: {self.path.name}",
                        f"{' and '.join('/'.join(one) for one in found[:2])} both tell of {key}",
                        "keep one of them",
                    )
                if found:
                    self._matched[_label(pictures), key] = found[0]
                else:
                    lost.append(key)
            notes += [self._missing(title, lost, len(keys))] if lost else []
        if not self._matched:
            title, (pictures, keys) = next(iter(sets.items()))
            example = "/".join(next(_names(title, pictures, keys[0])))
            raise UserError(
                f"{WHERE}: {self.path.name}",
                "tells of no picture that is measured",
                f"name them by folder and key, such as {example}.png",
            )
        self._tell()
        return notes

    def _missing(self, title: str, lost: Sequence[str], of: int) -> str:
        named = ", ".join(lost[:_MOST_NAMED]) + (" …" if len(lost) > _MOST_NAMED else "")
        what = title or "the drawn ones"
        return f"{self.path.name} tells nothing of {len(lost)} of {of} pictures of {what}: {named}"

    def limits(self, asked: Sequence[str]) -> list[str]:
        """What the files cannot say, in sentences; `asked`: units that were asked for."""
        absent = [unit for unit in asked if unit not in self.units]
        even = f"{self.tool} does not tell left from right: each half counts as the whole face"
        unread = f"left out: {', '.join(absent)}, which {self.path.name} does not tell of"
        return [even, unread] if absent else [even]

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        label = "" if batch.pictures is None else _label(batch.pictures)
        found = [self._units_of(label, key) for key in batch.keys]
        return {
            f"{unit}{side}": np.array([units.get(unit, np.nan) for units in found])
            for unit in self.units
            for side in "LR"
        }

    def _units_of(self, label: str, key: str) -> Mapping[str, float]:
        name = self._matched.get((label, key))
        return {} if name is None else self._faces[name].units


def is_filed(given: str) -> bool:
    """Whether a judge, or who read labels, is a CSV file or a folder of them."""
    path = Path(given)
    if path.suffix.lower() == ".csv":
        return True
    return path.is_dir() and not any(path.glob("*.json")) and any(path.rglob("*.csv"))


def tool_of(given: str, face: DetectedFace | None = None) -> str:
    """Who reads, by name: of a file who wrote it, of a detector its usual spelling."""
    for tool in DETECTORS:
        if _plain(given) == _plain(tool):
            return tool
    if is_filed(given):
        if face is None:
            face = next((found for _, found in _named_faces(Path(given))), None)
        if face is not None and face.tool:
            return face.tool
    return ModelReference(given).name


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _named_faces(path: Path) -> Iterator[tuple[Parts, DetectedFace]]:
    """Each face with the parts of its picture's name, without a picture's suffix."""
    files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{WHERE}: {path}", "holds no .csv", "give what the detector wrote")
    for file, faces in zip(files, read_detected(files[0], files[1:]), strict=True):
        below = file.relative_to(path) if path.is_dir() else Path(file.name)
        for face in faces:
            if face.numbered:
                raise UserError(
                    f"{WHERE}: {face.where}",
                    "tells its picture by the number of a frame, not by name",
                    "run OpenFace's FaceLandmarkImg, which writes a file for each picture",
                )
            yield _parts(face.name or below.as_posix().removesuffix(".csv")), face


def _parts(name: str) -> Parts:
    path = PurePosixPath(name.replace("\\", "/"))
    path = path.with_suffix("") if path.suffix.lower() in PICTURE_SUFFIXES else path
    return tuple(part for part in path.parts if part not in ("/", "."))


def _surest(faces: Sequence[tuple[Parts, DetectedFace]]) -> dict[Parts, DetectedFace]:
    """One face a picture: where several were found, that which the detector is surest of."""
    best: dict[Parts, DetectedFace] = {}
    for name, face in faces:
        other = best.get(name)
        if other is not None and other.sure == face.sure:
            raise UserError(
                f"{WHERE}: {face.where}",
                f"{'/'.join(name)} stands in {other.where} as well",
                "keep one line for each picture",
            )
        if other is None or face.sure > other.sure:
            best[name] = face
    return best


def _label(pictures: PictureSet) -> str:
    return str(pictures.folder) if isinstance(pictures, DrawnPictures) else ""


def _names(title: str, pictures: PictureSet, key: str) -> Iterator[Parts]:
    """How names of a picture may end, the plainest first."""
    folders = [INPUTS, "photos", "real"]
    if isinstance(pictures, DrawnPictures):
        folders = [pictures.folder.name, *([title] if title else [])]
    for folder in folders:
        for name in _bare(key):
            yield (folder, *name)


def _bare(key: str) -> tuple[Parts, Parts]:
    """A key as a whole name, and with `_` for each `/`."""
    return tuple(key.split("/")), (key.replace("/", "_"),)
