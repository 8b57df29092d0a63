"""Photos to saved heads: what one process does of a reconstruction, alone or beside others.

The processes share nothing but the output folder, and no photo is given to two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.preprocessing.decode_ahead import decode_ahead
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, PhotoJob
from sfe_core.corpus.preprocessing.photos import PhotoFile
from sfe_core.corpus.preprocessing.scenes import (
    SkippedPhotoError,
    faces_in_photo,
    photo_detector,
)
from sfe_core.corpus.reconstruction.outputs import OUTPUTS, SavedFace, knows_colour
from sfe_core.corpus.reconstruction.records import (
    Record,
    Settings,
    face_row,
    read_record,
    record_path,
    remove_files,
    write_record,
    write_settings,
)
from sfe_core.errors import SfeError
from sfe_core.faces.backends import load_reconstructor
from sfe_core.faces.detection import Detector, Face
from sfe_core.faces.reconstruction import Reconstructor
from sfe_core.files import sha256_file

Tools = tuple[Detector, Reconstructor]


@dataclass(frozen=True)
class Failure:
    """A photo that gave nothing: its path below the photos folder, its status and the reason."""

    photo: str
    key: str
    status: str
    reason: str

    @property
    def told(self) -> str:
        """As one line."""
        return f"{self.photo}: {self.status}: {self.reason}"


@dataclass(frozen=True)
class Saved:
    """A photo that was done: its faces, and whether colours were wanted that are not known."""

    faces: int
    colourless: bool


@dataclass(frozen=True)
class Saving:
    """What a process needs to know to reconstruct photos and save them.

    Attributes:
        out: the output folder.
        settings: that its results stand under.
        kinds: of `OUTPUTS`.
        photo_frame: whether pictures are in the photo's frame.
        config: of preprocess.
        device: torch device for networks; None means CUDA where there is one.
        threads: that decode ahead of the models.
    """

    out: Path
    settings: Settings
    kinds: tuple[str, ...]
    photo_frame: bool
    config: PreprocessConfig
    device: str | None
    threads: int

    def outcomes(self, jobs: Iterable[PhotoJob], tools: Tools) -> Iterator[Saved | Failure]:
        """Reconstruct photos and save them; what became of each, in order.

        Raises:
            SfeError: what concerns all photos: a full disk, say.
        """
        detector, reconstructor = tools
        claimed = False
        for photo in decode_ahead(jobs, self.config, self.threads):
            status, reason = "failed", ""
            try:
                found = faces_in_photo(photo, self.config, detector, lambda: reconstructor)
            except SkippedPhotoError as skipped:
                status, reason = skipped.status, skipped.reason
            except SfeError:
                raise
            except Exception as error:  # one odd photo must not end a run over thousands
                reason = f"{type(error).__name__}: {error}"
            else:
                if not claimed:  # only now: a call that comes to nothing claims no folder
                    write_settings(self.out, self.settings)
                    claimed = True
                yield self._save(photo, found)
                continue
            yield Failure(photo.job.photo, photo.job.key, status, reason)

    def faces_standing(self, file: PhotoFile) -> int | None:
        """The faces of a photo of which all that is wanted is there; None where it is not."""
        record = read_record(record_path(self.out, file.key))
        if record is None or not self._is_of(record, file.photo, lambda: sha256_file(file.path)):
            return None
        return None if record.missing(self.out, self.kinds) else len(record.faces)

    def _save(self, photo: DecodedPhoto, found: list[tuple[Face, FaceScene]]) -> Saved:
        """Write what is not there of a photo's faces, then its record."""
        name, key, sha256 = photo.job.photo, photo.job.key, photo.sha256
        saved = [
            SavedFace(key if number == 1 else f"{key}#{number}", face, scene, self.photo_frame)
            for number, (face, scene) in enumerate(found, start=1)
        ]
        rows = [face_row(face, name, number) for number, face in enumerate(saved, start=1)]
        before = read_record(record_path(self.out, key))
        record = Record(name, sha256, self.settings.sha256, rows)
        if before is not None and self._is_of(before, name, lambda: sha256):
            record.files = dict(before.files)
        wanted = record.missing(self.out, self.kinds)
        for kind in wanted:
            record.files[kind] = [
                path.relative_to(self.out).as_posix()
                for face in saved
                for path in OUTPUTS[kind](face, self.out)
            ]
        coloured = not {"renders", "meshes"}.isdisjoint(wanted)
        colourless = coloured and not all(knows_colour(face.scene) for face in saved)
        if before is not None:
            kept = [name for group in record.files.values() for name in group]
            remove_files(self.out, before, kept)
        write_record(self.out, key, record)
        return Saved(len(saved), colourless)

    def _is_of(self, record: Record, photo: str, sha256: Callable[[], str]) -> bool:
        """Whether a record is of the same photo and settings."""
        if (record.photo, record.settings) != (photo, self.settings.sha256):
            return False
        try:
            return record.sha256 == sha256()
        except OSError:
            return False


def load_tools(config: PreprocessConfig, device: str | None) -> Tools:
    """Load the models.

    Args:
        config: of preprocess.
        device: torch device for networks; None means CUDA where there is one.

    Raises:
        SfeError: one is missing or torn.
    """
    return photo_detector(config, device), load_reconstructor(
        config.reconstruction, device, config.reconstruction_model, config.flame
    )


def outcomes_of(saving: Saving, jobs: Iterable[PhotoJob]) -> list[Saved | Failure]:
    """`Saving.outcomes` in a process beside others, which loads its models once.

    Raises:
        SfeError: what concerns all photos: a missing model, a full disk.
    """
    return list(saving.outcomes(jobs, _tools(saving.config, saving.device)))


_tools = lru_cache(maxsize=1)(load_tools)
