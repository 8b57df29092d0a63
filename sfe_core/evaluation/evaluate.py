"""The evaluation of one split, from top to bottom: draw, read, score, write."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError
from sfe_core.evaluation.choices import choose
from sfe_core.evaluation.instruments.measuring import Meter, read_cached
from sfe_core.evaluation.limits import not_independent, notes_on, resampling
from sfe_core.evaluation.origin import provenance, seen_by_loss
from sfe_core.evaluation.picture_sets import PictureSets, drawn_sets, given_sets
from sfe_core.evaluation.pictures import PictureSet, RealPictures
from sfe_core.evaluation.published import with_published
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.reporting.model_card import write_to_card
from sfe_core.evaluation.reporting.outputs import write_outputs
from sfe_core.evaluation.resampled import save_resampled
from sfe_core.evaluation.scoring import Scoreboard, score_all
from sfe_core.evaluation.statistics.references import References, reference_statistics
from sfe_core.evaluation.statistics.resampling import draw_resamples
from sfe_core.evaluation.summary import (
    REAL,
    EvaluationSummary,
    InstrumentInfo,
    Provenance,
    Reference,
    usual_set,
)
from sfe_core.evaluation.yardstick import Labels, Yardstick
from sfe_core.files import check_key, derive_seed, sha256_json
from sfe_core.packaging.listing import list_packages, newest_package
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter

REFERENCE_SPLIT = "train"


def evaluate(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
    images: Mapping[str, Path] | None = None,
    name: str | None = None,
    placement: Placement | None = None,
) -> EvaluationSummary:
    """Measure base, fine-tuned (text, guided) and real photos of a split, and write the report.

    Pictures that are not drawn yet are drawn first. Everything lands in evaluation/<split>/:
    summary.json, per_image.csv, plots/ and report.html, each written whole or not at all; the short
    table also on the card of the workspace's own package. What limits the numbers (few pictures,
    missing labels, blank ones) stands in `notes`.

    Args:
        workspace: with a corpus and, unless `images` are given, at least one packaged model.
        split: name of a split of the corpus; None = the validation split of sfe.yaml.
        package: folder of a packaged model; None = the newest.
        reporter: told of progress.
        images: name → folder of pictures made elsewhere, found by key; they are measured instead of
            the packaged model's, and everything lands in evaluation/<split>-<names>/.
        name: of the folder below evaluation/ instead, so that another evaluation stays.
        placement: devices that missing pictures are drawn on, see `processes.placement.place`.

    Raises:
        UserError: no such split, package or asset, or a folder without a picture of the split.
    """
    reporter, split = reporter or Reporter(), split or workspace.config.split.validation_name
    images, corpus = images or {}, Corpus.open(workspace)
    rows = corpus.split(split)
    keys = rows["key"].tolist()
    faces = np.stack([corpus.points(key).double().numpy() for key in keys])
    chosen = choose(workspace, faces * workspace.config.model.resolution, edited=bool(images))
    workspace = chosen.workspace
    folder = workspace.evaluation / _folder_name(split, images, name)
    package = None if images else package or newest_package(workspace)
    meter = Meter(workspace.config)  # a missing asset is told before hours of drawing
    if package is None:
        sets = given_sets(images, keys, corpus)
    else:
        sets = drawn_sets(workspace, split, package, corpus, reporter, placement)
    bench = _Bench(workspace, corpus, split, RealPictures(corpus), meter, reporter)
    held = bench.held(sets.pictures)
    origin = provenance(workspace, corpus, sets.package, sets.series, images)
    summary = _summed_up(bench, sets, held, origin, chosen.left_out, folder)
    write_outputs(summary, rows, held.yardstick, held.readings, sets.pictures, reporter)
    _tell_card(workspace, sets.package, summary, reporter)
    return summary


def _summed_up(
    bench: _Bench,
    sets: PictureSets,
    held: _Held,
    origin: Provenance,
    left_out: Sequence[str],
    folder: Path,
) -> EvaluationSummary:
    """All numbers and what limits them; what the bootstrap drew is saved in `folder`."""
    meter, yardstick, keys = bench.meter, held.yardstick, held.readings[REAL].keys.tolist()
    numbers = dict(vars(_scored(bench.workspace, bench.split, held.readings, yardstick, meter)))
    save_resampled(folder, numbers.pop("resampled"))
    instruments = _instruments(bench.workspace, meter, sets.package)
    summary = EvaluationSummary(
        split=bench.split,
        keys_sha256=sha256_json(keys),
        pictures=len(keys),
        resolution=meter.resolution,
        emotions=yardstick.labels.counts(),
        reference=held.reference,
        resampling=resampling(yardstick.people, len(keys)),
        **numbers,
        sets={title: usual_set(title) for title in sets.pictures},
        instruments=instruments,
        provenance=origin,
        excluded={title: read.faulty() for title, read in held.readings.items()},
        notes=[
            *left_out,
            *not_independent(instruments),
            *notes_on(yardstick, held.readings, held.reference, sets.pictures, meter.resolution),
        ],
        folder=folder,
    )
    return with_published(summary)


def _scored(
    workspace: Workspace,
    split: str,
    readings: Mapping[str, Readings],
    yardstick: Yardstick,
    meter: Meter,
) -> Scoreboard:
    count = len(yardstick.labels.emotion)
    seed = derive_seed(workspace.config.sampling.seed, split, "bootstrap")
    drawn = workspace.config.evaluate.bootstrap
    resamples = draw_resamples(count, drawn, seed, yardstick.people)
    return score_all(readings, yardstick, meter.instruments, resamples)


def _folder_name(split: str, images: Mapping[str, Path], name: str | None) -> str:
    usual = f"{split}-{'+'.join(images)}" if images else split
    return check_key(name or usual, "--name")


def _tell_card(
    workspace: Workspace, package: Path | None, summary: EvaluationSummary, reporter: Reporter
) -> None:
    """The numbers on the card of a package of this workspace; one elsewhere may be others'."""
    own = [folder.resolve() for folder in list_packages(workspace)]
    if package is None or package.resolve() not in own:
        return
    try:
        write_to_card(package, summary)
    except RunError as error:
        reporter.warn(f"the package's card does not show these numbers: {error}")


