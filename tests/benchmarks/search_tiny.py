"""Fine-tuning settings of the tiny preset, found by measurement.

`python -m tests.benchmarks.search_tiny --work DIR` trains every candidate of `search_candidates`,
and whatever `--try` names, under the same seeds and on the same people, who are not those that
`fidelity_tiny` measures. By successive halving (Jamieson & Talwalkar 2016): after each seed the
better half goes on to the next one, and the preset as it is always does. It writes
results/search_tiny.md and .json after every seed. What is in DIR already is not done again.

Candidates are ordered by Top-1 of text plus Top-1 of guided, minus both Fréchet distances over that
of the base as the preset draws it: pictures that show an emotion and are unlike photos are no gain.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_cli.progress import RichReporter
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.ablation import trained_hash, with_seed
from sfe_core.evaluation.compare import load_summary
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.pool import Measured, Pool
from sfe_core.evaluation.resampled import RESAMPLES
from sfe_core.evaluation.statistics.intervals import Estimate
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.files import sha256_json, write_json, write_text
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.training.options import TrainOptions
from sfe_core.wording import markdown_table
from tests.benchmarks.results import FOLDER
from tests.benchmarks.search_candidates import AS_IT_IS, candidates
from tests.benchmarks.tiny_road import (
    TRAINING_PEOPLE,
    People,
    make_workspace,
    setting,
    spent,
    time_told,
)

NAME = "search_tiny"
IDENTITIES = (3584, 3840)
_SETS = ("text", "guided")
# The commas between settings, not those within a list.
_BETWEEN = re.compile(r",(?=\w+\.\w+=)")
_SHOWN = (("top1", 100.0, " points"), ("frechet", 1.0, ""), ("landmark_error", 1.0, ""))


@dataclass(frozen=True)
class Tried:
    """A candidate, and every seed that it was measured with, the first ones of all."""

    name: str
    pool: Pool

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.pool.summaries)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    chosen = _parser().parse_args(arguments)
    reporter = RichReporter()
    people = People(chosen.people, chosen.training_people, IDENTITIES)
    workspace = make_workspace(chosen.work, people, chosen.set, reporter)
    every = chosen_candidates(workspace, chosen.only, chosen.try_)
    tried: dict[str, Tried] = {}
    failed: dict[str, str] = {}
    going_on = list(every)
    for number in range(chosen.seeds):
        for place, name in enumerate(going_on, 1):
            reporter.say(f"seed {number + 1}/{chosen.seeds}, {place}/{len(going_on)}: {name}")
            overrides = [*chosen.set, *every[name]]
            before = tried[name].pool.summaries if name in tried else ()
            try:
                summary = measured(workspace, name, overrides, number, reporter)
            except (RunError, UserError) as error:
                if name == AS_IT_IS:
                    raise
                failed[name] = str(error)
                reporter.warn(f"{name}: {error}")
                continue
            tried[name] = Tried(name, Pool([*before, summary]))
            write_result(workspace, tried, failed, changed_values(workspace, every), chosen.results)
        going_on = better_half(tried, [name for name in going_on if name not in failed])
    print((chosen.results / f"{NAME}.md").read_text(encoding="utf-8"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    add = parser.add_argument
    add("--work", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on in")
    add("--seeds", type=int, default=3, help="training seeds, and rounds of halving")
    add("--people", type=int, default=16, help="unseen people to measure on, eight pictures each")
    add("--training-people", type=int, default=TRAINING_PEOPLE, help="eight pictures each")
    add("--only", action="append", default=[], metavar="TEXT", help="candidates that hold this")
    add("--try", dest="try_", action="append", default=[], metavar="KEY=VALUE,…",
        help="a further candidate, of several settings together")  # fmt: skip
    add("--results", type=Path, default=FOLDER, metavar="DIR", help="where the result goes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="for all of them")
    return parser


def chosen_candidates(
    workspace: Workspace, only: Sequence[str], further: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Name → overrides: the preset as it is, those that hold a text of `only`, and `further`.

    Args:
        workspace: whose settings are the preset's, with `--set`.
        only: empty = all.
        further: settings with commas between them.
    """
    every = candidates(workspace.config)
    kept = {
        name: overrides
        for name, overrides in every.items()
        if name == AS_IT_IS or not only or any(text in name for text in only)
    }
    return kept | {text: tuple(_BETWEEN.split(text)) for text in further}


