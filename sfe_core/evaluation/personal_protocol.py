"""`sfe evaluate --protocol personal`: does one person show every expression and stay that person?

Eight expressions of as many noises as asked for, at several strengths where a package knows them as
embeddings; the judge tells the expression, an embedder that no loss saw tells the person, against
photos of the album that no training saw. Of the class prompt without the person, base and package
are drawn as well: what the fine-tuning made of everybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.album import Album, DrawnBeside, album_of, read_album
from sfe_core.evaluation.bench import Bench, instruments_of
from sfe_core.evaluation.choices import with_embedder
from sfe_core.evaluation.instruments.change_probe import NAME as CHANGE
from sfe_core.evaluation.instruments.change_probe import ChangeProbe
from sfe_core.evaluation.instruments.face_probe import identity_name
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.limits import not_independent
from sfe_core.evaluation.origin import provenance
from sfe_core.evaluation.personal_commands import (
    FULL,
    PersonalCommand,
    names_of,
    of_class,
    personal_commands,
    strengths_of,
    write_personal_commands,
)
from sfe_core.evaluation.personal_scoring import BASE, PersonalCourse
from sfe_core.evaluation.pictures import DrawnPictures, RealPictures, given_pictures
from sfe_core.evaluation.protocol import COMMANDS, FOLDER
from sfe_core.evaluation.reporting.personal_outputs import write_personal
from sfe_core.evaluation.resampled import save_resampled
from sfe_core.evaluation.statistics.calibration import recognition_result
from sfe_core.evaluation.summary import EvaluationSummary, Provenance, Reference
from sfe_core.files import check_key, derive_seed, sha256_json
from sfe_core.packaging.class_prompts import ClassPrompts, class_prompts
from sfe_core.packaging.listing import expressions, newest_package, of_package
from sfe_core.processes.placement import Placement, place
from sfe_core.reporting import Reporter
from sfe_core.sampling.pictures import Series, draw_records
from sfe_core.sampling.pipelines import pipeline_folder, series_settings
from sfe_core.sampling.prompts import clean_prompt
from sfe_core.sampling.settings import DrawSettings, Variant
from sfe_core.sampling.share import Record, Share

PERSONAL = "personal"
NO_PLACE = (
    "the person's pictures are compared with one person's album: what holds of this person may not "
    "hold of others, so measure at least three"
)


def evaluate_personal(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
    images: Mapping[str, Path] | None = None,
    name: str | None = None,
    placement: Placement | None = None,
) -> EvaluationSummary:
    """Measure how well a package shows one person with every expression, and what that costs.

    Everything lands in evaluation/personal/; see `evaluate` for what is not said here.

    Args:
        split: whose photos of the person are held out; None = the validation split of sfe.yaml.
        images: name → folder of pictures made elsewhere, or drawn by other packages, by the names
            of commands.csv; several stand side by side, the first one as the baseline.

    Raises:
        UserError: no person is named, there is no held-out photo of them, or no embedder.
    """
    reporter, images = reporter or Reporter(), images or {}
    split = split or workspace.config.split.validation_name
    package = None if images else package or newest_package(workspace)
    workspace = workspace if package is None else of_package(workspace, package)
    corpus = Corpus.open(_of_everybody(workspace))
    album = album_of(corpus, split, workspace.config.data.person)
    names = names_of(workspace.config, album.person)
    workspace, left_out = with_embedder(workspace, corpus, album.held)
    known = () if package is None else _expressions(package)
    meter = _meter(workspace)
    folder = workspace.evaluation / check_key(name or "-".join([PERSONAL, *images]), "--name")
    commands = personal_commands(
        names,
        workspace.config.evaluate.person_noises,
        _strengths(workspace),
        # Pictures made elsewhere are asked for at every strength: whoever drew them could tell it.
        bool(known) or bool(images),
    )
    write_personal_commands(folder / COMMANDS, commands)
    bench = Bench(workspace, corpus, split, RealPictures(corpus), meter, reporter)
    pictures = given_pictures(images, [one.name for one in commands])
    series: dict[str, Series] = {}
    if package is not None:
        series = _drawn(bench, commands, package, placement)
        pictures = {
            "" if variant != BASE else BASE: DrawnPictures(one.folder)
            for variant, one in series.items()
        }
    course = _read(bench, commands, album, pictures)
    origin = provenance(workspace, corpus, package, series, images)
    summary = _summed_up(course, names.person, package, origin, left_out, folder)
    first = next(one for title, one in pictures.items() if title != BASE)
    write_personal(summary, course, first, reporter, pictures.get(BASE))
    return summary


def _of_everybody(workspace: Workspace) -> Workspace:
    """With all people in its corpus: others tell what a stranger would reach."""
    data = workspace.config.data.model_copy(update={"person": None})
    return Workspace(workspace.root, workspace.config.model_copy(update={"data": data}))


def _meter(workspace: Workspace) -> Meter:
    """The usual instruments, and one that tells where pictures changed."""
    meter, detector = Meter(workspace.config), workspace.config.evaluate.detector
    change = ChangeProbe(f"measured at {meter.resolution} px", detector)
    meter.probes[change.name] = change
    return meter


def _expressions(package: Path) -> tuple[str, ...]:
    """Those that a package is told as embeddings; empty where words tell them.

    Raises:
        UserError: it knows some of the eight and not all.
    """
    known = expressions(package)
    missing = [emotion for emotion in EMOTIONS if emotion not in known]
    if known and missing:
        raise UserError(
            f"--package {package.name}",
            f"its expressions/ lack {', '.join(missing)}",
            "the protocol asks for all eight: learn them, too",
        )
    return known


def _strengths(workspace: Workspace) -> list[float]:
    """Rising, 1 among them."""
    return sorted({*workspace.config.evaluate.person_strengths, FULL})


# ---- Drawing and reading -------------------------------------------------------------------------


def _drawn(
    bench: Bench,
    commands: Sequence[PersonalCommand],
    package: Path,
    placement: Placement | None,
) -> dict[str, Series]:
    """The base's pictures of the class prompt, and all of the package's, by variant."""
    workspace, placement = bench.workspace, placement or place()
    told = any(one.told for one in commands)
    anyone = class_prompts(package, workspace)
    tuned: Variant = "guided" if told or anyone is not None else "text"
    wanted: dict[Variant, Sequence[PersonalCommand]] = {BASE: of_class(commands), tuned: commands}
    found = {}
    for variant, chosen in wanted.items():
        source = pipeline_folder(variant, workspace.config, package)
        settings = series_settings(
            workspace,
            torch.device(placement.device),
            variant,
            source,
            expressions=variant == tuned and told,
            fusion=variant == tuned and anyone is not None,
        )
        folder = workspace.generated / FOLDER / f"{PERSONAL}-{settings.folder_name}"
        share = Share.of(workspace.config.sampling, source, settings, folder)
        fused = anyone if variant == tuned else None
        records = [record_of(one, settings, fused) for one in chosen]
        found[str(variant)] = draw_records(
            share, records, workspace, bench.corpus, placement, bench.reporter
        )
    return found


def record_of(
    command: PersonalCommand, settings: DrawSettings, anyone: ClassPrompts | None = None
) -> Record:
    """All that decides a picture: those of one number start from one noise.

    `anyone` makes the prompt that is fused with the person's; None: nothing is fused.
    """
    record: Record = {
        "settings": settings.sha256,
        "key": command.name,
        "prompt": clean_prompt(command.prompt),
        "seed": derive_seed(settings.seed, PERSONAL, command.number, "noise"),
        "maps": {},
    }
    record |= {"expressions": dict(command.told)} if command.told else {}
    fused = anyone.of(record["prompt"], bool(command.told)) if anyone is not None else ""
    return record | {"fusion_prompt": fused} if fused else record


def _read(
    bench: Bench,
    commands: Sequence[PersonalCommand],
    album: Album,
    pictures: Mapping[str, DrawnPictures],
) -> PersonalCourse:
    """What is read off folders' pictures, each beside the one that it is held against."""
    meter, embedder = bench.meter, identity_name(bench.workspace.config.evaluate.identity)
    of_photos = [*meter.recognisers, meter.faces.name]
    probes, read = [*of_photos, meter.perceptual, CHANGE], {}
    for title, one in pictures.items():
        chosen = of_class(commands) if title == BASE else commands
        beside = {command.name: command.beside for command in chosen}
        originals = DrawnBeside(one, beside, bench.corpus, album)
        named = f"{PERSONAL}-{title}".rstrip("-")
        read[title] = bench.read(named, one, list(beside), probes, originals)
    photos = read_album(bench, album, of_photos, embedder)
    return PersonalCourse(bench, commands, photos, embedder, read)


