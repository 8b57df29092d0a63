"""The loop of a run, whatever its recipe: build, update, save, finish.

One step is one optimiser update of exactly `train.effective_batch` images, shared out to processes
and forward passes; everything chance decides for an image follows from (seed, step, place in the
update, key), so neither the layout nor an interruption changes what is learnt. Runs under
accelerate or torchrun, and without a launcher.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from sfe_core.config.workspace import Workspace
from sfe_core.errors import Stopped
from sfe_core.files import atomic_path, sha256_file
from sfe_core.processes.threads import ThreadWatch
from sfe_core.reporting import Reporter
from sfe_core.training.contract import RecipeSpec, SamplingStopped
from sfe_core.training.engine.checkpoints import (
    best_checkpoint,
    going_on,
    list_checkpoints,
)
from sfe_core.training.engine.checksums import CHECKSUMS
from sfe_core.training.engine.interruption import Interruption
from sfe_core.training.engine.nonfinite import NOTHING
from sfe_core.training.engine.optimiser import set_learning_rate
from sfe_core.training.engine.plan import plan_training
from sfe_core.training.engine.run_folder import put_aside_newer, write_config
from sfe_core.training.engine.runlog import (
    Pace,
    Window,
    live_figures,
    peak_memory_bytes,
    read_metrics,
)
from sfe_core.training.engine.scaling import probe_one_device, scaling_line, scaling_warning
from sfe_core.training.engine.session import Session, build
from sfe_core.training.engine.state import (
    leave_weights_out,
    load_checkpoint,
    require_finite_weights,
    save_checkpoint,
)
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions, TrainPlan, TrainSummary
from sfe_core.training.parallel.sharding import gathered, is_sharded

SAMPLES = "samples"


def train(
    workspace: Workspace,
    options: TrainOptions,
    spec: RecipeSpec,
    reporter: Reporter,
    plan: TrainPlan | None = None,
) -> TrainSummary:
    """Train in this process (one of several, under a launcher), to the last step.

    Writes runs/<run>/: config.yaml, metrics.jsonl, tensorboard/, checkpoint-<step>/, samples/.

    Args:
        workspace: its configuration is the run's.
        options: of this call.
        spec: of the recipe.
        reporter: is told of progress.
        plan: what `plan_training` made of these two, if it was asked already.

    Raises:
        UserError: the plan does not hold (see `plan_training`).
        Stopped: a signal came; the run is saved up to the update it came in.
        RunError: the loss stayed NaN or infinite, or a file could not be written.
    """
    with Interruption() as interruption:
        plan = plan or plan_training(workspace, options, spec)
        for note in plan.notes:
            reporter.say(note)
        for warning in plan.warnings:
            reporter.warn(warning)
        session = build(options.applied_to(workspace), plan, options, spec, reporter)
        try:
            leave_weights_out(session)
            if plan.resume_from is not None:
                resume(session, plan.resume_from)
            session.one_device = probe_one_device(session)
            images_per_s = loop(session, interruption)
            return finish(session, images_per_s)
        finally:
            session.close()


def resume(session: Session, checkpoint: Path) -> None:
    """Go on from a checkpoint, and say from which state."""
    load_checkpoint(session, checkpoint)
    run, step, steps = session.run.name, session.step, session.plan.steps
    if step < steps and session.accelerator.is_main_process:
        write_config_anew(session, checkpoint)
    if step >= steps:
        session.reporter.say(
            f"{run} has done its {steps} updates: nothing left to do; ask for more with "
            "--steps, or start a new run without --resume"
        )
    else:
        rates = set_learning_rate(session.optimiser, step, session.config.train)
        told = ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items())
        averages = "averages too" if session.ema is not None else "no averages"
        state = sha256_file(checkpoint / CHECKSUMS)[:12]
        session.reporter.say(
            f"{run} goes on from update {step} of {steps}: {averages}, learning rate {told}, "
            f"state {state}"
        )


def write_config_anew(session: Session, checkpoint: Path) -> None:
    """Write down what the run goes on with; what it had after the checkpoint is put aside."""
    aside = put_aside_newer(checkpoint)
    if aside is not None:
        session.reporter.warn(
            f"what {session.run.name} saved and wrote after {checkpoint.name} is now in {aside}; "
            "delete it when it is of no more use"
        )
    write_config(session.run, session.config)


def loop(session: Session, interruption: Interruption) -> float:
    """Every update from the session's step to the last; returns images per second.

    Raises:
        Stopped: a signal came to this or another process.
    """
    steps = session.plan.steps
    pace = Pace(session.plan.effective_batch)
    interruption.wait_for_update()
    batches = session.recipe.batches(wanted_batches(session))
    with (
        session.reporter.task("Training", steps, done=session.step) as task,
        ThreadWatch(session.plan.device, session.reporter) as threads,
    ):
        while session.step < steps:
            with pace, threads.piece():
                numbers = update(session, batches)
            session.step += 1
            count(session, numbers)
            stopping = interruption.agreed(session.accelerator) and session.step < steps
            memory = peak_memory_bytes(session.accelerator.device)
            shown = live_figures(numbers, pace.lately, memory, session.skips.total)
            session.reporter.show(shown)
            write_out(session, pace, interruption, stopping)
            if stopping:
                raise stopped(session, interruption.name)
            task.advance(1, f"loss {numbers['total']:.4f}" if numbers else "skipped")
    return pace.overall


def count(session: Session, numbers: dict[str, float]) -> None:
    """Take an update's numbers into the running means, or count it as skipped."""
    if numbers:
        session.skips.learnt()
        session.window.add(numbers)
    else:
        scaler = session.accelerator.scaler
        rescaled = scaler is not None and session.accelerator.optimizer_step_was_skipped
        rescaled = rescaled and scaler.get_scale() >= 1.0
        session.reporter.warn(session.skips.skipped(session.run, session.step, rescaled))


