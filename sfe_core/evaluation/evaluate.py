"""The evaluation of one split, from top to bottom: draw, read, score, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.physical.loading import RIG_FOLDER
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.bench import Bench, Held, instruments_of
from sfe_core.evaluation.choices import choose, faces_px
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.limits import not_independent, notes_on, resampling
from sfe_core.evaluation.origin import labels_read_by, provenance, require_apart
from sfe_core.evaluation.picture_sets import PictureSets, drawn_sets, given_sets
from sfe_core.evaluation.pictures import RealPictures
from sfe_core.evaluation.published import with_published
from sfe_core.evaluation.reporting.model_card import write_to_card
from sfe_core.evaluation.reporting.outputs import write_outputs
from sfe_core.evaluation.resampled import save_resampled
from sfe_core.evaluation.scoring import score_all
from sfe_core.evaluation.statistics.resampling import Resamples, draw_resamples
from sfe_core.evaluation.summary import (
    REAL,
    EvaluationSummary,
    Provenance,
    usual_set,
)
from sfe_core.evaluation.unit_results import units_result
from sfe_core.evaluation.yardstick import UNITS, Yardstick, unit_labels
from sfe_core.files import check_key, derive_seed, sha256_json
from sfe_core.packaging.listing import list_packages, newest_package, of_package
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter


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
    images = images or {}
    package = None if images else package or newest_package(workspace)
    if package is not None and (package / RIG_FOLDER).is_dir():
        raise UserError(
            f"--package {package.name}", "draws edits, not captions", "add `--protocol physical`"
        )
    workspace = workspace if package is None else of_package(workspace, package)
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    keys = rows["key"].tolist()
    faces = faces_px(corpus, keys, workspace.config.model.resolution)
    chosen = choose(workspace, faces, bool(images), unit_labels(rows))
    workspace = chosen.workspace
    folder = workspace.evaluation / _folder_name(split, images, name)
    require_apart(workspace.config, package)
    meter = Meter(workspace.config)  # a missing asset is told before hours of drawing
    if package is None:
        sets = given_sets(images, keys, corpus)
    else:
        sets = drawn_sets(workspace, split, package, corpus, reporter, placement)
    bench = Bench(workspace, corpus, split, RealPictures(corpus), meter, reporter)
    filed, limits = meter.filed, list(chosen.left_out)
    if filed is not None:
        limits += [*filed.match(sets.pictures, keys), *filed.limits(list(unit_labels(rows)))]
    held = bench.held(sets.pictures)
    origin = provenance(workspace, corpus, sets.package, sets.series, images)
    summary = _summed_up(bench, sets, held, origin, limits, folder)
    write_outputs(summary, rows, held.yardstick, held.readings, sets.pictures, reporter)
    _tell_card(workspace, sets.package, summary, reporter)
    return summary


def _summed_up(
    bench: Bench,
    sets: PictureSets,
    held: Held,
    origin: Provenance,
    left_out: Sequence[str],
    folder: Path,
) -> EvaluationSummary:
    """All numbers and what limits them; what the bootstrap drew is saved in `folder`."""
    meter, yardstick, keys = bench.meter, held.yardstick, held.readings[REAL].keys.tolist()
    resamples = _resamples(bench, yardstick)
    scored = score_all(held.readings, yardstick, meter.instruments, resamples)
    numbers = dict(vars(scored))
    save_resampled(folder, numbers.pop("resampled"))
    instruments = instruments_of(bench.workspace, meter, sets.package)
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
        units=units_result(
            {title: (read, yardstick, resamples) for title, read in held.readings.items()},
            instruments[UNITS].backend if UNITS in instruments else "",
            labels_read_by(bench.workspace.config, sets.package),
        ),
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


def _resamples(bench: Bench, yardstick: Yardstick) -> Resamples:
    config, count = bench.workspace.config, len(yardstick.labels.emotion)
    seed = derive_seed(config.sampling.seed, bench.split, "bootstrap")
    return draw_resamples(count, config.evaluate.bootstrap, seed, yardstick.people)


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
