"""How well the tiny preset does, by numbers that decide.

`python -m tests.benchmarks.fidelity_tiny --work DIR` photographs people that no shipped weight has
seen, trains the preset on some of them under several seeds, measures it on the others, and pools
seeds and people. It writes results/fidelity_tiny.md with every measure asked for, its numbers as
.json, and .png: random pictures of each row. Then it leaves each part of the recipe out, as
`sfe ablate` does, and writes them again with what the parts are worth. What is in DIR already is
gone on from, so it can be stopped and called again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sfe_cli.progress import RichReporter
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.ablation import FULL, ablate, chosen_variants, measure
from sfe_core.evaluation.ablation_table import Ablation
from sfe_core.evaluation.pictures import DrawnPictures, PictureSet, RealPictures
from sfe_core.evaluation.pool import Pool
from sfe_core.files import write_json, write_text
from sfe_core.reporting import Reporter
from sfe_core.sampling.pictures import draw_series
from sfe_core.training.options import TrainOptions
from sfe_core.wording import markdown_table
from tests.benchmarks.fidelity_measures import SETS, Measure, measures, rows_table, worth
from tests.benchmarks.picture_rows import picture_rows
from tests.benchmarks.results import FOLDER
from tests.benchmarks.tiny_road import (
    TRAINING_PEOPLE,
    People,
    make_workspace,
    setting,
    spent,
    time_told,
)

NAME = "fidelity_tiny"
# Those below are search_tiny's: settings are never chosen on the people that are measured here.
IDENTITIES = (3840, 4096)
SHOWN = 24
_TITLES = {"real": "original", "base": "base", "text": "text", "guided": "guided"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    chosen = _parser().parse_args(arguments)
    reporter = RichReporter()
    people = People(chosen.people, chosen.training_people, IDENTITIES)
    workspace = make_workspace(chosen.work, people, chosen.set, reporter)
    pool = train_and_measure(workspace, chosen.seeds, reporter)
    show_pictures(workspace, pool, chosen.results / f"{NAME}.png", reporter)
    write_result(workspace, pool, None, chosen.results)
    if chosen.ablation:
        split = workspace.config.split.validation_name
        with spent(workspace.root, "ablation"):
            found = ablate(workspace, TrainOptions(), split, (), reporter, chosen.ablation_seeds)
        write_result(workspace, pool, found, chosen.results)
    print((chosen.results / f"{NAME}.md").read_text(encoding="utf-8"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    add = parser.add_argument
    add("--work", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on in")
    add("--seeds", type=int, default=3, help="training seeds")
    add("--people", type=int, default=48, help="unseen people to measure on, eight pictures each")
    add("--training-people", type=int, default=TRAINING_PEOPLE, help="eight pictures each")
    add("--results", type=Path, default=FOLDER, metavar="DIR", help="where the result goes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="as of sfe; to try it")
    add(
        "--ablation-seeds",
        type=int,
        default=3,
        help="likewise, of the recipes with a part left out",
    )
    add("--no-ablation", dest="ablation", action="store_false", help="the rows and measures alone")
    return parser


def train_and_measure(workspace: Workspace, seeds: int, reporter: Reporter) -> Pool:
    """The full recipe under each seed, by the names that the ablation will look for."""
    (full,) = chosen_variants(workspace.config, [FULL])
    split, first = workspace.config.split.validation_name, workspace.config.train.seed
    summaries = []
    for seed in range(first, first + seeds):
        reporter.say(f"seed {seed}")
        with spent(workspace.root, "train and evaluate"):
            summaries.append(measure(workspace, full, seed, TrainOptions(), split, reporter))
    return Pool(summaries)


def show_pictures(workspace: Workspace, pool: Pool, to: Path, reporter: Reporter) -> None:
    """`SHOWN` random pictures of each row, drawn with the first seed's package."""
    corpus, split = Corpus.open(workspace), workspace.config.split.validation_name
    rows = corpus.split(split)
    count = min(SHOWN, len(rows))
    chosen = rows.iloc[np.random.default_rng(0).choice(len(rows), count, replace=False)]
    package = workspace.packaged / pool.summaries[0].provenance.package
    sets: dict[str, PictureSet] = {_TITLES["real"]: RealPictures(corpus)}
    for name in ("base", "text", "guided"):
        if pool.has(name):
            series = draw_series(workspace, split, name, package, reporter)
            sets[_TITLES[name]] = DrawnPictures(series.folder)
    side = workspace.config.model.resolution
    picture_rows(sets, chosen["key"].tolist(), chosen["emotion"].tolist(), side, to)