def write_out(session: Session, pace: Pace, interruption: Interruption, stopping: bool) -> None:
    """Draw samples, write a line of numbers and save, whatever of it is due at this step.

    When `stopping`, save in any case, and draw nothing, as that takes time.
    """
    train, step = session.config.train, session.step
    last = step == session.plan.steps
    # Without one update learnt, the weights are the base's: nothing to save or to look at.
    learnt = session.skips.total < step
    saves = learnt and (last or step % train.checkpoint_every == 0)
    if train.sample_every is None:
        samples = saves
    else:
        samples = last or bool(train.sample_every and step % train.sample_every == 0)
    samples = samples and learnt
    loss = session.window.means().get("total")
    measured = sample(session, interruption) if samples and not stopping else {}
    if last or samples or step % train.log_every == 0:
        write_line(session, pace, measured)
    if saves or (stopping and learnt):
        require_finite_weights(session)
        metrics = measured if loss is None else measured | {"loss": loss}
        best = session.spec.higher_is_better
        save_checkpoint(session, {name: metrics[name] for name in metrics if name in best})


def stopped(session: Session, signal: str) -> Stopped:
    """What to raise when a signal has ended the run, and it is saved."""
    step, steps = session.step, session.plan.steps
    where, told = f"run {session.run.name}", f"stopped by {signal} after update {step} of {steps}"
    if session.skips.total >= step:
        return Stopped(where, f"{told}; {NOTHING}", "the same command starts it anew")
    return Stopped(
        where,
        f"{told}, all of it in checkpoint-{step}",
        f"go on with `{going_on(session.run)}` and the options of before",
    )


def write_line(session: Session, pace: Pace, measured: dict[str, float]) -> None:
    """Close the window of running means as a line of metrics.jsonl."""
    means = session.window.means()
    session.window = Window()
    line: dict[str, Any] = {
        "step": session.step,
        "images_seen": session.plan.images_before(session.step),
        "images_per_s": round(pace.lately, 3),
        "memory_bytes": peak_memory_bytes(session.accelerator.device),
        "skipped": session.skips.total,
    } | scaling_line(session, pace.lately)
    if warning := scaling_warning(session, pace.lately):
        session.reporter.warn(warning)
    pace.next_line()
    for name, value in means.items():
        group, _, inner = name.partition("/")
        if inner:
            line.setdefault(group, {})[inner] = value
        else:
            line[name] = value
    if measured:
        line["samples"] = measured
    if session.log is not None:
        session.log.write(line)


def sample(session: Session, interruption: Interruption) -> dict[str, float]:
    """Look at the model with the averaged weights; the main process alone does.

    Returns:
        The numbers of the recipe's samples; none in other processes, or if a signal came.
    """
    numbers: dict[str, float] = {}
    weights = _weights_to_draw_with(session)
    if session.log is not None:
        try:
            with weights as model, session.accelerator.autocast():
                samples = session.recipe.samples(model, lambda: bool(interruption))
        except SamplingStopped:
            session.reporter.say("a signal came: no samples drawn")
        else:
            numbers = {} if samples is None else samples.numbers
            if samples is not None and samples.picture is not None:
                with atomic_path(_samples_path(session)) as partial:
                    Image.fromarray(samples.picture).save(partial)
                session.log.picture("samples", samples.picture, session.step)
    session.accelerator.wait_for_everyone()
    return numbers


def _weights_to_draw_with(session: Session) -> AbstractContextManager[nn.Module]:
    """The averages, if there are any, as a model that the first process can draw with."""
    averages, accelerator = session.ema, session.accelerator
    held = session.model if averages is None else averages.model
    if is_sharded(held):
        found = gathered(session.recipe, held)
        return nullcontext(found.to(accelerator.device) if accelerator.is_main_process else found)
    return nullcontext(held) if averages is None else averages.applied()


def finish(session: Session, images_per_s: float) -> TrainSummary:
    """Free what is held and say what was done.

    Raises:
        RunError: nothing was learnt.
    """
    session.skips.require_learnt(session.run, session.step)
    streak = session.skips.streak(session.run, session.step)
    if streak is not None:
        session.reporter.warn(streak)
    lines = [line for line in read_metrics(session.run) if "total" in line]
    losses = dict(lines[-1]["weighted"], total=lines[-1]["total"]) if lines else {}
    session.accelerator.free_memory()
    samples = _samples_path(session)
    return TrainSummary(
        run=session.run,
        checkpoint=list_checkpoints(session.run)[-1],
        step=session.step,
        images_seen=session.plan.images_before(session.step),
        images_per_s=images_per_s,
        one_device=session.one_device,
        losses=losses,
        samples=samples if samples.exists() else None,
        skipped=session.skips.total,
        skipped_last=session.skips.since_learnt,
        best=best_checkpoint(session.run, session.config.train.best_metric),
    )


def _samples_path(session: Session) -> Path:
    return session.run / SAMPLES / f"step-{session.step:06d}.png"
