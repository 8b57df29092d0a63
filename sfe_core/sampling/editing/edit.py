"""Editing photos, each picture drawn once and found again.

A head is fitted to every photo, changed as asked and rendered; a rig draws the photo that belongs
to it, with the look of the old one (Ding et al. 2023, https://arxiv.org/abs/2304.06711).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfe_core.arrays import Floats
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.edited_scene import scene_of_person
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.kinds import has_detail
from sfe_core.corpus.people.albums import person_of
from sfe_core.corpus.people.mean_shape import album_shape
from sfe_core.corpus.preprocessing.single_photo import (
    PhotoScenes,
    buffers_of_scene,
    picture_of_scene,
)
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.physical.loading import rig_config
from sfe_core.diffusion.physical.pipeline import RigPipeline, load_rig_pipeline
from sfe_core.errors import RunError, UserError
from sfe_core.files import sha256_json, write_json
from sfe_core.network_layout import to_channels_last
from sfe_core.processes.threads import ThreadWatch
from sfe_core.quiet import quiet_libraries
from sfe_core.reporting import Reporter
from sfe_core.sampling.editing.axes import read_edit_axes
from sfe_core.sampling.editing.drawing import DrawnEdit, EditJob, draw_edits, to_picture
from sfe_core.sampling.editing.faces import codes_record, edited_scene
from sfe_core.sampling.editing.in_photo import PhotoLayer, stands_in_photo
from sfe_core.sampling.editing.plan import (
    EditShot,
    Source,
    find_sources,
    key_in_workspace,
    plan_edits,
    reconstructed_by,
)
from sfe_core.sampling.editing.request import EditRequest
from sfe_core.sampling.editing.rigs import Rig, find_rig
from sfe_core.sampling.editing.sheets import buffers_strip, write_grids, write_sheets
from sfe_core.sampling.editing.surround import surround_share
from sfe_core.sampling.editing.terms import ExpressionTerms
from sfe_core.sampling.pipelines import sampling_device, sampling_precision
from sfe_core.sampling.pngs import read_record, read_remarks, save_png
from sfe_core.wording import listed

FOLDER, REPORT = "edits", "edits.json"
Shapes = dict[Source, Floats | None]
_SLUG_LENGTH = 40
_NAMED = 3


@dataclass(frozen=True)
class Edited:
    """What a request made.

    Args:
        folder: holds the pictures.
        pictures: in order, of the photos that show a face.
        sheets: contact sheets: photo, buffers, picture.
        grids: of a sweep, one a photo.
        report: JSON of what was asked and what became of it.
        drawn: pictures drawn now; the others stood from before.
        redrawn: pictures that were noisy and drawn again, in this call or before.
        noisy: pictures that stayed noisy.
        skipped: photos without a usable face: why.
        in_photo: the pictures in their photos, in the order of `pictures`, where asked for.
    """

    folder: Path
    pictures: tuple[Path, ...]
    sheets: tuple[Path, ...]
    grids: tuple[Path, ...]
    report: Path
    drawn: int
    redrawn: tuple[str, ...] = ()
    noisy: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    in_photo: tuple[Path, ...] = ()


def edit(
    workspace: Workspace,
    request: EditRequest,
    package: str | None = None,
    reporter: Reporter | None = None,
    folder: Path | None = None,
) -> Edited:
    """Edit photos with a rig.

    Pictures that lie there as asked for are kept, so that a killed run goes on where it was.

    Args:
        workspace: says how faces are found, cropped and fitted.
        request: which photos, and what is to change.
        package: name or path of a rig; None: the newest of the workspace.
        reporter: told of progress, noisy pictures and photos without a face.
        folder: where the pictures go; None: `generated/edits/<words>-<hash>/`.

    Raises:
        UserError: no rig, no face in a photo named by itself, what cannot be asked of a face, or a
            file in `folder` that would be overwritten and is no picture of ours.
        RunError: values that are not finite, out of memory, a full disk.
    """
    reporter = reporter or Reporter()
    sources = find_sources(workspace, request.sources)
    rig = find_rig(workspace, package, reporter)
    _warn_of_strangers(sources, request, rig, reporter)
    run = _Run(workspace, request, rig, reporter)
    shapes = [run.shape_of(source) for source in sources]
    hashes = [None if shape is None else sha256(shape.tobytes()).hexdigest() for shape in shapes]
    shots = plan_edits(workspace, request, sources, run.drawn_with, hashes)
    asked = _told(request)
    name = f"{_slug(asked)}-{sha256_json([shot.record for shot in shots])[:8]}"
    target = folder or workspace.generated / FOLDER / name
    _check_own(target, shots, request.in_photo)
    missing = [shot for shot in shots if read_record(target / shot.file) != shot.record]
    skipped = run.carry_out(target, shots, missing, dict(zip(sources, shapes, strict=True)))
    made = [shot for shot in shots if shot.source.key not in skipped]
    if not made:
        raise UserError("PHOTO", "shows no usable face", next(iter(skipped.values()), ""))
    drawn = sum(shot.source.key not in skipped for shot in missing)
    return _summary(target, request, rig, made, drawn, skipped, asked, reporter)


def _warn_of_strangers(
    sources: Sequence[Source], request: EditRequest, rig: Rig, reporter: Reporter
) -> None:
    """Tell of photos from another album than the one that the rig learnt: they get its looks."""
    if rig.person is None or request.person is not None:
        return
    known = [one for one in sources if one.person is not None and one.person != rig.person]
    if known:
        reporter.warn(
            f"{rig.place.name} learnt the looks of {rig.person}, and {known[0].key} is of "
            f"{known[0].person}'s album: name that person's rig with --package"
        )


class _Run:
    """What all pictures of a request share: models, targets, the shapes of people."""

    def __init__(
        self, workspace: Workspace, request: EditRequest, rig: Rig, reporter: Reporter
    ) -> None:
        self._workspace, self._request, self._rig = workspace, request, rig
        self._reporter = reporter
        config = workspace.config.preprocess
        self._source_config = reconstructed_by(config, request.source_reconstruction)
        self._target_config = reconstructed_by(config, request.target_reconstruction)
        self._size = int(rig_config(rig.place, "--package")["image_size"])
        self._terms = ExpressionTerms(config.flame)
        self._shapes: dict[str, Floats | None] = {}

    @property
    def drawn_with(self) -> dict[str, Any]:
        """What decides every picture beside face and seed."""
        return {
            "rig": self._rig.sha256,
            "size": self._size,
            "sampler": self._request.sampler,
            "steps": self._request.steps,
            "precision": str(self._precision),
            "target_shapes": {
                name: sha256(shape.tobytes()).hexdigest()
                for name, photo in self._request.edit.targets.items()
                if (shape := self._shape_of_target(photo)) is not None
            },
        }

    def shape_of(self, source: Source) -> Floats | None:
        """The mean shape that a photo's head is given, None for its own.

        The one that came with the rig, or that of the album in the corpus.

        Raises:
            UserError: it is asked for, and the person or the album is not known.
        """
        request, rig = self._request, self._rig
        if not self._wants_mean_shape:
            return None
        if rig.shape is not None and request.person in (None, rig.shape.person):
            self._check_terms(rig.shape.reconstruction)
            return rig.shape.shape
        person = request.person or rig.person or source.person
        if person is None:
            if request.mean_shape:
                raise UserError("--mean-shape", f"{source.key}: whose?", "add --person NAME")
            self._reporter.warn(f"{source.key}: of no known person, drawn with its own shape")
            return None
        if person not in self._shapes:
            self._shapes[person] = self._mean_shape(person)
        return self._shapes[person]

    @property
    def _wants_mean_shape(self) -> bool:
        """Whether heads are given a mean shape: as asked, or else as the rig learnt."""
        asked = self._request.mean_shape
        return self._rig.mean_shape if asked is None else asked

    def _shape_of_target(self, photo: Path) -> Floats | None:
        """The mean shape under which a target's head is found; None: its own.

        Of a photo of the album that the rig learnt: two heads of one person then differ by what
        they show alone.
        """
        known, key = self._rig.shape, key_in_workspace(self._workspace, photo)
        if not self._wants_mean_shape or self._target_config != self._source_config:
            return None
        if known is None or key is None or person_of(key) != known.person:
            return None
        return known.shape

    def carry_out(
        self,
        folder: Path,
        shots: Sequence[EditShot],
        missing: Sequence[EditShot],
        shapes: Shapes,
    ) -> dict[str, str]:
        """Draw the missing of some pictures, and lay them and the others into their photos.

        Returns:
            The photos that show no usable face, and why.
        """
        skipped: dict[str, str] = {}
        layer = None
        if self._request.in_photo:
            layer = PhotoLayer(folder, self._workspace.config.preprocess)
        if missing:
            self._draw(folder, missing, shapes, skipped, layer)
        if layer is not None:
            drawn = {shot.file for shot in missing}
            stood = [shot for shot in shots if shot.file not in drawn]
            bare = [shot for shot in stood if not stands_in_photo(folder, shot)]
            if bare:
                self._lay(folder, bare, shapes, skipped, layer)
        return skipped

    def _draw(
        self,
        folder: Path,
        shots: Sequence[EditShot],
        shapes: Shapes,
        skipped: dict[str, str],
        layer: PhotoLayer | None,
    ) -> None:
        at_once = self._workspace.config.sampling.batch_size
        waiting: list[EditJob] = []
        with (
            ThreadWatch(self._pipeline.device.type, self._reporter) as threads,
            self._reporter.task("editing", len(shots)) as task,
        ):
            jobs = self._jobs(folder, shots, shapes, skipped)
            while True:
                job = next(jobs, None)
                waiting += [] if job is None else [job]
                if waiting and (job is None or len(waiting) == at_once):
                    with threads.piece():
                        drawn = draw_edits(
                            self._pipeline, waiting, self._request.steps, self._request.redraws
                        )
                    for one in drawn:
                        _save(folder, one)
                        if layer is not None and one.job.square is not None:
                            layer.lay(one.job.shot, one.picture, one.job.square, one.job.kept)
                        task.advance()
                    waiting = []
                if job is None:
                    return

    def _lay(
        self,
        folder: Path,
        shots: Sequence[EditShot],
        shapes: Shapes,
        skipped: dict[str, str],
        layer: PhotoLayer,
    ) -> None:
        """Lay pictures that stand into their photos: these are fitted again, nothing is drawn."""
        with self._reporter.task("laying into the photos", len(shots)) as task:
            for scene, own in self._scenes(shots, shapes, skipped):
                keeps = self._request.keep_surround
                before = buffers_of_scene(scene, self._size) if keeps else None
                for shot in own:
                    kept = None
                    if before is not None:
                        changed = edited_scene(scene, shot.edit, self._targets, self._terms)
                        after = buffers_of_scene(changed, self._size)
                        kept = surround_share(_hit(before), _hit(after))
                    with Image.open(folder / shot.file) as file:
                        picture = np.asarray(file.convert("RGB"))
                    layer.lay(shot, picture, scene.transform, kept)
                    task.advance()

    def _scenes(
        self, shots: Sequence[EditShot], shapes: Shapes, skipped: dict[str, str]
    ) -> Iterator[tuple[FaceScene, list[EditShot]]]:
        """Each photo's face with the shape it is to have, fitted once, and its pictures."""
        for source in dict.fromkeys(shot.source for shot in shots):
            try:
                scene = self._sources.scene(source.photo)
            except UserError as error:
                if source.photo in self._request.sources:
                    raise
                skipped[source.key] = error.problem
                continue
            shape = shapes[source]
            if shape is not None:
                scene = scene_of_person(scene, shape)
            yield scene, [shot for shot in shots if shot.source == source]

    def _jobs(
        self, folder: Path, shots: Sequence[EditShot], shapes: Shapes, skipped: dict[str, str]
    ) -> Iterator[EditJob]:
        """The pictures ready to be drawn, their buffers written."""
        for scene, own in self._scenes(shots, shapes, skipped):
            picture = picture_of_scene(scene, self._size)
            before = buffers_of_scene(scene, self._size)
            look = self._targets.get("look")
            seen = picture if look is None else picture_of_scene(look, self._size)
            code = self._pipeline.encode(seen[None])[0]
            for shot in own:
                yield self._job(folder, shot, scene, (picture, before, code))

    def _job(
        self,
        folder: Path,
        shot: EditShot,
        scene: FaceScene,
        seen: tuple[Tensor, Tensor, Tensor],
    ) -> EditJob:
        """`seen` are picture, buffers and code of the source."""
        picture, before, code = seen
        changed = edited_scene(scene, shot.edit, self._targets, self._terms)
        buffers = buffers_of_scene(changed, self._size)
        source = to_picture(picture)
        with_strip = folder / shot.buffers
        save_png(buffers_strip(source, buffers.numpy()), with_strip, {"of": shot.record})
        kept = None
        if self._request.keep_surround:
            kept = surround_share(_hit(before), _hit(buffers))
        faces = {"source": codes_record(scene.head), "edited": codes_record(changed.head)}
        return EditJob(shot, buffers, code, source, kept, faces, scene.transform)

    def _mean_shape(self, person: str) -> Floats | None:
        """Of a person's album in the corpus.

        Raises:
            UserError: the corpus has no such album, or its heads are of another kind.
        """
        config = self._workspace.config.preprocess
        try:
            rows = Corpus(self._workspace.corpus).rows
        except (UserError, RunError):
            rows = None
        keys = [] if rows is None else [key for key in rows["key"] if person_of(key) == person]
        if not keys:
            if self._request.mean_shape or self._request.person:
                raise UserError(
                    "--person", f"the corpus has no album of {person!r}", "run `sfe preprocess`"
                )
            self._reporter.warn(
                f"the rig learnt the mean shape of {person or 'its album'}, of which the corpus "
                "has no photo: drawn with each photo's own shape"
            )
            return None
        self._check_terms(config.reconstruction)
        return album_shape(self._workspace.corpus, person, keys)

    def _check_terms(self, reconstruction: str) -> None:
        """Refuse a mean shape of heads that one reconstruction fitted for those of another.

        Raises:
            UserError: their numbers mean other things.
        """
        fitted = reconstructed_by(self._workspace.config.preprocess, reconstruction)
        if has_detail(fitted) != has_detail(self._source_config):
            raise UserError(
                "--source-reconstruction",
                f"the album's mean shape is in terms of {reconstruction}",
                "choose that, or --no-mean-shape",
            )

    @cached_property
    def _sources(self) -> PhotoScenes:
        return PhotoScenes(self._source_config)

    @cached_property
    def _targets(self) -> dict[str, FaceScene]:
        """Faces that something is taken from; all edits of a request take from the same."""
        photos = self._request.edit.targets
        if not photos:
            return {}
        same = self._target_config == self._source_config
        scenes = self._sources if same else PhotoScenes(self._target_config)
        found = {photo: scenes.scene(photo) for photo in dict.fromkeys(photos.values())}
        for photo, scene in found.items():
            if (shape := self._shape_of_target(photo)) is not None:
                found[photo] = scene_of_person(scene, shape)
        return {name: found[photo] for name, photo in photos.items()}

    @cached_property
    def _precision(self) -> torch.dtype:
        return sampling_precision(sampling_device(), self._workspace.config.sampling.precision)

    @cached_property
    def _pipeline(self) -> RigPipeline:
        sampler: Any = self._request.sampler
        with quiet_libraries():
            pipeline = load_rig_pipeline(self._rig.place, sampler, "--package")
            pipeline.to(device=sampling_device(), dtype=self._precision)
        to_channels_last(pipeline.rig)
        return pipeline


