"""Every face of some photos reconstructed, and its mesh, codes and pictures written as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.photo_files import PhotoScan, scan_photos
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob
from sfe_core.corpus.preprocessing.photos import PhotoFile, Photos, name_photos
from sfe_core.corpus.preprocessing.placement import place_preprocess
from sfe_core.corpus.preprocessing.plan import batch_size, useful_workers
from sfe_core.corpus.preprocessing.pool import answers_of_batches, end_with_parent
from sfe_core.corpus.preprocessing.shard import decode_threads
from sfe_core.corpus.reconstruction.outputs import USUAL
from sfe_core.corpus.reconstruction.records import check_settings, settings_of, write_table
from sfe_core.corpus.reconstruction.saving import (
    Failure,
    Saved,
    Saving,
    load_tools,
    outcomes_of,
)
from sfe_core.errors import RunError, UserError
from sfe_core.files import key_of
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter

_COLOURLESS = (
    "without albedo, Lambertian and colours of meshes: the reconstruction has no texture model; "
    "see `sfe assets list` for it"
)


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
    workers: int | None = 1,
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
        workers: processes on the CPU, 0 for one per core; None: as `place_preprocess` has it; 1:
            this process, on `device`. Few photos need no others. A script that may start several
            needs `if __name__ == "__main__":`.

    Raises:
        UserError: no photo there, `out` among them or full of results of other settings, models
            that are not there, a device that torch does not have, or not for several processes.
        RunError: a file cannot be written, or a worker died.
    """
    reporter = reporter or Reporter()
    named = _find(photos, out, config)
    _check_device(device)
    placement = _place(config, device, workers)
    settings = settings_of(config, out.resolve(), photo_frame)
    check_settings(out, settings, force)
    saving = Saving(out, settings, tuple(kinds), photo_frame, config, device, 1)
    standing = [saving.faces_standing(file) for file in named.files]
    jobs = [
        PhotoJob(file.path, file.photo, file.key, "")
        for file, faces in zip(named.files, standing, strict=True)
        if faces is None
    ]
    failures = [Failure(r["photo"], r["key"], r["status"], r["reason"]) for r in named.refused]
    for failure in failures:
        reporter.warn(failure.told)
    faces, done, told_colourless = sum(filter(None, standing)), 0, False
    with reporter.task("reconstruct", len(named.files), len(named.files) - len(jobs)) as task:
        for outcome in _outcomes(saving, jobs, placement) if jobs else ():
            if isinstance(outcome, Failure):
                failures.append(outcome)
                if len(named) > 1:  # of a single photo the error tells
                    reporter.warn(outcome.told)
            else:
                faces, done = faces + outcome.faces, done + 1
                if outcome.colourless and not told_colourless:
                    reporter.warn(_COLOURLESS)
                    told_colourless = True
            task.advance(1, f"{faces} faces")
    failures.sort(key=lambda failure: failure.photo)  # whoever was done first
    return ReconstructSummary(
        out=out,
        table=write_table(out, [asdict(failure) for failure in failures]),
        photos=len(named),
        faces=faces,
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


def _place(config: PreprocessConfig, device: str | None, workers: int | None) -> Placement:
    """Where the photos are worked on.

    Raises:
        UserError: several processes are asked for on a device that is not the CPU.
    """
    if device not in (None, "cpu"):
        if workers not in (None, 1):
            raise UserError(
                f"--workers {workers}", "are processes on the CPU", f"leave out --device {device}"
            )
        return Placement("cuda", 1)
    if workers == 1:
        return Placement("cpu", 1)
    if workers is None and device == "cpu":
        workers = config.workers
    # Nobody asks for the depth here.
    return place_preprocess(config.model_copy(update={"depth": "mesh"}), None, workers)


def _outcomes(
    saving: Saving, jobs: Sequence[PhotoJob], placement: Placement
) -> Iterator[Saved | Failure]:
    """What became of each photo, as they come.

    Raises:
        SfeError: what concerns all photos: a missing model, a worker that died.
    """
    workers = useful_workers(placement.processes, len(jobs))
    device = "cpu" if placement.device == "cpu" and placement.processes > 1 else saving.device
    saving = replace(saving, device=device, threads=decode_threads(workers))
    if workers == 1:
        yield from saving.outcomes(jobs, load_tools(saving.config, saving.device))
        return
    source, size = iter(jobs), batch_size(jobs, workers)
    parts = iter(lambda: tuple(islice(source, size)), ())
    answers = answers_of_batches(
        partial(outcomes_of, saving),
        parts,
        workers,
        prepare=partial(outcomes_of, saving, ()),
        join=end_with_parent,
        what="sfe reconstruct",
    )
    for _, outcomes in answers:
        yield from outcomes
