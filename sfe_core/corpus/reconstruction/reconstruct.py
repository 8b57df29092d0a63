"""Every face of some photos reconstructed, and its mesh, codes and pictures written as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.photo_files import PhotoScan, scan_photos
from sfe_core.corpus.preprocessing.decode_ahead import decode_ahead
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, PhotoJob
from sfe_core.corpus.preprocessing.photos import PhotoFile, Photos, name_photos
from sfe_core.corpus.preprocessing.scenes import SkippedPhotoError, photo_detector
from sfe_core.corpus.preprocessing.single_photo import faces_in_photo
from sfe_core.corpus.reconstruction.outputs import OUTPUTS, USUAL, SavedFace, knows_colour
from sfe_core.corpus.reconstruction.records import (
    Record,
    Settings,
    check_settings,
    face_row,
    read_record,
    record_path,
    remove_files,
    settings_of,
    write_record,
    write_settings,
    write_table,
)
from sfe_core.errors import RunError, SfeError, UserError
from sfe_core.faces.backends import load_reconstructor
from sfe_core.faces.detection import Face
from sfe_core.files import key_of, sha256_file
from sfe_core.reporting import Reporter

_DECODING_THREADS = 2
Found = list[tuple[Face, FaceScene]]


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


@dataclass
class ReconstructSummary:
    """What became of the photos.

    Attributes:
        out: where the files are.
        table: faces.csv.
        photos: how many there are.
        faces: how many were found in those that did not fail.
        done, kept: photos that were done now, and that stood from before.
        failures: the others.
        passed_over: files that are not photos, in words by kind.
    """

    out: Path
    table: Path
    photos: int
    faces: int
    done: int
    kept: int
    failures: list[Failure] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise a RunError if a photo failed."""
        if not self.failures:
            return
        if self.photos == 1:
            (failure,) = self.failures
            remedy = "give a photo with a face, or lower preprocess.min_face_px"
            unread = failure.status not in ("no_face", "face_too_small")
            raise RunError(
                failure.photo,
                f"{failure.status}: {failure.reason}",
                "give another photo" if unread else remedy,
            )
        raise RunError(
            self.out,
            f"{len(self.failures)} of {self.photos} photos failed",
            f"see {self.table.name} there; the others are done",
        )


def reconstruct(
    photos: Path,
    out: Path,
    config: PreprocessConfig,
    kinds: Sequence[str] = USUAL,
    photo_frame: bool = False,
    device: str | None = None,
    reporter: Reporter | None = None,
    force: bool = False,
) -> ReconstructSummary:
    """Reconstruct every face of a photo, or of all photos below a folder, and save it.

    A photo that fails is told to the reporter and in the summary, and the others go on. What is in
    `out` with the same settings and photo stands; interrupted, the next call goes on from there.

    Args:
        photos: a picture, or a folder of some.
        out: where to; made if it is not there.
        config: of preprocess: detector, crop and `reconstruction`; its `face_choice` decides which
            faces.
        kinds: of `OUTPUTS`.
        photo_frame: pictures of the head in the photo's frame, not in the crop's.
        device: torch device for networks; None means CUDA where there is one.
        reporter: shown the progress.
        force: replace results of other settings.

    Raises:
        UserError: no photo there, `out` among them or full of results of other settings, models
            that are not there, a device that torch does not have.
        RunError: a file cannot be written.
    """
    reporter = reporter or Reporter()
    named = _find(photos, out, config)
    _check_device(device)
    settings = settings_of(config, out.resolve(), photo_frame)
    check_settings(out, settings, force)
    saving = _Saving(out, settings, tuple(kinds), photo_frame, reporter)
    jobs = [file for file in named.files if not saving.stands(file)]
    failures = [Failure(r["photo"], r["key"], r["status"], r["reason"]) for r in named.refused]
    for failure in failures:
        reporter.warn(failure.told)
    done = 0
    with reporter.task("reconstruct", len(named.files), len(named.files) - len(jobs)) as task:
        for photo, found in _reconstruct(jobs, config, device) if jobs else ():
            if isinstance(found, Failure):
                failures.append(found)
                if len(named) > 1:  # of a single photo the error tells
                    reporter.warn(found.told)
            else:
                saving.save(photo, found)
                done += 1
            task.advance(1, f"{saving.faces} faces")
    return ReconstructSummary(
        out=out,
        table=write_table(out, [asdict(failure) for failure in failures]),
        photos=len(named),
        faces=saving.faces,
        done=done,
        kept=len(named.files) - len(jobs),
        failures=failures,
        passed_over=named.scan.told,
    )