def _hit(buffers: Tensor) -> Any:
    """[S, S] where a face's buffers [9, S, S] show it."""
    return (buffers[3:6] != 0).any(dim=0).numpy()


def _save(folder: Path, drawn: DrawnEdit) -> None:
    shot = drawn.job.shot
    path = folder / shot.file
    save_png(Image.fromarray(drawn.picture), path, shot.record, drawn.remarks())


def _check_own(folder: Path, shots: Sequence[EditShot], in_photo: bool) -> None:
    for shot in shots:
        for name in (shot.file, shot.in_photo) if in_photo else (shot.file,):
            path = folder / name
            if path.exists() and read_record(path) is None:
                raise UserError(path, "exists and was not drawn by sfe", "give another --out")


def _told(request: EditRequest) -> str:
    swept = [axis.name for axis in read_edit_axes(request.sweep, request.count)]
    parts = [request.edit.told(), f"along {' x '.join(swept)}" if swept else ""]
    return ", ".join(part for part in parts if part)


def _slug(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text.lower())[:_SLUG_LENGTH].strip("-")


def _summary(
    folder: Path,
    request: EditRequest,
    rig: Rig,
    shots: Sequence[EditShot],
    drawn: int,
    skipped: dict[str, str],
    asked: str,
    reporter: Reporter,
) -> Edited:
    """Sheets, grids and the report of what lies in the folder now."""
    remarks = {shot.file: read_remarks(folder / shot.file) for shot in shots}
    redrawn = tuple(name for name, one in remarks.items() if one.get("redrawn"))
    noisy = tuple(name for name, one in remarks.items() if one.get("noisy"))
    axes = read_edit_axes(request.sweep, request.count)
    grids = write_grids(folder, shots, len(axes[0].values), asked) if axes else []
    report = {
        "asked": asked,
        "rig": rig.place.name,
        "pictures": [_entry(shot, remarks[shot.file], request.in_photo) for shot in shots],
        "skipped": skipped,
    }
    write_json(folder / REPORT, report)
    if redrawn:
        reporter.say(
            f"{len(redrawn)} of {len(shots)} pictures were noisy and drawn again with another "
            f"seed: {listed(redrawn, _NAMED)}"
        )
    if noisy:
        reporter.warn(
            f"{len(noisy)} of {len(shots)} pictures stay noisy: {listed(noisy, _NAMED)}; try more "
            "--steps, another --seed, or a smaller --strength"
        )
    for key, why in skipped.items():
        reporter.warn(f"{key} is left out: {why}")
    return Edited(
        folder,
        tuple(folder / shot.file for shot in shots),
        tuple(write_sheets(folder, shots, asked)),
        tuple(grids),
        folder / REPORT,
        drawn,
        redrawn,
        noisy,
        skipped,
        tuple(folder / shot.in_photo for shot in shots if request.in_photo),
    )


def _entry(shot: EditShot, remarks: dict[str, Any], in_photo: bool) -> dict[str, Any]:
    """A picture as the report has it: what was asked, and the face in numbers."""
    return {
        "file": shot.file,
        "buffers": shot.buffers,
        **({"in_photo": shot.in_photo} if in_photo else {}),
        "key": shot.source.key,
        "label": shot.label,
        "asked": json.loads(json.dumps(shot.edit.record())),
        **remarks,
    }