@dataclass(frozen=True)
class _Held:
    """What was read off every set, and what it is held against."""

    readings: dict[str, Readings]
    yardstick: Yardstick
    reference: Reference


@dataclass(frozen=True)
class _Bench:
    """What every reading of one evaluation shares."""

    workspace: Workspace
    corpus: Corpus
    split: str
    photos: RealPictures
    meter: Meter
    reporter: Reporter

    @property
    def cache(self) -> Path:
        return self.workspace.evaluation / ".readings"

    def read(
        self,
        title: str,
        pictures: PictureSet,
        keys: Sequence[str],
        only: Collection[str] | None = None,
    ) -> Readings:
        """What the instruments read off `pictures`; `only`: these."""
        where = self.photos, self.cache, title, self.reporter
        return read_cached(self.meter, pictures, keys, *where, only)

    def held(self, pictures: Mapping[str, PictureSet]) -> _Held:
        """Every set read, and what the readings are held against."""
        rows, meter = self.corpus.split(self.split), self.meter
        keys = rows["key"].tolist()
        readings = {title: self.read(title, one, keys) for title, one in pictures.items()}
        references, reference = self._references()
        yardstick = Yardstick(
            labels=Labels.of(rows),
            references=references,
            photos=readings[REAL],
            perceptual=meter.perceptual,
            further=frozenset(meter.instruments),
            people=rows["identity"].to_numpy(dtype=object),
        )
        return _Held(readings, yardstick, reference)

    def _references(self) -> tuple[dict[str, References], Reference]:
        """Statistics of the training photos: never the evaluated ones, as real has a score too.

        By the instrument whose features they are of.
        """
        statistics = self.meter.statistics
        rows, name, reason = self.corpus.rows, REFERENCE_SPLIT, ""
        keys = rows.loc[rows["split"] == name, "key"].tolist()
        if self.split == name:
            reason = "the evaluated split is itself the reference"
        elif len(keys) < 2:
            reason = f"the {name} split has fewer than two photos"
        if reason:
            missing = dict.fromkeys(statistics, References.missing(reason))
            return missing, Reference(split=name, n=0, reason=reason)
        most = self.workspace.config.evaluate.reference_count
        if len(keys) > most:
            keys = sorted(sorted(keys, key=lambda key: derive_seed("reference", key))[:most])
        read = self.read(f"{name} photos", self.photos, keys, statistics)
        digest = sha256_json([[key, self.photos.fingerprint(key)] for key in keys])
        found = Reference(split=name, n=len(keys), sha256=digest)
        people = rows.set_index("key").loc[keys, "identity"].to_numpy(dtype=object)
        held = {
            network: reference_statistics(read.columns[network]["features"], self.cache)
            for network in statistics
        }
        return {name: replace(one, people=people) for name, one in held.items()}, found


def _instruments(
    workspace: Workspace, meter: Meter, package: Path | None
) -> dict[str, InstrumentInfo]:
    """What measured, and whether the model of `package` was optimised against it."""
    origin = workspace.config, package
    return {
        title: InstrumentInfo(
            **vars(tool), seen_by_loss=seen_by_loss(tool, meter.models.get(title), *origin)
        )
        for title, tool in meter.instruments.items()
    }
