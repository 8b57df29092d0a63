"""The buffers of every album again with the person's mean shape, once its photos are taken in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sfe_core.arrays import Floats, Pixels
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.edited_scene import scene_of_person
from sfe_core.corpus.artefacts.given_maps import GIVEN_BUFFERS, given_path
from sfe_core.corpus.artefacts.hashes import ArtefactHashes, album_hashes, parse_made_with
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, album_artefacts_of
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import OK, WITH_PICTURES, Row
from sfe_core.corpus.manifest_stream import stream_groups, stream_manifest
from sfe_core.corpus.people.albums import person_of
from sfe_core.corpus.people.mean_shape import album_shape
from sfe_core.corpus.preprocessing.face_rows import buffer_column
from sfe_core.corpus.preprocessing.journal import Journal, next_run, shard_name
from sfe_core.corpus.stored_scene import stored_picture, stored_scene
from sfe_core.faces.backends import load_maker
from sfe_core.faces.reconstruction import HeadMaker
from sfe_core.reporting import Reporter


@dataclass(frozen=True)
class _Album:
    """What a person's photos are drawn with.

    Args:
        shape: [K] the mean.
        hashes: of the kinds drawn with it.
    """

    shape: Floats
    hashes: ArtefactHashes


def draw_mean_shapes(workspace: Workspace, journal: Path, device: str, reporter: Reporter) -> bool:
    """Draw what is missing of them, or was drawn with another mean; journal the rows.

    The mean is over the photos of status ok, unless a shape came with the album. An album is a
    person's folder, or all loose photos. Buffers that came with a photo are taken in place of ours.

    Args:
        workspace: whose corpus, its manifest up to date.
        journal: takes the rows of what was drawn.
        device: torch device of networks.
        reporter: shown the progress.

    Returns:
        Whether anything was drawn: the manifest is then to be updated.

    Raises:
        UserError: the reconstruction cannot change its heads.
        RunError: stored codes are missing or torn, or the disk is full.
    """
    config = workspace.config.preprocess
    if not album_artefacts_of(config):
        return False
    keys = _keys_by_person(workspace.corpus / MANIFEST)
    if not keys:
        return False
    maker = load_maker(config.reconstruction, device, config.reconstruction_model, config.flame)
    albums = {person: _album(workspace, person, own) for person, own in keys.items()}
    outdated = _outdated(workspace, albums)
    if not outdated:
        return False
    notes = Journal(journal, shard_name(next_run(journal), 0))
    try:
        with reporter.task("mean shapes", len(outdated)) as task:
            groups = stream_groups(workspace.corpus / MANIFEST)
            for photo, rows in groups:
                if photo in outdated:
                    notes.add([_drawn(workspace, row, albums, maker) for row in rows], {photo})
                    task.advance()
    finally:
        notes.close()
    return True


def _keys_by_person(manifest: Path) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for row in stream_manifest(manifest, ("key", "status")):
        if row["status"] == OK:
            keys.setdefault(person_of(row["key"]), []).append(row["key"])
    return keys


def _album(workspace: Workspace, person: str, keys: list[str]) -> _Album:
    shape = album_shape(workspace.corpus, person, keys)
    hashes = album_hashes(workspace.config.preprocess, workspace.root, shape.tobytes())
    return _Album(shape, ArtefactHashes(hashes))


def _outdated(workspace: Workspace, albums: dict[str, _Album]) -> set[str]:
    """Photos with a face whose pictures are not as the album's are now."""
    columns = ("photo", "key", "status", "made_with")
    return {
        row["photo"]
        for row in stream_manifest(workspace.corpus / MANIFEST, columns)
        if row["status"] == OK and list(_missing(workspace, row, albums))
    }


def _missing(workspace: Workspace, row: Row, albums: dict[str, _Album]) -> Iterator[str]:
    """Names of the kinds that are to be drawn of a row."""
    made_with = parse_made_with(row["made_with"])
    album = albums[person_of(row["key"])]
    hashes = album.hashes.of_photo(workspace.corpus, row["key"]).by_kind
    for kind in album_artefacts_of(workspace.config.preprocess):
        there = kind.path(workspace.corpus, row["key"]).is_file()
        if not there or made_with.get(kind.name) != hashes[kind.name]:
            yield kind.name


def _drawn(workspace: Workspace, row: Row, albums: dict[str, _Album], maker: HeadMaker) -> Row:
    """Draw a face; a row to go over its earlier one, which is judged anew from its measures."""
    judged = row["status"] in WITH_PICTURES
    note: Row = {
        "key": row["key"],
        "photo": row["photo"],
        "status": OK if judged else row["status"],
        "reason": "" if judged else row["reason"],
    }
    if row["status"] != OK:
        return note
    config, album = workspace.config.preprocess, albums[person_of(row["key"])]
    scene = stored_scene(workspace.corpus, row, maker, config)
    scene = scene_of_person(scene, album.shape)
    scene = replace(scene, given_buffers=_given(workspace.corpus, row["key"]))
    for kind in album_artefacts_of(config):
        path = kind.path(workspace.corpus, row["key"])
        note[kind.column] = write_artefact(path, kind.content(scene))
    note["mean_buffer_faults"] = buffer_column(scene)
    return note | {"made_with": album.hashes.of_photo(workspace.corpus, row["key"]).text}


def _given(corpus: Path, key: str) -> dict[str, Pixels]:
    """Buffers that came with a photo, as its crop shows them.

    Those of DiffusionRig's albums show the person's mean shape already.
    """
    return {
        name: stored_picture(corpus, ARTEFACTS[name].folder, key)
        for name in GIVEN_BUFFERS
        if given_path(corpus, name, key).is_file()
    }
