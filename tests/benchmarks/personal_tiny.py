"""One person's album in, every expression out: plain LoRA, and each part that is to help it.

`python -m tests.benchmarks.personal_tiny --work DIR` photographs people that no shipped weight has
seen, neutral and happy only, and teaches `tiny-personal` each of them under several seeds, a row of
`ROWS` at a time. `sfe evaluate --protocol personal` draws and reads all eight expressions, and the
class prompt. It writes results/personal_tiny.md, and its numbers as .json. What is in DIR already
is gone on from.

Sizes: on two cores that other work shared, an update of eight images took 0.2 to 0.3 s, a picture
of 12 steps 0.25 s to draw and 0.3 s to read. A row of one person and seed, of the preset's updates
and 320 to 460 pictures, is then six to eight minutes there, by that count; 30 of them on two
processes are one and a half to two hours. So strengths are three, which make a line of four with
rest; noises are the twenty that were asked for. Each unit, one
person with one seed, has a folder of its own: processes that draw and read share no file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sfe_cli.progress import RichReporter
from sfe_core.config.init import init_workspace
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.personal_protocol import evaluate_personal
from sfe_core.files import atomic_path, sha256_json, write_json, write_text
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.sampling.generate import generate
from sfe_core.sampling.sweep import Request
from sfe_core.synthesis.photos import synthesize_albums
from sfe_core.training.options import TrainOptions
from tests.benchmarks.personal_measures import (
    BASE,
    PLAIN,
    base_of,
    differences_table,
    numbers_of,
    rows_table,
    unit_of,
    verdicts_table,
)
from tests.benchmarks.results import FOLDER
from tests.benchmarks.tiny_road import setting

NAME = "personal_tiny"
# Unseen by base and judges, women and men; the preset's numbers were chosen on 3584.
PEOPLE = (3587, 3585, 3589, 3586, 3590, 3591)
ALBUM_SHOWS = ("neutral", "happy")
PHOTOS, HELD_OUT = 18, 0.34
EXPRESSIONS = "tiny-expressions"
_WORDS = "recipe_options.expressions=null"
_NAMED = "recipe_options.expressions={expressions}"
_EVEN, _EMPHASIS = "recipe_options.emphasis=0", "recipe_options.emphasis=4"
_AS_THEY_ARE, _PHOTOS = "recipe_options.crafted_photos=0", "recipe_options.crafted_photos=12"
_FUSION = "recipe_options.fusion=true"
_CRAFTING = (
    "loss.crafting_expression=0.3",
    "loss.identity=0.1",
    "loss.pixel_fraction=0.5",
    "loss.pixel_min_timestep=200",
    "loss.pixel_max_timestep=900",
)
# Row to what it changes of the preset, as `--set` takes it; the preset itself is row photos.
ROWS: dict[str, tuple[str, ...]] = {
    PLAIN: (_WORDS, _EVEN, _AS_THEY_ARE),
    "embeddings": (_NAMED, _EVEN, _AS_THEY_ARE),
    "emphasis": (_WORDS, _EMPHASIS, _AS_THEY_ARE),
    "embeddings+emphasis": (_NAMED, _EMPHASIS, _AS_THEY_ARE),
    "fusion": (_WORDS, _EVEN, _AS_THEY_ARE, _FUSION),
    "crafting": (_NAMED, _EVEN, _AS_THEY_ARE, *_CRAFTING),
    "photos": (_NAMED, _EVEN, _PHOTOS),
    "all": (_NAMED, _EMPHASIS, _PHOTOS, *_CRAFTING, _FUSION, "loss.alignment=0.05"),
}
SETTINGS = {
    "evaluate.identity": "dlib",
    # The judge alone: those from outside read drawn faces of 128 px no better than by chance.
    "evaluate.witnesses": [],
    "evaluate.recognisers": [],
    "evaluate.person_noises": 20,
    "evaluate.person_strengths": [0.33, 0.67, 1.0],
    "evaluate.bootstrap": 200,  # of single evaluations, which are not quoted
    "train.keep_checkpoints": 1,
    "train.checkpoint_every": 1000,
}
_TIMED = 16  # pictures
_AT_ONCE = 2  # processes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    chosen = _parser().parse_args(arguments)
    unknown = set(chosen.rows) - set(ROWS)
    if unknown:
        raise UserError(
            f"--rows {' '.join(sorted(unknown))}", "is unknown", f"choose {' '.join(ROWS)}"
        )
    if not 1 <= chosen.people <= len(PEOPLE) or chosen.seeds < 1:
        raise UserError("--people, --seeds", "are out of range", f"give 1 to {len(PEOPLE)} people")
    if chosen.unit:
        person, seed = chosen.unit.split("-")
        measure_unit(chosen, person, int(seed), RichReporter())
        return
    album = make_album(chosen.work / "album", PEOPLE[: chosen.people], RichReporter())
    units = [f"{person:04d}-{seed}" for seed in range(chosen.seeds) for person in
             PEOPLE[: chosen.people]]  # fmt: skip
    if not chosen.tell:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda unit: _apart(chosen, unit), units))
    rows = collected(chosen, units)
    write_result(rows, chosen, setting(album))
    print((chosen.results / f"{NAME}.md").read_text(encoding="utf-8"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    add = parser.add_argument
    add("--work", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on in")
    add("--people", type=int, default=3, help="unseen people, an album each")
    add("--seeds", type=int, default=2, help="training seeds")
    add("--rows", nargs="+", default=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    add("--expressions", default=EXPRESSIONS, metavar="NAME", help="embeddings, or their folder")
    add("--results", type=Path, default=FOLDER, metavar="DIR", help="where the result goes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="as of sfe; to try it")
    add("--tell", action="store_true", help="write what is measured, and measure nothing more")
    add("--unit", default="", help=argparse.SUPPRESS)
    return parser


def _apart(chosen: argparse.Namespace, unit: str) -> None:
    """Measure a unit in a process of its own, with one thread."""
    command = [sys.executable, "-m", f"tests.benchmarks.{NAME}", "--unit", unit]
    command += ["--work", str(chosen.work), "--rows", *chosen.rows]
    command += ["--expressions", chosen.expressions]
    for override in chosen.set:
        command += ["--set", override]
    log = chosen.work / f"{unit}.log"
    with log.open("a", encoding="utf-8") as told:
        done = subprocess.run(
            command, stdout=told, stderr=told, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    if done.returncode:
        raise RunError(log, f"a process ended with {done.returncode}", "read its last lines")


# ---- Albums, runs and evaluations ----------------------------------------------------------------


def make_album(folder: Path, people: Sequence[int], reporter: Reporter) -> Workspace:
    """Albums of all people, one corpus: others tell what a stranger's identity would reach.

    Raises:
        UserError: the folder was made for other people.
    """
    if (folder / "corpus" / "manifest.parquet").exists():
        there = sorted(path.name for path in (folder / "photos").iterdir() if path.is_dir())
        if there != sorted(f"{person:04d}" for person in people):
            raise UserError(folder, f"holds albums of {', '.join(there)}", "give a new --work")
    if not (folder / "corpus" / "manifest.parquet").exists():
        shutil.rmtree(folder, ignore_errors=True)
        words = synthesize_albums(
            folder, people, PHOTOS, ALBUM_SHOWS, size_px=192, workers=_AT_ONCE, reporter=reporter
        )
        held = {"split.validation_fraction": HELD_OUT}
        init_workspace(
            folder, "tiny-personal", settings={**SETTINGS, **held, "captions.class_words": words}
        )
        preprocess(load_workspace(folder), reporter)
    return load_workspace(folder)


def settings_of(row: str, person: str, seed: int, chosen: argparse.Namespace) -> list[str]:
    """All that a row's run and evaluation change of the album's sfe.yaml."""
    own = [one.format(expressions=chosen.expressions) for one in ROWS[row]]
    return [f"data.person='{person}'", f"train.seed={seed}", *own, *chosen.set]


def measure_unit(chosen: argparse.Namespace, person: str, seed: int, reporter: Reporter) -> None:
    """Every row of one person with one seed; what was measured already stands."""
    folder = chosen.work / "units" / f"{person}-{seed}"
    if not folder.exists():
        with atomic_path(folder) as partial:
            shutil.copytree(chosen.work / "album", partial)
    for row in chosen.rows:
        overrides = settings_of(row, person, seed, chosen)
        kept = _kept(folder, row, overrides)
        if kept.exists():
            continue
        workspace = load_workspace(folder, overrides)
        name = kept.stem
        reporter.say(f"{person}, seed {seed}: {row}")
        began = time.monotonic()
        launch(workspace, TrainOptions(run=name, resume="auto"), reporter)
        times = {"train_s": time.monotonic() - began}
        package = package_checkpoint(workspace, run=name, reuse=True, reporter=reporter).folder
        times["sample_s"] = seconds_a_picture(workspace, package, reporter)
        summary = evaluate_personal(workspace, package=package, reporter=reporter, name=name)
        assert summary.personal is not None
        numbers = unit_of(summary.personal, times)
        identity = next((m for m in summary.metrics if m.startswith("identity")), "")
        base = summary.scores.get(BASE, {}).get(identity)
        write_json(kept, {**numbers, "base_identity": base and base.value})
        shutil.rmtree(workspace.runs / name, ignore_errors=True)


def seconds_a_picture(workspace: Workspace, package: Path, reporter: Reporter) -> float:
    """CPU seconds of one picture in a full batch, without those of loading."""
    spent = []
    for count in (1, 1 + _TIMED):
        folder = workspace.root / "timed"
        shutil.rmtree(folder, ignore_errors=True)
        request = Request(emotion="happy", count=count)
        began = time.process_time()
        generate(workspace, request, package, reporter, folder)
        spent.append(time.process_time() - began)
    shutil.rmtree(folder, ignore_errors=True)
    return (spent[1] - spent[0]) / _TIMED


def _kept(folder: Path, row: str, overrides: Sequence[str]) -> Path:
    return folder / "numbers" / f"{row}-{sha256_json(list(overrides))[:8]}.json"


def collected(
    chosen: argparse.Namespace, units: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Row to unit to numbers, the base's first."""
    rows: dict[str, dict[str, dict[str, Any]]] = {BASE: {}}
    for row in chosen.rows:
        rows[row] = {}
        for unit in units:
            person, seed = unit.split("-")
            overrides = settings_of(row, person, int(seed), chosen)
            kept = _kept(chosen.work / "units" / unit, row, overrides)
            if not kept.exists():
                continue  # of more rows than were asked for of every unit
            rows[row][unit] = json.loads(kept.read_text(encoding="utf-8"))
            rows[BASE].setdefault(unit, base_of(rows[row][unit]))
    return rows