# ---- The numbers ---------------------------------------------------------------------------------


def _summed_up(
    course: PersonalCourse,
    person: str,
    package: Path | None,
    origin: Provenance,
    left_out: Sequence[str],
    folder: Path,
) -> EvaluationSummary:
    bench, commands = course.bench, course.commands
    sets = course.sets()
    scored = course.scored(sets)
    save_resampled(folder, scored.resampled)
    result = course.result(person)
    asked = next(iter(sets.values())).yardstick.labels.emotion
    recognitions = {
        recogniser: recognition_result(
            {name: one.readings.column(recogniser, "logits") for name, one in sets.items()}, asked
        )
        for recogniser in bench.meter.recognisers
    }
    instruments = instruments_of(bench.workspace, bench.meter, package)
    levels = {"same person": result.same, "different people": result.different}
    metric = next(name for name in scored.metrics if name.startswith("identity"))
    return EvaluationSummary(
        split=PERSONAL,
        keys_sha256=sha256_json([vars(command) for command in commands]),
        pictures=len(commands),
        resolution=bench.meter.resolution,
        emotions={name: int((asked == place).sum()) for place, name in enumerate(EMOTIONS)},
        reference=Reference(split=bench.split, n=0, reason="the protocol asks for no distance"),
        resampling=None,
        sets={name: one.info for name, one in sets.items()},
        baseline=course.baseline(),
        instruments=instruments,
        metrics=scored.metrics,
        scores=scored.scores,
        deltas=scored.deltas,
        tests={},
        baselines={metric: {name: one for name, one in levels.items() if one is not None}},
        confusion=recognitions[bench.meter.recognisers[0]].confusion,
        recognitions=recognitions,
        personal=result,
        excluded={name: one.readings.faulty() for name, one in sets.items()},
        notes=[*left_out, *not_independent(instruments), *_notes(course, package)],
        provenance=origin,
        folder=folder,
    )


def _notes(course: PersonalCourse, package: Path | None) -> Iterator[str]:
    """What a reader must know before quoting a number."""
    noises = len({command.number for command in course.commands})
    yield (
        f"intervals are over {noises} starting noises, each with all of its pictures; " + NO_PLACE
    )
    if strengths_of(course.commands) == [FULL]:
        which = "the package" if package is None else package.name
        yield f"{which} is told expressions in words: there is one strength, and no linearity"
    held, learnt = len(course.album.photos.keys), course.album.same
    yield f"identity is the cosine to the mean of {held} held-out photos"
    if learnt is None:
        yield "no other photo of the person: what a real one would reach is not known"
