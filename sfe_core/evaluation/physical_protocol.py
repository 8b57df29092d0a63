"""`sfe evaluate --protocol physical`: do a rig's edits show what was asked, and nothing else?

Held-out photos take expression, pose and light from others of the split, each alone and all in one
picture. The pictures are fitted again, as Ding et al. 2023 (https://arxiv.org/abs/2304.06711, table
1) did, where possible by a reconstruction that the edit did not use. Beside them stands each photo
drawn back from its own buffers: no edit is better than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.buffers import require_buffers
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.physical.loading import rig_config
from sfe_core.errors import UserError
from sfe_core.evaluation.bench import Bench, instruments_of
from sfe_core.evaluation.choices import with_embedder
from sfe_core.evaluation.instruments.edit_probes import OUTSIDE
from sfe_core.evaluation.instruments.face_probe import identity_name
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.limits import not_independent
from sfe_core.evaluation.origin import provenance
from sfe_core.evaluation.physical_commands import (
    PhysicalCommand,
    chosen_photos,
    physical_commands,
    write_physical_commands,
)
from sfe_core.evaluation.physical_drawing import PhysicalDrawing
from sfe_core.evaluation.physical_faces import PhysicalFaces
from sfe_core.evaluation.physical_reading import EditedPhotos, add_probes, looks_again
from sfe_core.evaluation.physical_scoring import PhysicalCourse
from sfe_core.evaluation.pictures import DrawnPictures, RealPictures, given_pictures
from sfe_core.evaluation.protocol import COMMANDS, FOLDER
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.reporting.physical_outputs import write_physical
from sfe_core.evaluation.summary import (
    REAL,
    EvaluationSummary,
    PhysicalResult,
    Provenance,
    Reference,
)
from sfe_core.faces.reconstruction import HeadChange
from sfe_core.files import check_key, sha256_json
from sfe_core.packaging.listing import of_package
from sfe_core.reporting import Reporter
from sfe_core.sampling.editing.rigs import Rig, find_rig

PHYSICAL = "physical"


def evaluate_physical(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
    images: Mapping[str, Path] | None = None,
    name: str | None = None,
    exact: Mapping[str, HeadChange] | None = None,
) -> EvaluationSummary:
    """Measure the edits of a rig on held-out photos of its corpus.

    Everything lands in evaluation/physical/; see `evaluate` for what is not said here. Edits of
    several rigs stand side by side as `images`, for example generated/protocols/physical-…

    Args:
        split: whose photos are edited; None = the validation split of sfe.yaml. Of a rig that
            learnt one person, those of that person.
        package: a rig; None = the newest of the workspace, or the base.
        images: name → folder of pictures by the names of commands.csv.
        exact: of photos, by key, what they really show, where that is known (synthetic people):
            what is asked is then that, and not what was fitted to them.

    Raises:
        UserError: no rig, no two held-out photos, no buffers of them, no embedder.
        RunError: see `draw_edits`.
    """
    reporter, images = reporter or Reporter(), images or {}
    rig = None
    if not images:
        rig = find_rig(workspace, None if package is None else str(package), reporter)
        workspace = of_package(workspace, rig.place)
    split = split or workspace.config.split.validation_name
    corpus, config = Corpus.open(workspace), workspace.config
    keys = chosen_photos(corpus.split(split)["key"].tolist(), config.evaluate.protocol_photos)
    commands = physical_commands(keys, config.evaluate.edits_per_photo, config.sampling.seed)
    require_buffers(corpus, corpus.rows[corpus.rows["key"].isin(keys)])
    size = _size(workspace, rig)
    workspace, left_out = with_embedder(workspace, corpus, keys)
    meter = Meter(workspace.config)
    folder = workspace.evaluation / check_key(name or "-".join([PHYSICAL, *images]), "--name")
    write_physical_commands(folder / COMMANDS, commands)
    faces = PhysicalFaces(corpus, workspace.config.preprocess, size, rig, exact)
    probes = add_probes(meter, workspace.config, faces, commands)
    bench = Bench(workspace, corpus, split, RealPictures(corpus), meter, reporter)
    pictures = given_pictures(images, [one.name for one in commands])
    if rig is not None:
        protocols = workspace.generated / FOLDER
        drawing = PhysicalDrawing(workspace, rig, faces, protocols, reporter)
        pictures = {"": DrawnPictures(drawing.draw(commands))}
    photos = bench.read(f"{REAL} {PHYSICAL}", bench.photos, keys, probes)
    course = _read(bench, commands, faces, photos, pictures, probes)
    origin = _origin(workspace, corpus, rig, images)
    summary = _summed_up(course, rig, origin, left_out, folder)
    write_physical(summary, course, pictures, reporter)
    return summary


def _size(workspace: Workspace, rig: Rig | None) -> int:
    """The side of pictures; a rig's must be the one that is measured at.

    Raises:
        UserError: it is not.
    """
    side = workspace.config.model.resolution
    if rig is None:
        return side
    size = int(rig_config(rig.place, "--package")["image_size"])
    if size != side:
        raise UserError(
            "model.resolution", f"is {side}, but {rig.place.name} draws {size} px",
            f"add `--set model.resolution={size}`",
        )  # fmt: skip
    return size


def _origin(
    workspace: Workspace, corpus: Corpus, rig: Rig | None, images: Mapping[str, Path]
) -> Provenance:
    place = None if rig is None else rig.place
    found = provenance(workspace, corpus, place, {}, images)
    return found if rig is None else found.model_copy(
        update={"weights_sha256": {"rig": rig.sha256}}
    )  # fmt: skip


def _read(
    bench: Bench,
    commands: Sequence[PhysicalCommand],
    faces: PhysicalFaces,
    photos: Readings,
    pictures: Mapping[str, DrawnPictures],
    probes: Sequence[str],
) -> PhysicalCourse:
    """What was asked, and what is read off the pictures, each beside the photo that it edits."""
    config, asked = bench.workspace.config, faces.asked(commands)
    names = [command.name for command in commands]
    originals = EditedPhotos(bench.corpus, commands, asked.outside)
    read = {
        title: bench.read(f"{PHYSICAL}-{title}".rstrip("-"), one, names, probes, originals)
        for title, one in pictures.items()
    }
    independent = looks_again(config) != config.preprocess.reconstruction
    embedder = identity_name(config.evaluate.identity)
    return PhysicalCourse(bench, commands, photos, asked, independent, embedder, read)


def _summed_up(
    course: PhysicalCourse,
    rig: Rig | None,
    origin: Provenance,
    left_out: Sequence[str],
    folder: Path,
) -> EvaluationSummary:
    bench, config = course.bench, course.bench.workspace.config
    metrics, scores = course.scored()
    instruments = {
        title: tool
        for title, tool in instruments_of(
            bench.workspace, bench.meter, None if rig is None else rig.place
        ).items()
        if title in course.photos.columns or title in (bench.meter.perceptual, OUTSIDE)
    }
    return EvaluationSummary(
        split=PHYSICAL,
        keys_sha256=sha256_json([vars(command) for command in course.commands]),
        pictures=len(course.commands),
        resolution=bench.meter.resolution,
        emotions={},
        reference=Reference(split=bench.split, n=0, reason="the protocol asks for no distance"),
        sets={name: info for name, (info, _, _) in course.sets().items()},
        baseline="",
        instruments=instruments,
        metrics=metrics,
        scores=scores,
        deltas={},
        tests={},
        confusion={},
        physical=PhysicalResult(
            photos=len({command.key for command in course.commands}),
            edits=config.evaluate.edits_per_photo,
            embedder=bench.meter.instruments[course.embedder].backend,
            edited_by=config.preprocess.reconstruction,
            found_by=looks_again(config),
            sets=course.results(),
        ),
        excluded={title or "package": read.faulty() for title, read in course.read.items()},
        notes=[*left_out, *not_independent(instruments), *_notes(course, rig)],
        provenance=origin,
        folder=folder,
    )


def _notes(course: PhysicalCourse, rig: Rig | None) -> Iterator[str]:
    """What a reader must know before quoting a number."""
    photos = len({command.key for command in course.commands})
    yield f"intervals are over {photos} photos, each with all of its pictures"
    if course.independent:
        return
    backend = course.bench.workspace.config.preprocess.reconstruction
    yield (
        f"{backend} fitted the edited pictures again, and made the edits: what it misreads on "
        "photo and picture alike is no error here; set evaluate.reconstruction for another"
    )
    if rig is None:
        yield "of pictures made elsewhere, shape is held against each photo's own"
    elif rig.mean_shape:
        yield "shape is held against the album's mean shape, which the rig learnt"
