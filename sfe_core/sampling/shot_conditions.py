"""What a package is told that pictures shall show: a face's maps, units, expressions, or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captions import without_emotion
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.preprocessing.single_photo import maps_of_scene, scene_of_photo
from sfe_core.errors import UserError
from sfe_core.packaging.class_prompts import class_prompts
from sfe_core.packaging.listing import action_units, expressions, guidance_maps, knows_sides
from sfe_core.reporting import Reporter
from sfe_core.sampling.asked_face import (
    head_scene,
    parametric_scene,
    shared_maps,
    told_units,
    with_change,
    with_expression,
)
from sfe_core.sampling.photo_units import PhotoUnits, PhotoUnitsReader, told_of_change
from sfe_core.sampling.pipelines import pipeline_folder, sampling_device, series_settings
from sfe_core.sampling.settings import DrawSettings, Variant
from sfe_core.sampling.sweep import Request, Shot


@dataclass(frozen=True)
class Ways:
    """By what a package is told what the pictures of a request shall show.

    Args:
        source: the pipeline's folder.
        maps: names of those that guide; empty: none does.
        units: the action units that the package may be told; empty: none are told.
        sides: whether it tells left from right.
        told: of these, by picture; where they depend on a photo, not yet.
        reader: of photos whose expression changes.
        settings: of pictures that are guided, and of those from text alone; as far as there are.
    """

    source: Path
    maps: tuple[str, ...]
    units: tuple[str, ...]
    sides: bool
    told: Sequence[dict[str, float]]
    reader: PhotoUnitsReader | None
    settings: Mapping[bool, DrawSettings]


@dataclass(frozen=True)
class Conditions:
    """What one picture shows beside its prompt.

    Args:
        maps: of the guiding face.
        units: intensities by names as in `AU12L`.
        read: off the photo whose expression changes.
        expressions: strengths by words, told as embeddings; None: they are not.
    """

    maps: dict[str, torch.Tensor]
    units: dict[str, float]
    read: PhotoUnits | None = None
    expressions: dict[str, float] | None = None


def with_embeddings(shots: Sequence[Shot], package: Path) -> list[Shot]:
    """The shots, those that ask for words alone told as embeddings, where a package knows these.

    Their prompts do not name the emotion: its strength would be the word's.

    Raises:
        UserError: a word that the package does not know.
    """
    known = expressions(package)
    return [_embedded(shot, known) if known else shot for shot in shots]


def _embedded(shot: Shot, known: Sequence[str]) -> Shot:
    words = shot.expression.words if shot.expression is not None else None
    if words is None:
        return shot
    for word in words:
        if word not in known:
            raise UserError(word, "is not what the package learnt", f"it knows {', '.join(known)}")
    return replace(shot, prompt=without_emotion(shot.prompt), guided=True, embedded=True)


def with_fusion(shots: Sequence[Shot], package: Path, workspace: Workspace) -> list[Shot]:
    """The shots, those that ask for an expression with what is fused, where a package can."""
    anyone = class_prompts(package, workspace)
    if anyone is None:
        return list(shots)
    return [replace(shot, fusion_prompt=anyone.of(shot.prompt, shot.embedded)) for shot in shots]


def ways_of(
    workspace: Workspace,
    request: Request,
    shots: Sequence[Shot],
    package: Path,
    reporter: Reporter,
) -> Ways:
    """Found and checked before any slow work."""
    config, changes = workspace.config, [shot.change for shot in shots if shot.change]
    guided = any(shot.guided for shot in shots)
    units = action_units(package) if guided else ()
    face = request.head or any(shot.like for shot in shots)
    embedded = any(shot.embedded for shot in shots)
    words_alone = embedded and not face and all(shot.embedded for shot in shots if shot.guided)
    alone = words_alone or (bool(units) and not guidance_maps(package) and not face)
    face_guides = guided and not alone
    for shot in shots:
        if shot.expression is not None and not (shot.embedded and alone):
            shot.expression.require_shown()
    source = pipeline_folder("guided" if face_guides else "text", config, package)
    sides = not units or knows_sides(package)
    told = [
        told_units(shot.expression, units, alone, sides)
        if shot.guided and not shot.embedded
        else {}
        for shot in shots
    ]
    reader = PhotoUnitsReader(config.sampling.units_reader, changes) if changes else None
    maps = _map_names(workspace, shots, package, reporter) if face_guides else ()
    tells = any(told) or bool(changes and units)
    # A table's line that is a word alone is drawn as if it had been typed so: from text.
    settings: dict[bool, DrawSettings] = {}
    for kind in sorted({shot.guided for shot in shots}):
        fused = any(shot.fusion_prompt for shot in shots if shot.guided == kind)
        beside = maps if kind else (), kind and tells, kind and embedded, fused
        variant: Variant = "guided" if any(beside) else "text"
        settings[kind] = series_settings(workspace, sampling_device(), variant, source, *beside)
    return Ways(source, maps, units, sides, told, reader, settings)


def conditions_of(
    workspace: Workspace, shots: Sequence[Shot], ways: Ways, reporter: Reporter
) -> list[Conditions]:
    """Maps and units of each picture; pictures of one photo and expression share the maps."""
    words = [shot.expression.words if shot.embedded and shot.expression else None for shot in shots]
    plain = [
        Conditions({}, *pair) for pair in zip(ways.told, [None] * len(shots), words, strict=True)
    ]
    if not ways.maps:
        return plain
    config = workspace.config.preprocess
    places: dict[Path | None, dict[Any, list[int]]] = {}
    for place, shot in enumerate(shots):
        if shot.guided:
            asked = places.setdefault(shot.like, {})
            asked.setdefault((shot.expression, shot.change), []).append(place)
    found = list(plain)
    with reporter.task("drawing the guiding face", sum(map(len, places.values()))) as task:
        for photo, asked in places.items():
            scene = head_scene(config) if photo is None else scene_of_photo(photo, config)
            fitted = parametric_scene(scene) if any(any(ask) for ask in asked) else scene
            reads: dict[Any, PhotoUnits] = {}
            for ask, same in asked.items():
                one, face = same[0], fitted if any(ask) else scene
                shown = _of_shot(workspace, shots[one], ways, ways.told[one], face, reads)
                for place in same:
                    found[place] = replace(shown, expressions=plain[place].expressions)
                task.advance()
    return found


def _of_shot(
    workspace: Workspace,
    shot: Shot,
    ways: Ways,
    units: dict[str, float],
    scene: FaceScene,
    reads: dict[Any, PhotoUnits],
) -> Conditions:
    """What one guided picture shows of a face.

    Args:
        units: what is told, but where that depends on the photo.
        scene: the face before any expression is asked of it.
        reads: off it, by the units that change; is added to.
    """
    read = None
    if shot.expression is not None:
        scene = with_expression(scene, shot.expression)
    elif shot.change is not None and ways.reader is not None:
        codes = tuple(code for code, _ in shot.change.units)
        read = reads.get(codes) or ways.reader.read(scene, shot.change)
        reads[codes] = read
        units = told_of_change(shot.change, read, ways.units, ways.sides)
        scene = with_change(scene, shot.change.beside(read.units))
    config = workspace.config
    maps = maps_of_scene(scene, config.preprocess, config.model.resolution, ways.maps)
    return Conditions(maps, units, read)


def _map_names(
    workspace: Workspace, shots: Sequence[Shot], package: Path, reporter: Reporter
) -> tuple[str, ...]:
    """The maps that guide: all of the package's, or those that a made-up face can have."""
    names = guidance_maps(package)
    guided = [shot for shot in shots if shot.guided]
    if any(shot.like is None or shot.expression or shot.change for shot in guided):
        names = shared_maps(workspace.config.preprocess, names, reporter)
    if not names:
        instead = (
            "ask for --au UNIT=0…5 without a face" if action_units(package) else "draw from text"
        )
        raise UserError(
            "--like, --head",
            f"{package.name} has no encoder for the face's maps",
            f"{instead}, or train with guidance.maps",
        )
    return names
