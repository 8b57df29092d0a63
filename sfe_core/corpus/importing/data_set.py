"""Importing a data set: read, match, place the images, merge labels and captions, list problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.label_file import read_label_file
from sfe_core.corpus.artefacts.given_maps import given_mesh_path
from sfe_core.corpus.importing.concept_folders import told_beside
from sfe_core.corpus.importing.entries import Problems
from sfe_core.corpus.importing.formats import RIG_DATABASE, Source
from sfe_core.corpus.importing.lists import ignored_columns, told_columns
from sfe_core.corpus.importing.matching import Face, ImageFolder, match
from sfe_core.corpus.importing.merging import merge_captions, merge_labels
from sfe_core.corpus.importing.open_list import (
    NoPictureError,
    names_inside,
    pictures_inside,
)
from sfe_core.corpus.importing.placing import OccupiedError, Way, place, write_picture
from sfe_core.corpus.importing.problem_list import (
    brings_nothing,
    first_reasons,
    problem_list_path,
    write_problems,
)
from sfe_core.corpus.importing.rig_database import (
    person_of_database,
    write_buffers,
    write_mean_shape,
)
from sfe_core.corpus.importing.unit_lists import told_of_units
from sfe_core.errors import UserError
from sfe_core.files import check_key
from sfe_core.reporting import Reporter


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        source: the data set.
        faces: images that would be taken in, by key.
        placing: whether images must be put into the photos folder, or lie there already.
        columns_ignored: columns of a list that are not taken over.
        problems: what was passed over.
        problem_list: the CSV of these; None if there are none.
        unnamed: images in the folder that the data set says nothing of.
        columns_told: what values told of columns whose names do not, a sentence each.
        container: the file or data base that holds the images; None where they are files.
        prefix: the folder below photos/ of the images in a container; "" for photos/ itself.
    """

    source: Source
    faces: dict[str, Face]
    placing: bool
    columns_ignored: list[str]
    problems: Problems
    problem_list: Path | None = None
    unnamed: int = 0
    columns_told: Sequence[str] = ()
    container: Path | None = None
    prefix: str = ""

    @property
    def emotion_counts(self) -> dict[str, int]:
        """Images by emotion, most frequent first."""
        named = Counter(face.labels.get("emotion", "unlabelled") for face in self.faces.values())
        return dict(named.most_common())


@dataclass(frozen=True)
class ImportSummary:
    """What an import did; `problem_list` is the CSV of everything passed over, None if nothing."""

    images: int
    placed: int  # written now; the others stood there
    labelled: int
    captioned: int
    renders: int  # that came with the images
    emotion_counts: dict[str, int]
    problem_counts: dict[str, int]
    problem_list: Path | None
    columns_ignored: list[str]
    scheme: str | None  # how numbered classes were meant
    doubt: str  # what speaks against it
    unnamed: int = 0  # images in the folder that the data set says nothing of
    columns_told: Sequence[str] = ()  # what values told of columns whose names do not
    problems_told: Sequence[str] = ()  # the first reasons, in words
    mean_shape: Path | None = None  # of an album's person, as it came with the images


