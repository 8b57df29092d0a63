"""The whole road in one call: synthetic photographs, then what the five commands do."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import cpu_count

from sfe_core.config.init import init_workspace
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.personal_protocol import PERSONAL, evaluate_personal
from sfe_core.evaluation.physical_protocol import evaluate_physical
from sfe_core.evaluation.reporting.personal_outputs import SHEET
from sfe_core.evaluation.reporting.story import STORY
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch, refuse_launcher
from sfe_core.sampling.editing.rigs import PHYSICAL
from sfe_core.sampling.editing.story import write_edit_story
from sfe_core.sampling.generate import generate
from sfe_core.sampling.sweep import Request
from sfe_core.sampling.triptych import make_triptychs
from sfe_core.synthesis.photos import synthesize, synthesize_albums
from sfe_core.synthesis.spec import sample_person
from sfe_core.training.options import TrainOptions

# All that sets the demo apart from the tiny preset, in one place. Sized for two CPU cores: the
# whole road in less than four minutes, in 2.6 GB.
PHOTOS: dict[str, Any] = {
    "count": 400,
    "size_px": 192,
    "balanced": True,
    "expressions_per_identity": 8,
}
# People that no shipped weight was trained on, see the model cards.
IDENTITIES = (3584, 4096)
# The preset trains four times as long (tests/benchmarks/results/fidelity_tiny.md). Of so few
# updates more must see the maps: what maps do shows by then, what captions do hardly.
SETTINGS: dict[str, Any] = {"train.steps": 220, "train.guidance_dropout": 0.3}
# What sets the demo of action units apart from that: more photos, and longer on them, as a unit
# alone changes a face less than an emotion does.
UNIT_PHOTOS: dict[str, Any] = {"count": 600, "random_units": True}
UNIT_SETTINGS: dict[str, Any] = {"train.steps": 700}
UNIT_SWEEP = "AU12xAU26"
# One person's album, which lacks most expressions; more photos than the least that an album needs,
# as a third of them are held out to know the person by.
ALBUM_PERSON = 3584
ALBUM: dict[str, Any] = {"count": 15, "size_px": 192, "emotions": ("neutral", "happy")}
ALBUM_SETTINGS: dict[str, Any] = {
    "split.validation_fraction": 0.34,
    "evaluate.identity": "dlib",
    "evaluate.person_noises": 6,
}
# The same album for a rig, and how many photos that it has not seen are edited.
RIG_SETTINGS: dict[str, Any] = {"split.validation_fraction": 0.34}
EDITED_PHOTOS, EDIT_STEPS = 3, 20
RECIPES = ("stableface", "action-units", "personal", "physical")


@dataclass(frozen=True)
class DemoSummary:
    """What the demo made.

    Attributes:
        workspace: where it lies; the five commands go on from there.
        evaluation: the numbers; `evaluation.report` is the page to open.
        gallery: index.html of the triptychs; None of physical.
        story: the sheet to look at first. Of stableface one unseen person in every emotion, drawn
            by base and fine-tuned model, or None where no face was found in several of them; of
            action-units one person by two units, from none to full intensity; of personal the
            album's person in every expression, below the base's pictures of anybody; of physical
            photos of the album's person beside edits of them.
        seconds: time of each step, in order.
    """

    workspace: Workspace
    evaluation: EvaluationSummary
    gallery: Path | None
    story: Path | None
    seconds: dict[str, float]


def run_demo(
    folder: Path,
    seed: int = 0,
    reporter: Reporter | None = None,
    recipe: str = "stableface",
) -> DemoSummary:
    """Run synthesize, preprocess, train, package-checkpoint, triptych and evaluate in `folder`.

    A rig of recipe physical draws no captions: edits take the place of triptychs.

    Args:
        folder: is made; must be empty if it exists.
        seed: of the photographs and of the training.
        reporter: told of each step.
        recipe: one of `RECIPES`.

    Raises:
        UserError: an unknown recipe, `folder` holds something already, or an offline model is not
            installed.
        RunError: a step failed.
    """
    refuse_launcher("sfe demo", os.environ)
    reporter = reporter or Reporter()
    folder = Path(folder).expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(folder, "holds something already", "choose a new one with --folder")
    plan = _plan(recipe)
    clock = _Clock(reporter)
    # Settings that are wrong are told before photographs are made.
    init_workspace(folder, plan.preset, settings={**plan.settings, "train.seed": seed})
    with clock.step("1/6 synthesize"):
        _photograph(folder, plan, seed, reporter)
    workspace = load_workspace(folder)
    with clock.step("2/6 preprocess"):
        found = preprocess(workspace, reporter)
    if not found.status_counts.get("ok"):
        raise RunError(workspace.photos, "no face was found", "run `sfe doctor`")
    with clock.step("3/6 train"):
        launch(workspace, TrainOptions(), reporter)
    with clock.step("4/6 package-checkpoint"):
        package = package_checkpoint(workspace, reporter=reporter).folder
    if recipe == PHYSICAL:
        return _edited(workspace, package, clock, reporter)
    return _measured(workspace, package, recipe, clock, reporter)


def _measured(
    workspace: Workspace, package: Path, recipe: str, clock: _Clock, reporter: Reporter
) -> DemoSummary:
    """The last steps of recipes that draw captions."""
    with clock.step("5/6 triptych"):
        triptychs = make_triptychs(workspace, reporter=reporter)
    with clock.step("6/6 evaluate"):
        measure = evaluate_personal if recipe == PERSONAL else evaluate
        evaluation = measure(workspace, reporter=reporter)
    if recipe == "action-units":
        story = _sweep(workspace, package, reporter)
    elif recipe == PERSONAL:
        story = _copied(evaluation.folder / SHEET, workspace.root / STORY)
    else:
        story = _copied(evaluation.folder / STORY, workspace.root)
    return DemoSummary(workspace, evaluation, triptychs.gallery, story, clock.seconds)


def _edited(workspace: Workspace, package: Path, clock: _Clock, reporter: Reporter) -> DemoSummary:
    """The last steps of a rig."""
    with clock.step("5/6 edit"):
        story = _edits(workspace, package, reporter)
    with clock.step("6/6 evaluate"):
        evaluation = evaluate_physical(workspace, package=package, reporter=reporter)
    return DemoSummary(workspace, evaluation, None, story, clock.seconds)


@dataclass(frozen=True)
class _Plan:
    """Preset, how photos are made, and settings."""

    preset: str
    photos: dict[str, Any]
    settings: dict[str, Any]


def _plan(recipe: str) -> _Plan:
    if recipe not in RECIPES:
        raise UserError(f"--recipe {recipe}", "is unknown", f"choose {', '.join(RECIPES)}")
    if recipe == "action-units":
        return _Plan(
            "tiny-action-units",
            {"identity_range": IDENTITIES, **PHOTOS, **UNIT_PHOTOS},
            UNIT_SETTINGS,
        )
    if recipe == PERSONAL:
        word = "man" if sample_person(ALBUM_PERSON).male else "woman"
        settings = {"captions.class_word": word, **ALBUM_SETTINGS}
        return _Plan("tiny-personal", {"identities": (ALBUM_PERSON,), **ALBUM}, settings)
    if recipe == PHYSICAL:
        return _Plan("tiny-physical", {"identities": (ALBUM_PERSON,), **ALBUM}, RIG_SETTINGS)
    return _Plan("tiny", {"identity_range": IDENTITIES, **PHOTOS}, SETTINGS)


def _photograph(folder: Path, plan: _Plan, seed: int, reporter: Reporter) -> None:
    make = synthesize_albums if "identities" in plan.photos else synthesize
    make(folder, seed=seed, workers=cpu_count(), reporter=reporter, **plan.photos)


def _sweep(workspace: Workspace, package: Path, reporter: Reporter) -> Path | None:
    """An unseen person's caption, drawn by two units."""
    rows = Corpus.open(workspace).split(workspace.config.split.validation_name)
    request = Request(prompt=str(rows["caption"].iloc[0]), sweep=UNIT_SWEEP)
    drawn = generate(workspace, request, package, reporter=reporter)
    return _copied(drawn.grid, workspace.root / "units.png") if drawn.grid else None


def _edits(workspace: Workspace, package: Path, reporter: Reporter) -> Path:
    """Held-out photos of the album, and edits of them."""
    rows = Corpus.open(workspace).split(workspace.config.split.validation_name)
    photos = [workspace.photos / photo for photo in rows["photo"].iloc[:EDITED_PHOTOS]]
    target = workspace.root / STORY
    return write_edit_story(workspace, photos, package, target, steps=EDIT_STEPS, reporter=reporter)


def _copied(file: Path, target: Path) -> Path | None:
    return Path(shutil.copy2(file, target)) if file.is_file() else None


class _Clock:
    """Announces steps and remembers how long they took."""

    def __init__(self, reporter: Reporter, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._reporter, self._now = reporter, now

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        begin = self._now()
        self._reporter.say(title)
        yield
        self.seconds[title.partition(" ")[2]] = self._now() - begin
