"""Edits of unseen synthetic people by the tiny rig, before and after it learnt their albums.

`python -m tests.benchmarks.physical_tiny --work DIR` photographs people that no shipped weight has
seen, has `tiny-physical` learn each one's album (stage 2), and edits the held-out photos by
expression, pose and light, alone and all at once: `sfe evaluate --protocol physical`, by the base
(stage 1) and by each person's package. It writes results/physical_tiny.md, and its numbers as
.json. What is in DIR already is gone on from.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfe_cli.progress import RichReporter
from sfe_core.assets import locate
from sfe_core.config.init import init_workspace
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import UserError
from sfe_core.evaluation.physical_protocol import evaluate_physical
from sfe_core.files import sha256_json, write_json, write_text
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.synthesis.photos import plan_albums, synthesize_albums
from sfe_core.synthesis.spec import FaceSpec, sample_face
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainOptions
from tests.benchmarks.physical_measures import (
    exact_change,
    numbers_of,
    rows_table,
    unit_of,
    verdicts_table,
)
from tests.benchmarks.results import FOLDER
from tests.benchmarks.tiny_road import setting

NAME, PRESET = "physical_tiny", "tiny-physical"
PEOPLE = (3587, 3585, 3589, 3586, 3590, 3591)  # unseen by the base, women and men
PHOTOS, HELD_OUT = 24, 0.34
SHOWS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
STAGE1, STAGE2, EXACT = "stage 1", "stage 2", "stage 2, asked exactly"
SETTINGS = {
    "split.validation_fraction": HELD_OUT,
    "evaluate.identity": "dlib",
    "evaluate.witnesses": [],
    "evaluate.recognisers": [],
    "evaluate.bootstrap": 200,  # of single evaluations, which are not quoted
    "train.keep_checkpoints": 1,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    chosen = _parser().parse_args(arguments)
    if not 1 <= chosen.people <= len(PEOPLE):
        raise UserError("--people", "is out of range", f"give 1 to {len(PEOPLE)}")
    people, reporter = PEOPLE[: chosen.people], RichReporter()
    workspace = make_albums(chosen.work, people, reporter)
    specs = specs_of(people)
    rows: dict[str, dict[str, Mapping[str, float | None]]] = {STAGE1: {}, STAGE2: {}, EXACT: {}}
    for person in people:
        name = f"{person:04d}"
        for row, units in rows.items():
            units[name] = measured(workspace.root, row, name, specs, chosen.set, reporter)
    write_result(rows, chosen, setting(workspace))
    print((chosen.results / f"{NAME}.md").read_text(encoding="utf-8"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    add = parser.add_argument
    add("--work", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on in")
    add("--people", type=int, default=3, help="unseen people, an album each")
    add("--results", type=Path, default=FOLDER, metavar="DIR", help="where the result goes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="as of sfe; to try it")
    return parser


def make_albums(folder: Path, people: Sequence[int], reporter: Reporter) -> Workspace:
    """Albums of all people in one corpus.

    Raises:
        UserError: the folder was made for other people.
    """
    if not (folder / "corpus" / "manifest.parquet").exists():
        shutil.rmtree(folder, ignore_errors=True)
        synthesize_albums(folder, people, PHOTOS, SHOWS, size_px=192, workers=2, reporter=reporter)
        init_workspace(folder, PRESET, settings=SETTINGS)
        preprocess(load_workspace(folder), reporter)
    there = sorted(path.name for path in (folder / "photos").iterdir() if path.is_dir())
    if there != sorted(f"{person:04d}" for person in people):
        raise UserError(folder, f"holds albums of {', '.join(there)}", "give a new --work")
    return load_workspace(folder)


def specs_of(people: Sequence[int]) -> dict[str, FaceSpec]:
    """What the albums' photos show, by key: the exact truth."""
    plans = plan_albums(people, PHOTOS, SHOWS)
    return {plan.key: sample_face(plan.seed, plan.emotion, plan.identity) for plan in plans}


def measured(
    root: Path,
    row: str,
    person: str,
    specs: Mapping[str, FaceSpec],
    changes: Sequence[str],
    reporter: Reporter,
) -> dict[str, float | None]:
    """One person's numbers in a row; what was measured already stands."""
    overrides = [f"data.person='{person}'", *changes]
    setting = f"{person}-{sha256_json(overrides)[:8]}"
    kept = root / "numbers" / f"{row}-{setting}.json".replace(" ", "")
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    workspace = load_workspace(root, overrides)
    reporter.say(f"{person}: {row}")
    if row == STAGE1:
        rig, spent = locate(workspace.config.model.base), None
    else:
        run = f"stage2-{setting}"
        launch(workspace, TrainOptions(run=run, resume="auto"), reporter)
        spent = seconds_of_updates(workspace.runs / run) if row == STAGE2 else None
        rig = package_checkpoint(workspace, run=run, reuse=True, reporter=reporter).folder
    truth = {key: exact_change(spec) for key, spec in specs.items()} if row == EXACT else None
    summary = evaluate_physical(
        workspace, package=rig, reporter=reporter, name=kept.stem.replace(",", "-"), exact=truth
    )
    numbers = unit_of(summary, specs, spent)
    write_json(kept, numbers)
    return numbers


def seconds_of_updates(run: Path) -> float:
    """What a run's updates took, whichever call made them."""
    lines = [line for line in read_metrics(run) if "images_per_s" in line]
    seen = np.diff([0, *(line["images_seen"] for line in lines)])
    return float(sum(seen / [line["images_per_s"] for line in lines]))


# ---- The result ----------------------------------------------------------------------------------


def write_result(
    rows: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    chosen: argparse.Namespace,
    facts: Mapping[str, Any],
) -> None:
    """The Markdown and its numbers."""
    told = {
        **{key: value for key, value in facts.items() if key != "seconds"},
        "people": list(PEOPLE[: chosen.people]),
        "set": chosen.set,
        "album": {"photos": PHOTOS, "held out": HELD_OUT, "shows": SHOWS},
    }
    write_json(chosen.results / f"{NAME}.json", {"setting": told, "rows": numbers_of(rows)})
    write_text(chosen.results / f"{NAME}.md", "\n\n".join(_sections(rows, told)) + "\n")


def _sections(
    rows: Mapping[str, Mapping[str, Mapping[str, float | None]]], told: Mapping[str, Any]
) -> Iterator[str]:
    yield "# Edits of a photo's expression, pose and light, on the tiny rig"
    yield (
        f"`python -m tests.benchmarks.{NAME}`: {len(told['people'])} people that no weight has "
        f"seen, an album of {PHOTOS} synthetic photos each, a third of them held out and edited; "
        f"stage 2 learns {told['updates']} updates at {told['resolution_px']} px; "
        f"{told['device']}, torch {told['torch']}. In brackets 95 % intervals over people. "
        "Correlations are over pictures and numbers, each less its mean; the numbers are what "
        "codes do to a face: movements of landmarks, angles, the shading of a ball. Pictures are "
        "fitted again by the reconstruction that made the edits, under the shape that it gave "
        "them. In the rows of stage 1 and 2 what is asked is fitted to another photo, as `sfe "
        "edit --expression-of` does, and its own correlation with the truth is what no edit can "
        "beat by drawing well; asked exactly, it is what that photo exactly shows."
    )
    yield "## What was asked for: stage 2, asked exactly"
    yield verdicts_table(rows[EXACT])
    yield "## What was asked for: stage 2, asked by photos"
    yield verdicts_table(rows[STAGE2])
    yield "## Rows"
    yield rows_table(rows)


if __name__ == "__main__":
    main()