def _find(photos: Path, out: Path, config: PreprocessConfig) -> Photos:
    """The photos that a person named.

    Raises:
        UserError: there is none, or the results would lie among them.
    """
    if photos.is_file():
        file = PhotoFile(photos, photos.name, key_of(photos, photos.parent))
        return Photos([], [file], PhotoScan([photos]))
    scan = scan_photos(photos)
    if out.resolve().is_relative_to(photos.resolve()):
        raise UserError(f"--out {out}", "lies among the photos", "name a folder beside them")
    if not scan.photos:
        found = "holds no photo" if photos.is_dir() else "does not exist"
        there = f" ({'; '.join(scan.told)})" if scan.told else ""
        raise UserError(photos, found + there, "name a picture, or a folder of pictures")
    numbered = config.face_choice == "all"
    return Photos(*name_photos(scan.photos, photos, numbered), scan)


def _check_device(device: str | None) -> None:
    """Refuse a device that torch does not have."""
    if device is None:
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"--device {device}", f"cannot be used ({reason})", "give cpu or cuda"
        ) from (error)


def _reconstruct(
    files: Sequence[PhotoFile], config: PreprocessConfig, device: str | None
) -> Iterator[tuple[DecodedPhoto, Found | Failure]]:
    """Each photo with its faces, or with why there is none.

    Raises:
        SfeError: what concerns all photos: a missing model, say.
    """
    detector = photo_detector(config, device)
    reconstructor = load_reconstructor(
        config.reconstruction, device, config.reconstruction_model, config.flame
    )
    jobs = (PhotoJob(file.path, file.photo, file.key, "") for file in files)
    for photo in decode_ahead(jobs, config, _DECODING_THREADS):
        status, reason = "failed", ""
        try:
            yield photo, faces_in_photo(photo, config, detector, lambda: reconstructor)
            continue
        except SkippedPhotoError as skipped:
            status, reason = skipped.status, skipped.reason
        except SfeError:
            raise
        except Exception as error:  # one odd photo must not end a run over thousands
            reason = f"{type(error).__name__}: {error}"
        yield photo, Failure(photo.job.photo, photo.job.key, status, reason)


class _Saving:
    """Writes the wanted kinds of the faces of photos, and knows what stands from before.

    Attributes:
        faces: how many there are of the photos seen so far.
    """

    def __init__(
        self,
        out: Path,
        settings: Settings,
        kinds: tuple[str, ...],
        photo_frame: bool,
        reporter: Reporter,
    ) -> None:
        self._out, self._settings, self._kinds = out, settings, kinds
        self._photo_frame, self._reporter = photo_frame, reporter
        self._told_colourless = self._wrote_settings = False
        self.faces = 0

    def stands(self, file: PhotoFile) -> bool:
        """Whether all that is wanted of a photo is there."""
        record = read_record(record_path(self._out, file.key))
        if record is None or not self._is_of(record, file.photo, lambda: sha256_file(file.path)):
            return False
        if record.missing(self._out, self._kinds):
            return False
        self.faces += len(record.faces)
        return True

    def save(self, photo: DecodedPhoto, found: Found) -> None:
        """Write what is not there of a photo's faces, then its record."""
        if not self._wrote_settings:  # only now: a call that comes to nothing claims no folder
            write_settings(self._out, self._settings)
            self._wrote_settings = True
        name, key, sha256 = photo.job.photo, photo.job.key, photo.sha256
        saved = [
            SavedFace(key if number == 1 else f"{key}#{number}", face, scene, self._photo_frame)
            for number, (face, scene) in enumerate(found, start=1)
        ]
        rows = [face_row(face, name, number) for number, face in enumerate(saved, start=1)]
        before = read_record(record_path(self._out, key))
        record = Record(name, sha256, self._settings.sha256, rows)
        if before is not None and self._is_of(before, name, lambda: sha256):
            record.files = dict(before.files)
        wanted = record.missing(self._out, self._kinds)
        for kind in wanted:
            record.files[kind] = [
                path.relative_to(self._out).as_posix()
                for face in saved
                for path in OUTPUTS[kind](face, self._out)
            ]
        self._tell_colourless(saved, wanted)
        if before is not None:
            remove_files(
                self._out, before, [name for group in record.files.values() for name in group]
            )
        write_record(self._out, key, record)
        self.faces += len(saved)

    def _is_of(self, record: Record, photo: str, sha256: Callable[[], str]) -> bool:
        """Whether a record is of the same photo and settings."""
        if (record.photo, record.settings) != (photo, self._settings.sha256):
            return False
        try:
            return record.sha256 == sha256()
        except OSError:
            return False

    def _tell_colourless(self, saved: Sequence[SavedFace], kinds: Sequence[str]) -> None:
        """Say once that there is no colour, where it was wanted."""
        asked = not self._told_colourless and not {"renders", "meshes"}.isdisjoint(kinds)
        if asked and not all(knows_colour(face.scene) for face in saved):
            self._told_colourless = True
            self._reporter.warn(
                "without albedo, Lambertian and colours of meshes: the reconstruction has no "
                "texture model; see `sfe assets list` for it"
            )