def plan_import(
    workspace: Workspace,
    source: Source,
    images: Path | None = None,
    into: str = "",
    keep_unlabelled: bool = False,
) -> ImportPlan:
    """Read a data set and find its images; writes nothing but the list of what is passed over.

    Args:
        workspace: where it is to go.
        source: the data set.
        images: folder of its images; by default the set's own folder, or for a list the photos
            that are in the workspace already.
        into: sub-folder of photos/ for its images, so that two sets cannot meet; for a list about
            photos in the workspace, the sub-folder it is about.
        keep_unlabelled: also take images that the list says show none of the eight emotions.

    Raises:
        UserError: the data set is of another form, or none of its images is there.
    """
    problems = Problems()
    container = source.container
    beside = images is None or images.resolve() == source.path.resolve().parent
    if container is not None and (container == source.path or beside):
        folder, placing = container, True
        prefix = check_key(into, "--into").strip("/") if into else ""
        if source.form == RIG_DATABASE:
            prefix = person_of_database(folder, into)
        index = ImageFolder(folder, [folder / name for name in names_inside(folder)])
    else:
        folder, prefix, placing = _image_folder(workspace, source, images, into)
        index = ImageFolder(folder)
    entries = source.read(index.by_key.keys(), problems)
    faces = match(
        entries,
        index,
        problems,
        prefix,
        keep_unlabelled,
        renaming=placing,
        shortening=source.form == "captions",
    )
    listed = write_problems(problem_list_path(workspace.root, source.path), problems)
    if not faces:
        raise brings_nothing(source.path, problems, folder, len(index.by_key), listed)
    ignored = ignored_columns(source.path) if source.form == "list" else []
    told = _told_of(source, folder, index.unnamed)
    # Readers of folders look at every image themselves.
    unnamed = (
        0 if source.form in ("folders", "affectnet-arrays", "emoca", "texts") else index.unnamed
    )
    inside = container if folder == container else None
    return ImportPlan(
        source, faces, placing, ignored, problems, listed, unnamed, told, inside, prefix
    )


def _told_of(source: Source, folder: Path, unnamed: int) -> list[str]:
    """What values told of columns, or what comes along; `unnamed`: images that are no photos."""
    if source.form == "list":
        return told_columns(source.path)
    if source.form == "unit-list":
        return told_of_units(source.path, source.units)
    if source.form == RIG_DATABASE:
        return ["normals, albedo, Lambertian and codes come along, to be taken as they are"]
    if source.form == "texts":
        return told_beside(source.path, source.scheme)
    if source.form == "emoca" and folder == source.path.resolve():
        return [f"{unnamed} other pictures beside the inputs (renders, landmarks) are not photos"]
    return []


def _image_folder(
    workspace: Workspace, source: Source, images: Path | None, into: str
) -> tuple[Path, str, bool]:
    """Where the images are, the folder to put before their keys, and whether they must be placed.

    Raises:
        UserError: no such folder, or `into` leaves the photos folder.
    """
    into = check_key(into, "--into").strip("/") if into else ""
    photos = workspace.photos
    folder = (images or source.images or photos / into).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(folder, "is not a folder", "name the folder of the images with --images")
    if not folder.is_relative_to(photos.resolve()):
        return folder, into, True
    within = folder.relative_to(photos.resolve()).as_posix()
    if into and within != into:
        raise UserError("--into", "the images lie in the photos folder already", "leave it out")
    return folder, "" if within == "." else within, False


def carry_out(
    workspace: Workspace, plan: ImportPlan, way: Way = "symlink", reporter: Reporter | None = None
) -> ImportSummary:
    """Do what a plan says. Done again it changes nothing; interrupted it can be done again.

    Args:
        workspace: where it goes.
        plan: from `plan_import`.
        way: how images get into the photos folder.
        reporter: shown the progress.

    Raises:
        UserError: the workspace's own labels or captions are not readable.
        RunError: the disk is full or read-only.
    """
    reporter = reporter or Reporter()
    config = workspace.config.photos
    # Before anything is placed: what is wrong with the labels that stand there.
    for note in read_label_file(workspace.photos / config.labels, config.classes).notes:
        reporter.warn(f"{config.labels}: {note}")
    faces, placed = dict(plan.faces), 0
    if plan.placing:
        put = _place_all if plan.container is None else _write_all
        faces, placed = put(workspace, plan, way, reporter)
    renders = _place_meshes(workspace, faces, way)
    mean_shape = None
    if plan.source.form == RIG_DATABASE:
        database = plan.source.path
        names = {face.source.name: key for key, face in faces.items()}
        renders += write_buffers(database, names, workspace.corpus, plan.problems, reporter)
        mean_shape = write_mean_shape(database, workspace.corpus, plan.prefix)
    labelled, captioned = _merge_told(workspace, faces, plan.problems)
    emotions = Counter(
        face.labels["emotion"] for face in faces.values() if "emotion" in face.labels
    )
    return ImportSummary(
        images=len(faces),
        placed=placed,
        labelled=labelled,
        captioned=captioned,
        renders=renders,
        emotion_counts=dict(emotions.most_common()),
        problem_counts=plan.problems.counts,
        problem_list=write_problems(
            problem_list_path(workspace.root, plan.source.path), plan.problems
        ),
        columns_ignored=plan.columns_ignored,
        scheme=plan.source.scheme,
        doubt=plan.source.doubt,
        unnamed=plan.unnamed,
        columns_told=plan.columns_told,
        problems_told=first_reasons(plan.problems),
        mean_shape=mean_shape,
    )


