"""The recipe: fine-tune the UNet and its guidance encoders on a workspace's corpus.

Reads from top to bottom: build, loop, update, save, finish. One step is one optimiser update of
exactly `train.effective_batch` images, dealt out to processes and forward passes; everything chance
decides for an image follows from (seed, step, place in the update, key), so neither the layout nor
an interruption changes what is learnt. Runs under accelerate or torchrun, and without a launcher.
"""

from __future__ import annotations

import time
from pathlib import Path

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from sfe_core.training.build import Session, build, write_config
from sfe_core.training.checkpoints import list_checkpoints
from sfe_core.training.options import TrainOptions, TrainSummary
from sfe_core.training.plan import plan_training
from sfe_core.training.runlog import Window, read_metrics
from sfe_core.training.samples import draw_grid, save_grid
from sfe_core.training.state import (
    changed_fields,
    leave_weights_out,
    load_checkpoint,
    save_checkpoint,
)
from sfe_core.training.update import update, wanted_batches

SAMPLES = "samples"
_SAMPLE_FACES = 6


def train(workspace: Workspace, options: TrainOptions, reporter: Reporter) -> TrainSummary:
    """Train in this process (one of several, under a launcher), to the last step.

    Writes runs/<run>/: config.yaml, metrics.jsonl, tensorboard/, checkpoint-<step>/, samples/.

    Raises:
        UserError: the plan does not hold (see `plan_training`).
        RunError: the loss left the numbers, or a file could not be written.
    """
    plan = plan_training(workspace, options)
    for note in plan.notes:
        reporter.say(note)
    session = build(options.applied_to(workspace), plan, options, reporter)
    leave_weights_out(session)
    if plan.resume_from is not None:
        resume(session, plan.resume_from)
    images_per_s = loop(session)
    return finish(session, images_per_s)


def resume(session: Session, checkpoint: Path) -> None:
    """Go on from a checkpoint, and tell what changed in sfe.yaml since."""
    for change in changed_fields(session):
        session.reporter.warn(f"resuming {session.run.name} with {change}")
    load_checkpoint(session, checkpoint)
    if session.accelerator.is_main_process:
        write_config(session.run, session.config)
    if session.step >= session.plan.steps:
        session.reporter.say(
            f"{session.run.name} has done its {session.plan.steps} updates: nothing left to do; "
            "raise train.steps, or start a new run without --resume"
        )


def loop(session: Session) -> float:
    """Every update from the session's step to the last; returns images per second."""
    train, plan = session.config.train, session.plan
    started, first = time.perf_counter(), session.step
    logged_at, logged_step = started, first
    batches = session.source.batches(wanted_batches(session))
    with session.reporter.task("Training", plan.steps) as task:
        task.advance(first)
        while session.step < plan.steps:
            numbers = update(session, batches)
            session.window.add(numbers)
            session.step += 1
            last = session.step == plan.steps
            if last or session.step % train.log_every == 0:
                now = time.perf_counter()
                rate = (session.step - logged_step) * plan.effective_batch / (now - logged_at)
                write_line(session, rate)
                logged_at, logged_step = now, session.step
            if last or session.step % train.checkpoint_every == 0:
                save_checkpoint(session)
            if last or (train.sample_every and session.step % train.sample_every == 0):
                sample(session)
            task.advance(1, f"loss {numbers['total']:.4f}")
    done = (session.step - first) * plan.effective_batch
    return done / (time.perf_counter() - started)


def write_line(session: Session, images_per_s: float) -> None:
    """Close the window of running means as a line of metrics.jsonl."""
    means = session.window.means()
    session.window = Window()
    line = {
        "step": session.step,
        "images_seen": session.step * session.plan.effective_batch,
        "images_per_s": round(images_per_s, 3),
        "total": means.pop("total"),
        "gradient_norm": means.pop("gradient_norm"),
    }
    for name, value in means.items():
        group, inner = name.split("/")
        line.setdefault(group, {})[inner] = value
    if session.log is not None:
        session.log.write(line)


def sample(session: Session) -> None:
    """Draw a grid of validation faces with the averaged weights; the main process alone does."""
    if session.log is not None:
        config = session.config
        try:
            faces = FaceDataset(
                session.corpus,
                config.split.validation_name,
                config.guidance.maps,
                config.model.resolution,
            )
        except UserError:
            session.reporter.warn("no validation split in the corpus: no sample grid drawn")
        else:
            count = min(_SAMPLE_FACES, len(faces))
            places = [number * len(faces) // count for number in range(count)]
            model = session.ema.model if session.ema is not None else session.model
            grid = draw_grid(model, session.base, faces, places, config)
            save_grid(grid, _grid_path(session))
            session.log.picture("samples", grid, session.step)
    session.accelerator.wait_for_everyone()


def finish(session: Session, images_per_s: float) -> TrainSummary:
    """Close what is open and say what was done."""
    if session.log is not None:
        session.log.close()
    lines = read_metrics(session.run)
    losses = dict(lines[-1].get("weighted", {}), total=lines[-1]["total"]) if lines else {}
    session.accelerator.free_memory()
    grid = _grid_path(session)
    return TrainSummary(
        run=session.run,
        checkpoint=list_checkpoints(session.run)[-1],
        step=session.step,
        images_seen=session.step * session.plan.effective_batch,
        images_per_s=images_per_s,
        losses=losses,
        samples=grid if grid.exists() else None,
    )


def _grid_path(session: Session) -> Path:
    return session.run / SAMPLES / f"step-{session.step:06d}.png"