def write_result(workspace: Workspace, pool: Pool, ablation: Ablation | None, folder: Path) -> None:
    """The Markdown and its numbers."""
    found, facts = measures(pool), setting(workspace)
    parts = [] if ablation is None else worth(ablation, pool)
    plain = {
        "setting": facts,
        "seeds": len(pool.summaries),
        "pictures": pool.summaries[0].pictures,
        "measures": [asdict(one) | {"verdict": one.verdict} for one in found],
        "rows": _plain_rows(pool),
        "worth": dict(parts),
        "minus_full": {}
        if ablation is None
        else {
            f"{row.variant}, {row.pictures}": {
                name: change.model_dump(mode="json") for name, change in row.changes.items()
            }
            for row in ablation.rows
        },
    }
    write_json(folder / f"{NAME}.json", plain)
    write_text(folder / f"{NAME}.md", _markdown(pool, found, parts, ablation, facts))


def _plain_rows(pool: Pool) -> dict[str, dict[str, object]]:
    """Set → metric → value, interval and each seed's own value."""
    rows: dict[str, dict[str, object]] = {}
    for pictures in SETS:
        for name in pool.summaries[0].metrics:
            score = pool.score(pictures, name)
            if score is not None and score.value is not None:
                numbers = score.model_dump(mode="json", include={"value", "low", "high", "n"})
                by_seed = {"by_seed": pool.values(pictures, name)}
                rows.setdefault(pictures, {})[name] = numbers | by_seed
    return rows


def _markdown(
    pool: Pool,
    found: Sequence[Measure],
    parts: Sequence[tuple[str, str]],
    ablation: Ablation | None,
    facts: dict[str, object],
) -> str:
    summary = pool.summaries[0]
    over = "" if summary.resampling is None else f" {summary.resampling.told}"
    heads = ["", *(_TITLES[name] for name in SETS if pool.has(name))]
    seconds = facts["seconds"]
    assert isinstance(seconds, dict)
    sections = [
        "# The tiny preset, measured on people that nothing has seen",
        f"`python -m tests.benchmarks.{NAME}`: {summary.counted}, {len(pool.summaries)} training "
        f"seeds of {facts['updates']} updates at {facts['resolution_px']} px; {facts['device']}, "
        f"torch {facts['torch']}; {time_told(seconds)}. In brackets 95 % intervals{over} and over "
        f"seeds. Base {str(facts['base_sha256'])[:12]}, judge {str(facts['judge_sha256'])[:12]}.",
        "## What was asked for",
        markdown_table(
            ["measure", "wanted", "found", ""],
            [[one.what, one.wanted, one.shown, one.verdict] for one in found],
        ),
        "## Every row",
        markdown_table(heads, rows_table(pool)),
        f"![Original, base, text, guided]({NAME}.png)",
    ]
    if ablation is not None:
        sections += [
            "## What each part is worth",
            markdown_table(["without", "what is clear"], parts),
            "Each recipe's numbers, and minus the full one's, of the same seed and people:",
            _of_strings(ablation.table()),
            _of_strings(ablation.changes()),
            *ablation.notes,
        ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _of_strings(table: Sequence[dict[str, str]]) -> str:
    return markdown_table(list(table[0]), [list(row.values()) for row in table]) if table else ""


if __name__ == "__main__":
    main()