# ---- The result ----------------------------------------------------------------------------------


def write_result(
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]],
    chosen: argparse.Namespace,
    facts: Mapping[str, Any],
) -> None:
    """The Markdown and its numbers."""
    told = {
        **{key: value for key, value in facts.items() if key != "seconds"},
        "people": list(PEOPLE[: chosen.people]),
        "seeds": chosen.seeds,
        "rows": {
            row: [one.format(expressions=Path(chosen.expressions).name) for one in ROWS[row]]
            for row in rows
            if row != BASE
        },
        "set": chosen.set,
        "expressions": Path(chosen.expressions).name,
        "album": {"photos": PHOTOS, "held out": HELD_OUT, "shows": ALBUM_SHOWS},
    }
    write_json(chosen.results / f"{NAME}.json", {"setting": told, "rows": numbers_of(rows)})
    write_text(chosen.results / f"{NAME}.md", "\n\n".join(_sections(rows, told)) + "\n")


def _sections(
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]], told: Mapping[str, Any]
) -> Iterator[str]:
    units = [unit for row, some in rows.items() if row != BASE for unit in some.values()]
    same, other = (
        [unit[key] for unit in units if unit.get(key) is not None] for key in ("same", "different")
    )
    yield "# One person with every expression, on the tiny base"
    yield (
        f"`python -m tests.benchmarks.{NAME}`: {len(told['people'])} people, {told['seeds']} "
        f"training seeds of {told['updates']} updates at {told['resolution_px']} px; "
        f"{told['device']}, torch {told['torch']}. Albums of {PHOTOS} photos, a third of them held "
        f"out, that show {' and '.join(ALBUM_SHOWS)} only. In brackets 95 % intervals over people "
        "and seeds, too narrow where people differ. Identity is dlib's cosine to the held-out "
        f"photos: the person's other photos reach {_mean(same)}, other people's {_mean(other)}."
    )
    yield "## What was asked for"
    yield verdicts_table(rows)
    yield "## Rows"
    yield "\n".join(
        f"- {row}, {len(rows[row])} units: "
        f"{', '.join(f'`{one}`' for one in told['rows'][row]) or 'the preset'}"
        for row in told["rows"]
    )
    yield rows_table(rows)
    yield (
        "The preset is row photos. Of two or three units an interval says little, if there is one; "
        "what a row changes of plain is in the next table, unit by unit. Other work shared the "
        "cores in some units, so seconds of training are no measure."
    )
    beside = differences_table(rows)
    if beside:
        yield "## Less plain, person by person and seed by seed"
        yield beside


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else "-"


if __name__ == "__main__":
    main()
