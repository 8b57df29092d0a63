"""An evaluation by a protocol of action units: command, draw, read, score, write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sfe_core.arrays import Doubles
from sfe_core.config.workspace import Workspace
from sfe_core.controls.action_units import describe_units
from sfe_core.controls.facial_actions import Sides
from sfe_core.corpus.annotations.unit_labels import labelled_units
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.unit_attention import LEFT, RIGHT
from sfe_core.errors import UserError
from sfe_core.evaluation.bench import Bench, instruments_of
from sfe_core.evaluation.choices import choose, faces_px
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.limits import not_independent, resampling
from sfe_core.evaluation.origin import labels_read_by, provenance, require_apart
from sfe_core.evaluation.pictures import DrawnPictures, PictureSet, RealPictures, given_pictures
from sfe_core.evaluation.protocol_scoring import Course, Held
from sfe_core.evaluation.reporting.protocol_outputs import write_commands, write_protocol
from sfe_core.evaluation.resampled import save_resampled
from sfe_core.evaluation.summary import REAL, EvaluationSummary, Provenance
from sfe_core.evaluation.unit_protocols import (
    PROMPTS,
    PROTOCOL_UNITS,
    PROTOCOLS,
    Command,
    PhotoToChange,
    Protocol,
    fineface_commands,
    magicface_commands,
)
from sfe_core.evaluation.unit_results import units_result
from sfe_core.evaluation.yardstick import UNITS, unit_labels
from sfe_core.files import check_key, derive_seed, sha256_json
from sfe_core.packaging.listing import action_units, guidance_maps, newest_package
from sfe_core.processes.placement import Placement, place
from sfe_core.reporting import Reporter
from sfe_core.sampling.asked_face import shared_maps
from sfe_core.sampling.pictures import Series, draw_records
from sfe_core.sampling.pipelines import pipeline_folder, series_settings
from sfe_core.sampling.prompts import clean_prompt
from sfe_core.sampling.settings import DrawSettings, Variant
from sfe_core.sampling.share import Record, Share

FOLDER, COMMANDS = "protocols", "commands.csv"
PUBLISHED = {
    "fineface": "published: FineFace's MSE is 4.71 of units alone and 7.54 of combinations, of its "
    "own pictures as LibreFace reads them: compare only what one reader read (--images)",
    "magicface": "published: MagicFace's MSE of changes is 0.261, its identity 0.473 off (L2 of "
    "unit vectors), background 0.044 and pose 0.032 (RMSE), on its own photos as LibreFace reads "
    "them: compare only what one reader read (--images)",
}


def evaluate_protocol(
    workspace: Workspace,
    protocol: str,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
    images: Mapping[str, Path] | None = None,
    name: str | None = None,
    placement: Placement | None = None,
) -> EvaluationSummary:
    """Measure how a model follows the action units that a published protocol asks for.

    What is asked is listed in evaluation/<protocol>/commands.csv before anything is drawn, so that
    pictures may be made elsewhere by its names. A package that knows no action units is told them
    in words. Everything else is as in `evaluate`; the split's photos are the ceiling.

    Args:
        protocol: fineface, or magicface, which changes photos of the split and needs its labels.
        split: whose photos are the ceiling; None = the validation split of sfe.yaml.
        images: name → folder of pictures made elsewhere, by the names of commands.csv.
        package, reporter, name, placement: see `evaluate`.

    Raises:
        UserError: no such protocol, split or package; no unit that judge, package and labels share.
    """
    reporter, images = reporter or Reporter(), images or {}
    protocol, prompts = _known(protocol), _prompts(workspace)
    split = split or workspace.config.split.validation_name
    corpus, edits = Corpus.open(workspace), protocol == "magicface"
    rows = corpus.split(split)
    faces = faces_px(corpus, rows["key"].tolist(), workspace.config.model.resolution)
    chosen = choose(workspace, faces, edits, PROTOCOL_UNITS)
    workspace = chosen.workspace
    folder = workspace.evaluation / check_key(name or "-".join([protocol, *images]), "--name")
    package = None if images else package or newest_package(workspace)
    require_apart(workspace.config, package)
    meter = Meter(workspace.config)
    bench = Bench(workspace, corpus, split, RealPictures(corpus), meter, reporter)
    units = _units(meter, package, rows if edits else None)
    photos = _photos(workspace, units, rows) if edits else []
    commands = magicface_commands(units, photos) if edits else fineface_commands(units, prompts)
    write_commands(folder / COMMANDS, commands)
    names = [command.name for command in commands]
    pictures = given_pictures(images, names)
    series: dict[str, Series] = {}
    if package is not None:
        series = {"guided": _drawn(bench, protocol, commands, package, placement)}
        pictures = {"": DrawnPictures(series["guided"].folder)}
    limits = [*chosen.left_out, *_limits_of_files(bench, pictures, names)]
    course = Course(bench, protocol, commands, units)
    held = course.held(pictures)
    origin = provenance(workspace, corpus, package, series, images)
    summary = _summed_up(course, held, package, origin, limits, folder)
    write_protocol(summary, commands, held, next(iter(pictures.values())), reporter)
    return summary


def _limits_of_files(
    bench: Bench, pictures: Mapping[str, DrawnPictures], names: list[str]
) -> list[str]:
    """What files of units, read elsewhere, tell nothing of; empty where a network reads them."""
    filed = bench.meter.filed
    if filed is None:
        return []
    keys = bench.corpus.split(bench.split)["key"].tolist()
    wanted: dict[str, tuple[PictureSet, list[str]]] = {REAL: (bench.photos, keys)}
    wanted |= {title: (one, names) for title, one in pictures.items()}
    return [*filed.match_each(wanted), *filed.limits(())]


def _summed_up(
    course: Course,
    held: Held,
    package: Path | None,
    origin: Provenance,
    left_out: Sequence[str],
    folder: Path,
) -> EvaluationSummary:
    bench, commands = course.bench, course.commands
    scored = course.scored(held.sets)
    save_resampled(folder, scored.resampled)
    instruments = {
        title: tool
        for title, tool in instruments_of(bench.workspace, bench.meter, package).items()
        if any(metric.instrument == title for metric in scored.metrics.values())
    }
    people = np.array([command.who for command in commands], dtype=object)
    over = resampling(people, len(commands))
    known = () if package is None else action_units(package)
    return EvaluationSummary(
        split=course.protocol,
        keys_sha256=sha256_json([vars(command) for command in commands]),
        pictures=len(commands),
        resolution=bench.meter.resolution,
        emotions={},
        reference=held.reference,
        resampling=over,
        sets={name: one.info for name, one in held.sets.items()},
        baseline="",
        instruments=instruments,
        metrics=scored.metrics,
        scores=scored.scores,
        deltas={},
        tests={},
        confusion={},
        units=units_result(
            {n: (one.readings, one.yardstick, one.resamples) for n, one in held.sets.items()},
            instruments[UNITS].backend,
            labels_read_by(bench.workspace.config, package),
        ),
        excluded={name: one.readings.faulty() for name, one in held.sets.items()},
        notes=[
            *left_out,
            *not_independent(instruments),
            *_notes(course, held, package, known),
            *([over.warning] if over.warning else []),
        ],
        provenance=origin,
        folder=folder,
    )


def _notes(course: Course, held: Held, package: Path | None, known: Sequence[str]) -> Iterator[str]:
    """What a reader must know before quoting a number."""
    missing = [unit for unit in PROTOCOL_UNITS if unit not in course.units]
    if missing:
        yield f"left out: {', '.join(missing)}, which judge, package or labels do not know"
    if package is not None and not known:
        yield f"{package.name} knows no action units: they were told in words, in the prompt"
    maps = () if package is None else guidance_maps(package)
    if package is not None and maps and not course.edits:
        yield f"{package.name} reads maps of a face: none guided, so that units alone are measured"
    if package is not None and maps and course.edits:
        yield f"{package.name} was guided by maps of each photo's own face, its expression changed"
    if package is not None and not maps and course.edits:
        yield f"{package.name} reads no maps of a face: nothing held poses and people"
    if REAL not in held.sets:
        yield "no real photos as ceiling: no label of the split tells of the protocol's units"
    yield PUBLISHED[course.protocol]


def _known(name: str) -> Protocol:
    for protocol in PROTOCOLS:
        if protocol == name:
            return protocol
    raise UserError(
        "--protocol", f"{name!r} is unknown", f"use {', '.join(PROTOCOLS)}, personal or physical"
    )


# ---- What is asked for ---------------------------------------------------------------------------


def _units(meter: Meter, package: Path | None, labelled: pd.DataFrame | None) -> tuple[str, ...]:
    """The protocol's units that the judge reads and, if they have any say, package and labels know.

    Raises:
        UserError: there are none.
    """
    probe = meter.probes.get(UNITS)
    if probe is None:
        raise UserError("evaluate.units_judge", "is empty", "name a reader of action units")
    known = {"the judge": set(getattr(probe, "units", ()))}
    if package is not None and action_units(package):
        known[f"package {package.name}"] = set(action_units(package))
    if labelled is not None:
        intensities = unit_labels(labelled)
        known["the labels"] = {u for u, t in intensities.items() if np.isfinite(t[:, LEFT]).any()}
    found = tuple(u for u in PROTOCOL_UNITS if all(u in some for some in known.values()))
    if not found:
        raise UserError(
            "--protocol",
            f"{' and '.join(known)} share none of its units",
            f"it asks for {', '.join(PROTOCOL_UNITS)}",
        )
    return found


def _prompts(workspace: Workspace) -> Sequence[str]:
    given = workspace.config.evaluate.protocol_prompts
    if not given:
        return PROMPTS
    path = workspace.root / given
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("evaluate.protocol_prompts", f"{path}: {error}", "give a text") from error
    prompts = list(dict.fromkeys(line for line in lines if line))
    if not prompts:
        raise UserError("evaluate.protocol_prompts", f"{path} is empty", "write a prompt a line")
    return prompts


def _photos(
    workspace: Workspace, units: tuple[str, ...], rows: pd.DataFrame
) -> list[PhotoToChange]:
    """Photos whose labels tell all units, one of each person before a second one of anybody."""
    labels = unit_labels(rows)
    told = np.stack([labels[unit][:, [LEFT, RIGHT]] for unit in units])  # [U, N, 2]
    there = pd.DataFrame(rows[np.isfinite(told).all(axis=(0, 2))])
    who = there["identity"].where(there["identity"].notna(), there["key"])
    turn = there.groupby(who).cumcount().sort_values(kind="stable")
    most = workspace.config.evaluate.protocol_photos
    chosen = pd.DataFrame(there.loc[turn.index].head(most))
    if chosen.empty:
        raise UserError(
            "--protocol magicface",
            "no photo has an intensity of every unit in its labels",
            "give columns AU1 … AU26, 0 to 5",
        )
    every = [unit for unit in labelled_units(rows) if np.isfinite(labels[unit][:, LEFT]).all()]
    kept = [*units, *(unit for unit in every if unit not in units)]
    return [
        PhotoToChange(
            key=row["key"],
            who=str(who[place]),
            caption="" if pd.isna(row["caption"]) else str(row["caption"]),
            units={unit: _sides(labels[unit][place]) for unit in kept},
        )
        for place, row in zip(chosen.index, chosen.to_dict("records"), strict=True)
    ]


def _sides(told: Doubles) -> Sides:
    return float(told[LEFT]), float(told[RIGHT])


# ---- Drawing -------------------------------------------------------------------------------------


def _drawn(
    bench: Bench,
    protocol: Protocol,
    commands: Sequence[Command],
    package: Path,
    placement: Placement | None,
) -> Series:
    """Every command drawn by prompt and units, those of one face from one noise.

    A photo's change is shown by maps of its own face as well, where the package reads maps.
    """
    workspace, preprocess = bench.workspace, bench.workspace.config.preprocess
    known = action_units(package)
    maps: tuple[str, ...] = ()
    if protocol == "magicface" and guidance_maps(package):
        maps = shared_maps(preprocess, guidance_maps(package), bench.reporter)
    variant: Variant = "guided" if known or maps else "text"
    placement = placement or place()
    source = pipeline_folder(variant, workspace.config, package)
    device = torch.device(placement.device)
    settings = series_settings(workspace, device, variant, source, maps, bool(known))
    folder = workspace.generated / FOLDER / f"{protocol}-{settings.folder_name}"
    wanted = [_record(command, settings, known) for command in commands]
    if maps:
        wanted = [
            record | _guided(command, bench.corpus)
            for record, command in zip(wanted, commands, strict=True)
        ]
    changed = preprocess if maps else None
    share = Share.of(workspace.config.sampling, source, settings, folder, changed)
    return draw_records(share, wanted, workspace, bench.corpus, placement, bench.reporter)


def _record(command: Command, settings: DrawSettings, known: tuple[str, ...]) -> Record:
    """All that decides a picture; units in words where the package knows none.

    What a prompt does not ask for rests; what a photo's labels do not tell stays free.
    """
    told = {n: v for n, v in command.told_names().items() if n.rstrip("LR") in known}
    if not command.photo:
        told = {f"{unit}{side}": 0.0 for unit in known for side in "LR"} | told
    words = describe_units({unit: max(sides) for unit, sides in command.told.items()})
    prompt = command.prompt if known or not words else f"{command.prompt}, {words}"
    record: Record = {
        "settings": settings.sha256,
        "key": command.name,
        "prompt": clean_prompt(prompt),
        "seed": derive_seed(settings.seed, command.photo or command.held_against, "noise"),
        "maps": {},
    }
    return record | {"units": told} if told else record


def _guided(command: Command, corpus: Corpus) -> Record:
    """What decides the maps of a changed photo."""
    crop = str(corpus.row(command.photo)["inputs_sha256"])
    return {
        "photo": command.photo,
        "face": sha256_json([crop, corpus.points(command.photo).tolist()]),
        "change": command.change().record(),
    }