def changed_values(workspace: Workspace, every: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The preset's own values of all settings that candidates change."""
    keys = sorted({text.partition("=")[0] for overrides in every.values() for text in overrides})
    values = workspace.config.model_dump(mode="json")
    return {key: values[key.partition(".")[0]][key.partition(".")[2]] for key in keys}


def measured(
    workspace: Workspace,
    name: str,
    overrides: Sequence[str],
    number: int,
    reporter: Reporter,
) -> EvaluationSummary:
    """Train, package and measure a candidate under a seed, unless that was done before.

    Candidates that differ in how they draw alone share a run; its checkpoints are deleted when it
    is packaged, as dozens of candidates would fill the disk.
    """
    changed = load_workspace(workspace.root, overrides)
    changed = with_seed(changed, changed.config.train.seed + number)
    split = changed.config.split.validation_name
    digest = sha256_json(changed.config.model_dump(mode="json"))[:8]
    plain = "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in name)[:80]
    folder = workspace.evaluation / f"{NAME}-{plain}-{digest}"
    if (folder / "summary.json").exists() and (folder / RESAMPLES).exists():
        return load_summary(workspace, folder)
    run = f"{NAME}-{trained_hash(changed.config)}"
    package = workspace.packaged / run
    if not (package / "provenance.json").exists():
        with spent(workspace.root, "train"):
            trained = launch(changed, TrainOptions(run=run, resume="auto"), reporter)
            package_checkpoint(changed, run, trained.step, run, reporter=reporter, reuse=True)
        shutil.rmtree(workspace.runs / run)
    with spent(workspace.root, "evaluate"):
        return evaluate(changed, split, package, reporter, name=folder.name)


def better_half(tried: Mapping[str, Tried], names: Sequence[str]) -> list[str]:
    """The better half of `names` by their gain over the preset, which is always among them."""
    preset = tried[AS_IT_IS]
    gains = {name: _order(gain(tried[name], preset)) for name in names if name != AS_IT_IS}
    ordered = sorted(gains, key=lambda name: gains[name], reverse=True)
    return [AS_IT_IS, *ordered[: math.ceil(len(ordered) / 2)]]


def _order(found: Estimate | None) -> float:
    return -math.inf if found is None or found.value is None else found.value


def score(pool: Pool, preset: Pool) -> Measured | None:
    """Top-1 of text and guided minus their Fréchet distances over the base's, see the module."""
    distance = _distance(pool)
    base = preset.measured("base", distance)
    total: Measured | None = None
    for pictures in _SETS:
        right, far = pool.measured(pictures, "top1"), pool.measured(pictures, distance)
        if right is None or far is None or base is None:
            return None
        part = right.minus(far.over(base))
        total = part if total is None else total.plus(part)
    return total


def gain(tried: Tried, preset: Tried) -> Estimate | None:
    """The score minus the preset's of the same seeds and people, pooled; None of the preset."""
    shared = Pool(preset.pool.summaries[: tried.seeds])
    own, as_it_is = score(tried.pool, shared), score(shared, shared)
    if tried.name == AS_IT_IS or own is None or as_it_is is None:
        return None
    return own.minus(as_it_is).pooled()


def _distance(pool: Pool) -> str:
    """The first Fréchet distance there is: on the judge's features, or Inception's."""
    names = pool.summaries[0].metrics
    return next(name for name in names if name.partition("_")[0] in ("frechet", "fid"))


def write_result(
    workspace: Workspace,
    tried: Mapping[str, Tried],
    failed: Mapping[str, str],
    values: Mapping[str, Any],
    folder: Path,
) -> None:
    """The Markdown and its numbers, best first; `values` as of `changed_values`."""
    preset, facts = tried[AS_IT_IS], setting(workspace)
    gains = {name: gain(one, preset) for name, one in tried.items()}
    ordered = sorted(
        tried, key=lambda name: 0.0 if name == AS_IT_IS else _order(gains[name]), reverse=True
    )
    numbers = {
        name: {
            "seeds": tried[name].seeds,
            "gain": None if gains[name] is None else vars(gains[name]),
            "changes": {
                f"{pictures} {metric}": vars(found)
                for pictures, metric, found in _changes(tried[name], preset)
                if found is not None
            },
        }
        for name in ordered
    }
    found = {"setting": facts, "preset": values, "candidates": numbers, "failed": failed}
    write_json(folder / f"{NAME}.json", found)
    summary = preset.pool.summaries[0]
    heads = ["candidate", "seeds", "gain", *(f"{p} {m}" for p, m, _ in _changes(preset, preset))]
    rows = [
        [
            name,
            str(tried[name].seeds),
            _shown(gains[name], 1.0, ""),
            *(_shown(found, *_scale(metric)) for _, metric, found in _changes(tried[name], preset)),
        ]
        for name in ordered
    ]
    seconds = facts["seconds"]
    over = "" if summary.resampling is None else f" {summary.resampling.told}"
    text = [
        "# The tiny preset's settings, tried",
        " ".join((__doc__ or "").split("\n\n", 1)[1].split()),
        f"{summary.counted}; {facts['device']}, torch {facts['torch']}; {time_told(seconds)}. All "
        f"numbers are minus the preset's of the same seeds and people, in brackets 95 % "
        f"intervals{over} and over seeds. Base {facts['base_sha256'][:12]}.",
        "The preset then: " + ", ".join(f"{key} {value}" for key, value in values.items()) + ".",
        markdown_table(heads, rows).strip(),
        *(f"{name} failed: {error}" for name, error in failed.items()),
    ]
    write_text(folder / f"{NAME}.md", "\n\n".join(text) + "\n")


def _changes(tried: Tried, preset: Tried) -> list[tuple[str, str, Estimate | None]]:
    """Set, metric and how it differs from the preset's; None where it is the preset."""
    shared, found = Pool(preset.pool.summaries[: tried.seeds]), []
    for metric, _, _ in _SHOWN:
        name = _distance(tried.pool) if metric == "frechet" else metric
        for pictures in _SETS:
            own, other = tried.pool.measured(pictures, name), shared.measured(pictures, name)
            there = tried.name != AS_IT_IS and own is not None and other is not None
            change = own.minus(other).pooled() if there and own and other else None
            found.append((pictures, metric, change))
    return found


def _scale(metric: str) -> tuple[float, str]:
    return next((factor, unit) for name, factor, unit in _SHOWN if name == metric)


def _shown(found: Estimate | None, factor: float, unit: str) -> str:
    if found is None or found.value is None:
        return ""
    text = f"{factor * found.value:+.2f}{unit}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{factor * found.low:+.2f}, {factor * found.high:+.2f}]"


if __name__ == "__main__":
    main()
