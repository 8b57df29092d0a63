"""The evaluation of one split, from top to bottom: draw, read, score, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.intervals import draw_resamples
from sfe_core.evaluation.limits import notes_on
from sfe_core.evaluation.measuring import Meter, read_cached
from sfe_core.evaluation.metrics import Labels, Yardstick
from sfe_core.evaluation.origin import loss_networks, provenance
from sfe_core.evaluation.outputs import write_outputs
from sfe_core.evaluation.pictures import DrawnPictures, GivenPictures, PictureSet, RealPictures
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.references import References, reference_statistics
from sfe_core.evaluation.scoring import REAL, score_all
from sfe_core.evaluation.summary import (
    EvaluationSummary,
    InstrumentInfo,
    Reference,
    usual_set,
)
from sfe_core.files import check_key, derive_seed, sha256_json
from sfe_core.packaging.listing import guidance_maps, newest_package
from sfe_core.reporting import Reporter
from sfe_core.sampling.pictures import Series, draw_series
from sfe_core.sampling.settings import VARIANTS, Variant

REFERENCE_SPLIT = "train"


@dataclass(frozen=True)
class _Sets:
    """The sets of pictures by name, the photos last, and where they come from."""

    pictures: dict[str, PictureSet]
    folder: Path
    package: Path | None = None
    series: dict[str, Series] = field(default_factory=dict)


def evaluate(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
    images: Mapping[str, Path] | None = None,
    name: str | None = None,
) -> EvaluationSummary:
    """Measure base, fine-tuned (text, guided) and real photos of a split, and write the report.

    Pictures that are not drawn yet are drawn first. Everything lands in evaluation/<split>/:
    summary.json, per_image.csv, plots/ and report.html, each written whole or not at all. What
    limits the numbers (few pictures, missing labels, blank ones) stands in `notes`.

    Args:
        workspace: with a corpus and, unless `images` are given, at least one packaged model.
        split: name of a split of the corpus; None = the validation split of sfe.yaml.
        package: folder of a packaged model; None = the newest.
        reporter: told of progress.
        images: name → folder of pictures made elsewhere, found by key; they are measured instead of
            the packaged model's, and everything lands in evaluation/<split>-<names>/.
        name: of the folder below evaluation/ instead, so that another evaluation stays.

    Raises:
        UserError: no such split, no packaged model, a folder without a picture of the split, or an
            asset is missing.
    """
    reporter = reporter or Reporter()
    split = split or workspace.config.split.validation_name
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    keys = rows["key"].tolist()
    sets = (
        _given(workspace, split, keys, images, corpus)
        if images
        else _drawn(workspace, split, package or newest_package(workspace), corpus)
    )
    # Before hours of drawing: a missing asset is told now.
    meter = Meter(workspace.config)
    if sets.package is not None:
        _draw(sets, workspace, split, reporter)
    cache, photos = workspace.evaluation / ".readings", RealPictures(corpus)
    readings = {
        name: read_cached(meter, pictures, keys, photos, cache, name, reporter)
        for name, pictures in sets.pictures.items()
    }
    references, reference = _references(workspace, corpus, meter, split, cache, reporter)
    labels = labels_of(rows)
    yardstick = _yardstick(meter, labels, references, readings[REAL])
    board = score_all(
        readings,
        yardstick,
        meter.instruments,
        _resamples(workspace, split, len(keys)),
        rows["identity"].to_numpy(dtype=object),
    )
    summary = EvaluationSummary(
        split=split,
        keys_sha256=sha256_json(keys),
        pictures=len(keys),
        resolution=meter.resolution,
        emotions=labels.counts(),
        reference=reference,
        sets={name: usual_set(name) for name in sets.pictures},
        instruments=_instruments(meter, loss_networks(workspace.config, sets.package)),
        **vars(board),
        excluded={name: read.faulty() for name, read in readings.items()},
        notes=notes_on(yardstick, readings, reference, sets.pictures),
        provenance=provenance(workspace, corpus, sets.package, sets.series, images or {}),
        folder=workspace.evaluation / check_key(name, "--name") if name else sets.folder,
    )
    write_outputs(summary, rows, labels, readings, sets.pictures, reporter)
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
    return VARIANTS if guidance_maps(package) else ("base", "text")


def _drawn(workspace: Workspace, split: str, package: Path, corpus: Corpus) -> _Sets:
    """The sets that the packaged model and its base are to draw; `_draw` fills in their folders."""
    pictures: dict[str, PictureSet] = {
        variant: DrawnPictures(workspace.generated) for variant in _drawable(package)
    }
    pictures[REAL] = RealPictures(corpus)
    return _Sets(pictures, workspace.evaluation / split, package)


def _draw(sets: _Sets, workspace: Workspace, split: str, reporter: Reporter) -> None:
    for variant in _drawable(sets.package):
        series = draw_series(workspace, split, variant, sets.package, reporter)
        sets.series[variant] = series
        sets.pictures[variant] = DrawnPictures(series.folder)


def _given(
    workspace: Workspace,
    split: str,
    keys: list[str],
    images: Mapping[str, Path],
    corpus: Corpus,
) -> _Sets:
    """Folders of pictures made elsewhere.

    Raises:
        UserError: a name that cannot be one, or a folder without a picture of the split.
    """
    prefixes: dict[str, str] = {}
    for name in images:
        if not name.replace("-", "").replace("_", "").isalnum() or name == REAL:
            raise UserError(
                f"--images {name}=",
                f"{name!r} cannot name a set",
                "use letters, digits, - and _; real is the corpus's own photos",
            )
        other = prefixes.setdefault(usual_set(name).prefix, name)
        if other != name:
            raise UserError(
                f"--images {name}=", f"has the same columns as {other}", "give one of them"
            )
    pictures: dict[str, PictureSet] = {
        name: GivenPictures(folder, keys) for name, folder in images.items()
    }
    pictures[REAL] = RealPictures(corpus)
    return _Sets(pictures, workspace.evaluation / f"{split}-{'+'.join(images)}")


def _resamples(workspace: Workspace, split: str, count: int) -> np.ndarray:
    config = workspace.config
    seed = derive_seed(config.sampling.seed, split, "bootstrap")
    return draw_resamples(count, config.evaluate.bootstrap, seed)


def _yardstick(meter: Meter, labels: Labels, references: References, photos: Readings) -> Yardstick:
    return Yardstick(
        labels, references, photos, meter.statistics, meter.perceptual, frozenset(meter.instruments)
    )


def _instruments(meter: Meter, seen: tuple[str, ...]) -> dict[str, InstrumentInfo]:
    return {
        name: InstrumentInfo(**vars(instrument), seen_by_loss=instrument.backend in seen)
        for name, instrument in meter.instruments.items()
    }


def _references(
    workspace: Workspace,
    corpus: Corpus,
    meter: Meter,
    split: str,
    cache: Path,
    reporter: Reporter,
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
        return References.missing(reason), Reference(split=name, n=0, reason=reason)
    most = workspace.config.evaluate.reference_count
    if len(keys) > most:
        keys = sorted(sorted(keys, key=lambda key: derive_seed("reference", key))[:most])
    photos = RealPictures(corpus)
    read = read_cached(
        meter, photos, keys, photos, cache, f"{name} photos", reporter, meter.statistics
    )
    features = read.columns[meter.statistics]["features"]
    digest = sha256_json([[key, photos.fingerprint(key)] for key in keys])
    return (
        reference_statistics(features, cache),
        Reference(split=name, n=len(keys), sha256=digest),
    )
