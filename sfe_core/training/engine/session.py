"""A run in memory: its folder, its networks under accelerate, its optimiser, its counters."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.reporting import Reporter
from sfe_core.training.contract import Draw, Fingerprint, Recipe, RecipeSpec
from sfe_core.training.engine.moving_average import MovingAverage
from sfe_core.training.engine.nonfinite import SkipCount
from sfe_core.training.engine.optimiser import build_optimiser
from sfe_core.training.engine.run_folder import note_start, open_run, write_config
from sfe_core.training.engine.runlog import RunLog, Window
from sfe_core.training.options import TrainOptions, TrainPlan
from sfe_core.training.parallel.devices import compile_blocks, open_accelerator
from sfe_core.training.parallel.sharding import is_sharded, shard_like_live


@dataclass
class Session:
    """Everything a run holds in memory.

    `wrapped` is what accelerate made of the recipe's model (DDP, autocast), and the one to call
    for a gradient.
    """

    config: Config
    plan: TrainPlan
    spec: RecipeSpec
    run: Path
    reporter: Reporter
    accelerator: Accelerator
    recipe: Recipe
    wrapped: nn.Module
    optimiser: torch.optim.Optimizer
    ema: MovingAverage | None
    must_match: dict[str, Fingerprint]  # main process only, as hashing takes a while
    log: RunLog | None  # main process only
    step: int = 0
    skips: SkipCount = field(default_factory=lambda: SkipCount(1))
    window: Window = field(default_factory=Window)
    one_device: float | None = None  # images/s of one device alone, see `scaling`
    scaling_told: bool = False
    held: ExitStack = field(default_factory=ExitStack)  # log and lock
    _drawn: dict[tuple[int, int, int], Sequence[Draw]] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The recipe's model itself."""
        return self.recipe.model

    def draws(self, step: int) -> Sequence[Draw]:
        """What the recipe draws for an update; once, though loader and update both ask."""
        plan = self.plan
        key = (step, plan.images_before(step), plan.effective_batch)
        if key not in self._drawn:
            for old in [kept for kept in self._drawn if kept[0] < self.step]:
                del self._drawn[old]
            self._drawn[key] = self.recipe.draw(*key)
        return self._drawn[key]

    def close(self) -> None:
        """Finish the log, and let other processes into the run's folder."""
        self.held.close()


def build(
    workspace: Workspace,
    plan: TrainPlan,
    options: TrainOptions,
    spec: RecipeSpec,
    reporter: Reporter,
) -> Session:
    """Load and connect everything; `workspace` already carries the overrides of `options`.

    The session is to be closed.

    Raises:
        SfeError: see `open_run`, `RunLog` and the recipe's `build`.
    """
    accelerator = open_accelerator(plan, workspace.config.train.max_gradient_norm, spec.blocks)
    with ExitStack() as held:
        run, lock = open_run(workspace, plan, options, accelerator)
        log = None
        if lock is not None:
            held.callback(lock.release)
            note_start(run, plan)
            # Before anything long: a tracker may not start.
            plain = workspace.config.model_dump(mode="json")
            log = RunLog(run, plan.start_step, workspace.config.train.trackers, plain)
            held.callback(log.close)
        recipe = spec.build(workspace, accelerator, plan.split_images, reporter)
        session = _connect(workspace.config, plan, spec, run, accelerator, recipe, log, reporter)
        session.held = held.pop_all()
    return session


def _connect(
    config: Config,
    plan: TrainPlan,
    spec: RecipeSpec,
    run: Path,
    accelerator: Accelerator,
    recipe: Recipe,
    log: RunLog | None,
    reporter: Reporter,
) -> Session:
    train, model, main = config.train, recipe.model, accelerator.is_main_process
    ema = MovingAverage(model, train.ema_decay, train.ema_device) if train.ema_decay else None
    if train.compile:
        for network in recipe.networks:
            if network.compile:
                compile_blocks(network.of(model))
    optimiser = build_optimiser(model, recipe.networks, train)
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    if ema is not None and is_sharded(model):
        shard_like_live(accelerator, ema.model)
        ema.pair_shards()
    if main and plan.resume_from is None:
        write_config(run, config)
    return Session(
        config=config,
        plan=plan,
        spec=spec,
        run=run,
        reporter=reporter,
        accelerator=accelerator,
        recipe=recipe,
        wrapped=wrapped,
        optimiser=optimiser,
        ema=ema,
        must_match=dict(recipe.must_match) if main else {},
        log=log,
        skips=SkipCount(train.max_skipped_updates),
    )
