"""The pictures of an edit request: which photo, which edit, which seed, and where each goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.kinds import SHAPING_BUFFERS, shaping_settings
from sfe_core.corpus.people.albums import person_of
from sfe_core.corpus.photo_files import find_photos
from sfe_core.errors import UserError
from sfe_core.files import derive_seed, key_of, sha256_file
from sfe_core.sampling.editing.axes import (
    check_edit_axes,
    edit_at,
    points,
    read_edit_axes,
    seeds_on,
)
from sfe_core.sampling.editing.request import Edit, EditRequest

BUFFERS_FOLDER, IN_PHOTO_FOLDER = "buffers", "in_photo"
_LABEL = re.compile(r"[^0-9a-z.+-]+")


@dataclass(frozen=True)
class Source:
    """A photo to edit.

    Args:
        photo: the file.
        key: its name among the pictures; that of the corpus where it is one of its photos.
        sha256: of its bytes.
        person: whose album it is in, where it lies among the workspace's photos.
    """

    photo: Path
    key: str
    sha256: str
    person: str | None


@dataclass(frozen=True)
class EditShot:
    """One picture.

    Args:
        source: of what it is.
        edit: what is changed.
        label: what sets it apart from the others of its photo; "" where there is but one.
        seed: of its noise.
        file: where it goes, below the folder of the pictures.
        record: all that decides it.
    """

    source: Source
    edit: Edit
    label: str
    seed: int
    file: str
    record: dict[str, Any]

    @property
    def buffers(self) -> str:
        """Where the picture of its buffers goes."""
        return f"{BUFFERS_FOLDER}/{self.file}"

    @property
    def in_photo(self) -> str:
        """Where the picture goes that lies in its photo, where that is asked for."""
        return f"{IN_PHOTO_FOLDER}/{self.file}"


def reconstructed_by(config: PreprocessConfig, name: str | None) -> PreprocessConfig:
    """The configuration with another reconstruction, which then takes its own default networks.

    Raises:
        UserError: an unknown one.
    """
    known = ("anny", "emoca", "deca")
    if name is None or name == config.reconstruction:
        return config
    if name not in known:
        raise UserError("reconstruction", f"{name!r} is unknown", f"choose {', '.join(known)}")
    changed = {"reconstruction": name, "reconstruction_model": None}
    return config.model_copy(update=changed)


def find_sources(workspace: Workspace, paths: Sequence[Path]) -> list[Source]:
    """The photos at some paths, in order; of folders all photos below them.

    Raises:
        UserError: there is none, or two have one key.
    """
    found: dict[str, Source] = {}
    for path in paths:
        photos = find_photos(path) if path.is_dir() else [path]
        if not photos:
            raise UserError("PHOTO", f"{path} holds no photo", "give another folder")
        for photo in photos:
            own = key_in_workspace(workspace, photo)
            key = own or key_of(photo, path if path.is_dir() else path.parent)
            if key in found:
                raise UserError("PHOTO", f"two are named {key}", "edit one after the other")
            person = person_of(own) if own else None
            found[key] = Source(photo, key, sha256_file(photo), person)
    return list(found.values())


def key_in_workspace(workspace: Workspace, photo: Path) -> str | None:
    """The key of one of the workspace's photos; None of any other."""
    photos, place = workspace.photos.resolve(), photo.resolve()
    return key_of(place, photos) if place.is_relative_to(photos) else None


def plan_edits(
    workspace: Workspace,
    request: EditRequest,
    sources: Sequence[Source],
    drawn_with: dict[str, Any],
    shapes: Sequence[str | None],
) -> list[EditShot]:
    """The pictures of a request, photo by photo.

    Args:
        workspace: says how photos are cropped and fitted.
        request: what is asked for.
        sources: the photos.
        drawn_with: what else decides all pictures: the rig, sampler, steps.
        shapes: of each source the hash of the shape that its head is given, None for its own.

    Raises:
        UserError: a sweep that does not go with what else was asked for, or two pictures would have
            one name.
    """
    axes = read_edit_axes(request.sweep, request.count)
    check_edit_axes(axes, request.edit)
    config, sampling = workspace.config.preprocess, workspace.config.sampling
    first = sampling.seed if request.seed is None else request.seed
    fitted = {
        "source": _fitting(reconstructed_by(config, request.source_reconstruction)),
        "target": _fitting(reconstructed_by(config, request.target_reconstruction)),
    }
    shots = []
    for source, shape in zip(sources, shapes, strict=True):
        for number, point in enumerate(points(axes), start=1):
            label = " ".join(axis.label(value) for axis, value in point.items())
            named = f"/{number:02d}-{_LABEL.sub('-', label.lower())}" if axes else ""
            edit = edit_at(request.edit, point)
            seed = derive_seed(first + seeds_on(point), source.key, "edit")
            record = {
                "source": source.sha256,
                "edit": edit.record(),
                "seed": seed,
                "fitted": fitted,
                "mean_shape": shape,
                "keep_surround": request.keep_surround,
                "redraws": request.redraws,
                **drawn_with,
            }
            shots.append(EditShot(source, edit, label, seed, f"{source.key}{named}.png", record))
    _check_names(shots, request.in_photo)
    return shots


def _check_names(shots: Sequence[EditShot], in_photo: bool) -> None:
    """Refuse photos in folders that are named as those beside the pictures are."""
    own = {shot.file for shot in shots}
    for shot in shots:
        for name in (shot.buffers, shot.in_photo) if in_photo else (shot.buffers,):
            if name in own:
                folder = name.partition("/")[0]
                remedy = f"rename the folder {folder}/, or edit one after the other"
                raise UserError("PHOTO", f"two pictures would be {name}", remedy)


def _fitting(config: PreprocessConfig) -> dict[str, Any]:
    """What of the settings decides where a face is and what its head is like."""
    return shaping_settings(config, *SHAPING_BUFFERS)
