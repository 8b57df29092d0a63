"""The recipe: fine-tune the UNet and its guidance encoders on a workspace's corpus.

Reads from top to bottom: build, loop, update, save, finish. One step is one optimiser update of
exactly `train.effective_batch` images, dealt out to processes and forward passes; everything chance
decides for an image follows from (seed, step, place in the update, key), so neither the layout nor
an interruption changes what is learnt. Runs under accelerate or torchrun, and without a launcher.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.errors import RunError, UserError
from sfe_core.losses.composite import TERMS
from sfe_core.reporting import Reporter
from sfe_core.training.build import Session, build, write_config
from sfe_core.training.checkpoints import list_checkpoints
from sfe_core.training.data import Batch
from sfe_core.training.draws import plan_update, share_of
from sfe_core.training.optimiser import set_learning_rate
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
from sfe_core.training.step import UpdateCounts, batch_loss

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
    batches = session.source.batches(_wanted(session))
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


def update(session: Session, batches: Iterator[Batch]) -> dict[str, float]:
    """One optimiser update; returns its numbers, the same in every process.

    Returns:
        "raw/<term>", "weighted/<term>", "total" (sum of the weighted), "gradient_norm" (before
        clipping), "lr/<group>".
    """
    accelerator, config = session.accelerator, session.config
    rates = set_learning_rate(session.optimiser, session.step, config.train)
    slots = _slots(session)
    counts = UpdateCounts(len(slots), sum(slot.decode for slot in slots))
    mine = share_of(
        slots, accelerator.process_index, session.plan.processes, session.plan.batch_size
    )
    sums: dict[str, torch.Tensor] = {}
    for number, share in enumerate(mine):
        batch = next(batches).to(accelerator.device)
        last = number == len(mine) - 1
        with nullcontext() if last else accelerator.no_sync(session.wrapped):
            with accelerator.autocast():
                terms = batch_loss(
                    session.wrapped,
                    session.base,
                    session.composite,
                    batch,
                    share,
                    counts,
                    session.empty_text,
                    config.train.snr_gamma,
                )
            # DDP averages over processes, while the shares of an update must add up.
            accelerator.backward(terms.total * session.plan.processes)
        for kind, values in (("raw", terms.raw), ("weighted", terms.weighted)):
            for name, value in values.items():
                sums[f"{kind}/{name}"] = sums.get(f"{kind}/{name}", 0.0) + value
    norm = accelerator.clip_grad_norm_(session.wrapped.parameters(), config.train.max_gradient_norm)
    session.optimiser.step()
    session.optimiser.zero_grad(set_to_none=True)
    if session.ema is not None:
        session.ema.update(session.step)
    numbers = _shared_numbers(session, sums, counts)
    if not math.isfinite(numbers["total"]):
        raise RunError(
            f"update {session.step + 1}",
            f"the loss is {numbers['total']}",
            "lower train.learning_rate or loss.pixel_max_timestep, then --resume auto",
        )
    return numbers | {"gradient_norm": float(norm)} | {f"lr/{k}": v for k, v in rates.items()}


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


def _places(session: Session, step: int) -> list[int]:
    """The images of an update, places in the data set."""
    images = session.plan.effective_batch
    return session.sampler.take(step * images, images)


def _slots(session: Session) -> list:
    """This update's images and what is drawn for each."""
    places = _places(session, session.step)
    return plan_update(
        places,
        [session.dataset.keys[place] for place in places],
        session.step,
        session.config.train,
        session.config.loss,
        session.base.scheduler.config.num_train_timesteps,
        session.composite.needs_pixels,
    )


def _wanted(session: Session) -> Iterator[list[int]]:
    """This process's batches from the session's step on, as places in the data set."""
    plan = session.plan
    index = session.accelerator.process_index
    for step in range(session.step, plan.steps):
        yield from share_of(_places(session, step), index, plan.processes, plan.batch_size)


def _shared_numbers(
    session: Session, sums: dict[str, torch.Tensor], counts: UpdateCounts
) -> dict[str, float]:
    """Add every process's shares up; terms that no image of the update had are left out."""
    active = session.composite.active
    present = [name for name in TERMS if name in active and (name == "noise" or counts.decoded)]
    names = [f"{kind}/{name}" for kind in ("raw", "weighted") for name in present]
    device = session.accelerator.device
    shares = torch.stack(
        [torch.as_tensor(sums.get(name, 0.0), dtype=torch.float64, device=device) for name in names]
    )
    totals = session.accelerator.reduce(shares, reduction="sum")
    numbers = dict(zip(names, totals.tolist(), strict=True))
    total = sum(value for name, value in numbers.items() if name.startswith("weighted/"))
    return numbers | {"total": total}
