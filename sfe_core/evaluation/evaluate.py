"""The evaluation of one split, from top to bottom: draw, read, score, write."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import sfe_core
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.distances import FrechetReference, KernelReference
from sfe_core.evaluation.intervals import draw_resamples
from sfe_core.evaluation.measuring import Meter, read_cached, read_features_cached
from sfe_core.evaluation.metrics import Labels, References, catalogue, measurables
from sfe_core.evaluation.outputs import write_outputs
from sfe_core.evaluation.pictures import DrawnPictures, PictureSet, RealPictures
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.scoring import Scoreboard, score_all
from sfe_core.evaluation.summary import (
    VARIANTS,
    EvaluationSummary,
    Metric,
    Provenance,
    Reference,
)
from sfe_core.files import derive_seed
from sfe_core.packaging.listing import guidance_maps, newest_package
from sfe_core.reporting import Reporter
from sfe_core.sampling.pictures import Series, draw_series
from sfe_core.sampling.settings import Variant

REFERENCE_SPLIT = "train"
SMALL_SET = 100


def evaluate(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
) -> EvaluationSummary:
    """Measure base, fine-tuned (text, guided) and real photos of a split, and write the report.

    Pictures that are not drawn yet are drawn first. Everything lands in evaluation/<split>/:
    summary.json, per_image.csv, plots/*.png and report.html, each written whole or not at all.
    What limits the numbers (few pictures, missing labels, blank ones) stands in `notes`.

    Args:
        workspace: with a corpus and at least one packaged model.
        split: name of a split of the corpus; None = the validation split of sfe.yaml.
        package: folder of a packaged model; None = the newest.
        reporter: told of progress.

    Raises:
        UserError: no such split, no packaged model, or an asset is missing.
    """
    reporter = reporter or Reporter()
    config = workspace.config
    split = split or config.split.validation_name
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    package = Path(package) if package else newest_package(workspace)
    meter = Meter(config.evaluate, config.model.resolution)
    series = {
        variant: draw_series(workspace, split, variant, package, reporter)
        for variant in _drawable(package)
    }
    sets: dict[str, PictureSet] = {
        variant: DrawnPictures(drawn.folder) for variant, drawn in series.items()
    }
    sets["real"] = RealPictures(corpus)
    cache = workspace.evaluation / ".readings"
    keys = rows["key"].tolist()
    readings = {
        variant: read_cached(meter, pictures, keys, RealPictures(corpus), cache, variant, reporter)
        for variant, pictures in sets.items()
    }
    references, reference = _references(corpus, meter, split, config, cache, reporter)
    board, labels = _score(workspace, split, rows, meter, readings, references)
    summary = EvaluationSummary(
        split=split,
        pictures=len(keys),
        resolution=meter.resolution,
        emotions=labels.counts(),
        reference=reference,
        metrics={name: metric for name, (metric, _) in _catalogue(workspace).items()},
        **vars(board),
        excluded={variant: read.faulty() for variant, read in readings.items()},
        notes=_notes(labels, readings, reference),
        provenance=_provenance(workspace, corpus, package, series),
        folder=workspace.evaluation / split,
    )
    write_outputs(summary, rows, labels, readings, sets, reporter)
    return summary


def labels_of(rows: pd.DataFrame) -> Labels:
    """Emotion, valence and arousal of manifest rows; what is missing becomes -1 or nan."""
    index = {name: place for place, name in enumerate(EMOTIONS)}
    return Labels(
        emotion=np.array([index.get(name, -1) for name in rows["emotion"]], dtype=np.intp),
        valence=rows["valence"].to_numpy(dtype=np.float64, na_value=np.nan),
        arousal=rows["arousal"].to_numpy(dtype=np.float64, na_value=np.nan),
    )


def _drawable(package: Path) -> tuple[Variant, ...]:
    """All drawn variants; without guidance encoders the package draws from text alone."""
    return ("base", "text", "guided") if guidance_maps(package) else ("base", "text")


def _catalogue(workspace: Workspace) -> dict[str, tuple[Metric, str]]:
    settings = workspace.config.evaluate
    return catalogue(Path(settings.judge).name, settings.perceptual_network)


def _score(
    workspace: Workspace,
    split: str,
    rows: pd.DataFrame,
    meter: Meter,
    readings: Mapping[str, Readings],
    references: References,
) -> tuple[Scoreboard, Labels]:
    config, labels = workspace.config, labels_of(rows)
    judge, network = Path(config.evaluate.judge).name, config.evaluate.perceptual_network
    seed = derive_seed(config.sampling.seed, split, "bootstrap")
    resamples = draw_resamples(len(rows), config.evaluate.bootstrap, seed)
    sets = {
        variant: measurables(read, labels, references, judge, network)
        for variant, read in readings.items()
    }
    board = score_all(sets, readings, labels, _catalogue(workspace), meter.instruments, resamples)
    return board, labels


def _references(
    corpus: Corpus, meter: Meter, split: str, config: Config, cache: Path, reporter: Reporter
) -> tuple[References, Reference]:
    """Statistics of the training photos: never the evaluated ones, so that real has a score too."""
    name = REFERENCE_SPLIT
    reason = ""
    if split == name:
        reason = "the evaluated split is itself the reference"
    else:
        try:
            keys = corpus.split(name)["key"].tolist()
        except UserError:
            keys = []
        if len(keys) < 2:
            reason = f"the {name} split has fewer than two photos"
    if reason:
        return References(None, None, reason), Reference(split=name, n=0, reason=reason)
    if len(keys) > config.evaluate.reference_count:
        keys = sorted(keys, key=lambda key: derive_seed("reference", key))
        keys = sorted(keys[: config.evaluate.reference_count])
    features = read_features_cached(meter, RealPictures(corpus), keys, cache, name, reporter)
    found = References(FrechetReference(features), KernelReference(features))
    return found, Reference(split=name, n=len(keys))


def _notes(labels: Labels, readings: Mapping[str, Readings], reference: Reference) -> list[str]:
    notes = []
    count = len(labels.emotion)
    unlabelled = int((labels.emotion < 0).sum())
    if unlabelled:
        notes.append(f"{unlabelled} of {count} photos have no emotion label: left out of Top-k")
    if "guided" not in readings:
        notes.append("the package has no guidance encoders: fine-tuned, guided is left out")
    if count < SMALL_SET:
        notes.append(
            f"{count} pictures are few: a Fréchet distance grows as pictures get fewer, so compare "
            "it only with the other rows here; the kernel distance has no such bias"
        )
    if reference.reason:
        notes.append(f"no Fréchet and kernel distance: {reference.reason}")
    for variant, read in readings.items():
        faults = ", ".join(f"{number} {fault}" for fault, number in read.faulty().items())
        if faults:
            notes.append(f"{VARIANTS[variant]}: {faults}, left out of every number")
    return notes


def _provenance(
    workspace: Workspace, corpus: Corpus, package: Path, series: Mapping[str, Series]
) -> Provenance:
    config = workspace.config
    used = ("model", "guidance", "sampling", "evaluate")
    losses = [config.loss.emotion_network, config.loss.perceptual_network]
    try:
        released = version("sfe")
    except PackageNotFoundError:
        released = sfe_core.__version__
    return Provenance(
        sfe=released,
        torch=torch.__version__,
        base=Path(config.model.base).name,
        package=package.name,
        weights_sha256={name: drawn.settings.weights_sha256 for name, drawn in series.items()},
        corpus_sha256=corpus.sha256,
        loss_networks=losses,
        settings=config.model_dump(mode="json", include=set(used)),
    )