def _merge_told(
    workspace: Workspace, faces: Mapping[str, Face], problems: Problems
) -> tuple[int, int]:
    """Add what the set tells to the workspace's lists; of how many faces labels and captions."""
    config = workspace.config.photos
    labels = {key: face.labels for key, face in faces.items() if face.labels}
    captions = {key: face.caption for key, face in faces.items() if face.caption}
    if labels:
        keys = ImageFolder(workspace.photos).by_key
        path = workspace.photos / config.labels
        for replaced in merge_labels(path, labels, keys, config.classes):
            problems.add(config.labels, "replaced", replaced)
    if captions:
        merge_captions(workspace.photos / config.captions, captions)
    return len(labels), len(captions)


def _place_all(
    workspace: Workspace, plan: ImportPlan, way: Way, reporter: Reporter
) -> tuple[dict[str, Face], int]:
    """Faces whose image lies in the photos folder now, and how many were written."""
    there = ImageFolder(workspace.photos).by_key if workspace.photos.is_dir() else {}
    faces: dict[str, Face] = {}
    placed = 0
    for key, face in reporter.track(plan.faces.items(), "import", total=len(plan.faces)):
        target = workspace.photos / f"{key}{face.source.suffix.lower()}"
        try:
            placed += place(face.source, there.get(key, target), way)
        except OccupiedError as error:
            plan.problems.add(str(face.source), "occupied", f"{error}; import with --into NAME")
            continue
        except FileNotFoundError:
            plan.problems.add(str(face.source), "missing file", "vanished during the import")
            continue
        faces[key] = face
    return faces, placed


def _write_all(
    workspace: Workspace, plan: ImportPlan, way: Way, reporter: Reporter
) -> tuple[dict[str, Face], int]:
    """As `_place_all`, for pictures inside a file: these are written, whatever the way."""
    del way
    container = plan.container or plan.source.path
    by_source = {face.source: (key, face) for key, face in plan.faces.items()}
    faces: dict[str, Face] = {}
    placed = 0
    pictures = reporter.track(pictures_inside(container), "import", total=len(by_source))
    for name, picture in pictures:
        found = by_source.get(container / name)
        if found is None:
            continue
        key, face = found
        try:
            content, suffix = picture()
            placed += write_picture(content, workspace.photos / f"{key}{suffix}")
        except NoPictureError as error:
            plan.problems.add(f"{container.name}: {name}", "bad line", str(error))
            continue
        except OccupiedError as error:
            plan.problems.add(name, "occupied", f"{error}; import with --into NAME")
            continue
        faces[key] = face
    return faces, placed


def _place_meshes(workspace: Workspace, faces: Mapping[str, Face], way: Way) -> int:
    """Put renders that came with the images where preprocess looks for them; how many there are."""
    meshes = {key: face.mesh for key, face in faces.items() if face.mesh}
    for key, mesh in meshes.items():
        target = given_mesh_path(workspace.corpus, key)
        try:
            place(mesh, target, way)
        except OccupiedError:
            target.unlink()
            place(mesh, target, way)
    return len(meshes)
