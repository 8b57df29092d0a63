"""A rehearsal of a run: real updates, real samples and a real save, then everything is thrown away.

Says what it takes and how fast it is, and which setting to change next. It runs in processes of its
own, so that running out of memory ends nothing else.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psutil
import torch
from pydantic import TypeAdapter

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.files import TEMPORARY_MARK, clear_leftovers
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training
from sfe_core.runs.worker_request import start_workers
from sfe_core.training.engine.interruption import Interruption
from sfe_core.training.engine.loop import sample
from sfe_core.training.engine.runlog import peak_memory_bytes
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.state import leave_weights_out, save_checkpoint
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions, TrainPlan

UPDATE, SAMPLE, SAVE = "update", "sample", "save"
_FOLDER = f"{TEMPORARY_MARK}preflight"
_FACES = 64  # encoded for it; memory and speed do not depend on how many there are
_PASSES = 3  # of the longer of the two timed updates
MARGIN = 0.92  # of a device's memory; the rest is left to fragments and other programs


@dataclass(frozen=True)
class Measured:
    """What one size of batch takes.

    Attributes:
        batch_size: images per device and forward pass.
        failed_in: the stage that ran out of memory, empty if none did.
        pass_s: seconds of a forward and backward pass.
        rest_s: seconds of an update besides.
        peak_bytes: stage to the most memory held on the first device (on the CPU: by its process).
        checkpoint_bytes: size of a checkpoint; 0 where none was saved.
    """

    batch_size: int
    failed_in: str = ""
    pass_s: float = 0.0
    rest_s: float = 0.0
    peak_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    checkpoint_bytes: int = 0

    def images_per_s(self, processes: int, accumulation: int) -> float:
        """Of a whole run, without samples and checkpoints; 0 if it did not come that far."""
        seconds = accumulation * self.pass_s + self.rest_s
        return self.batch_size * processes * accumulation / seconds if seconds else 0.0


def rehearse(
    workspace: Workspace, options: TrainOptions, plan: TrainPlan, reporter: Reporter
) -> Measured:
    """Two short updates, a grid of samples and a checkpoint, in this process; nothing is kept."""
    with rehearsal(workspace, options, plan, reporter) as session:
        measured = measure_updates(session, plan.batch_size)
        if measured.failed_in:
            return measured
        peaks, failed, size = dict(measured.peak_bytes), "", 0
        try:
            reporter.say("drawing samples")
            with Interruption() as interruption:
                peaks[SAMPLE] = _peak_of(session, lambda: sample(session, interruption))
        except torch.OutOfMemoryError:
            failed = SAMPLE
        else:
            reporter.say("saving a checkpoint")
            peaks[SAVE] = _peak_of(session, lambda: save_checkpoint(session))
            size = sum(p.stat().st_size for p in session.run.rglob("checkpoint-*/**/*.*"))
        return dataclasses.replace(
            measured, failed_in=failed, peak_bytes=peaks, checkpoint_bytes=size
        )


@contextmanager
def rehearsal(
    workspace: Workspace, options: TrainOptions, plan: TrainPlan, reporter: Reporter
) -> Iterator[Session]:
    """A session over a few faces, in a run folder that is deleted at the end of the block."""
    # One of its own: two rehearsals may come at once.
    folder = workspace.runs / f"{_FOLDER}-{os.getpid()}"
    options = dataclasses.replace(options, run=folder.name, resume=None)
    faces = min(plan.split_images, _FACES)
    plan = dataclasses.replace(plan, resume_from=None, start_step=0, split_images=faces)
    main = int(os.environ.get("RANK", "0")) == 0
    if main:
        clear_leftovers(workspace.runs)
    session = None
    try:
        session = build(options.applied_to(workspace), plan, options, reporter)
        leave_weights_out(session)
        yield session
    finally:
        if session is not None:
            session.close()
        if main:
            shutil.rmtree(folder, ignore_errors=True)


def measure_updates(session: Session, batch_size: int) -> Measured:
    """Time updates of one and of three passes; what is no pass is told from the difference."""
    try:
        _timed_update(session, batch_size, 1)  # warms up: kernels are chosen, moments made
        _reset_peak(session)
        longer = _timed_update(session, batch_size, _PASSES)
        shorter = _timed_update(session, batch_size, 1)
    except torch.OutOfMemoryError:
        session.optimiser.zero_grad(set_to_none=True)
        _free(session)
        return Measured(batch_size, failed_in=UPDATE)
    pass_s = max((longer - shorter) / (_PASSES - 1), 1e-9)
    peak = peak_memory_bytes(session.accelerator.device)
    return Measured(
        batch_size, pass_s=pass_s, rest_s=max(shorter - pass_s, 0.0), peak_bytes={UPDATE: peak}
    )


def _timed_update(session: Session, batch_size: int, passes: int) -> float:
    whole = session.plan
    session.plan = dataclasses.replace(
        whole,
        batch_size=batch_size,
        accumulation=passes,
        effective_batch=batch_size * passes * whole.processes,
    )
    try:
        batches: Iterator = session.recipe.batches(islice(wanted_batches(session), passes))
        started = time.perf_counter()
        update(session, batches)
        _synchronise(session)
        return time.perf_counter() - started
    finally:
        session.plan = whole


def _peak_of(session: Session, work: Callable[[], Any]) -> int:
    _reset_peak(session)
    work()
    return peak_memory_bytes(session.accelerator.device)


def _reset_peak(session: Session) -> None:
    if session.accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(session.accelerator.device)


def _synchronise(session: Session) -> None:
    if session.accelerator.device.type == "cuda":
        torch.cuda.synchronize(session.accelerator.device)


def _free(session: Session) -> None:
    gc.collect()
    if session.accelerator.device.type == "cuda":
        torch.cuda.empty_cache()


def device_memory_bytes(device: str) -> int:
    """Memory of the first GPU, or what this machine has to give to one more process."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return psutil.virtual_memory().available


def batch_sizes(effective_batch: int, processes: int) -> list[int]:
    """Sizes that deal an update out evenly, each at least 1.5 times the one before."""
    share = effective_batch // processes
    sizes: list[int] = []
    for size in range(1, share + 1):
        if share % size == 0 and (not sizes or size >= 1.5 * sizes[-1]):
            sizes.append(size)
    return sizes


def try_sizes(
    workspace: Workspace, options: TrainOptions, plan: TrainPlan, reporter: Reporter
) -> list[Measured]:
    """Measure growing sizes of batch on one device, up to the first that does not fit."""
    alone = dataclasses.replace(plan, processes=1)
    limit = MARGIN * device_memory_bytes(plan.device) - gradient_buckets(plan)
    tried: list[Measured] = []
    with rehearsal(workspace, options, alone, reporter) as session:
        for size in batch_sizes(plan.effective_batch, plan.processes):
            tried.append(measure_updates(session, size))
            last = tried[-1]
            fits = not last.failed_in and last.peak_bytes[UPDATE] <= limit
            told = f"{last.images_per_s(1, 1):.1f} images/s" if fits else "does not fit"
            reporter.say(f"batches of {size}: {told}")
            if not fits:
                tried[-1] = dataclasses.replace(last, failed_in=UPDATE)
                break
    return tried


def gradient_buckets(plan: TrainPlan) -> int:
    """What DDP adds to the memory of one device alone: the gradients once more."""
    return 4 * plan.trained_parameters if plan.processes > 1 else 0


def launch_preflight(
    workspace: Workspace, options: TrainOptions, reporter: Reporter
) -> tuple[TrainPlan, Measured]:
    """Rehearse the run on all the devices it is planned for.

    Raises:
        UserError: see `plan_training`.
        RunError: a process died.
    """
    options = dataclasses.replace(options, resume=None, run=None)
    plan = plan_training(workspace, options)
    found = start_workers("rehearse", workspace, options, plan, reporter)
    return plan, TypeAdapter(Measured).validate_python(found)


def find_batch_size(workspace: Workspace, options: TrainOptions, reporter: Reporter) -> int:
    """The largest batch that fits into a device's memory and deals the updates out evenly.

    Raises:
        UserError: not even one image fits, or see `plan_training`.
    """
    options = dataclasses.replace(options, resume=None, run=None)
    plan = plan_training(workspace, options)
    found = start_workers("try_sizes", workspace, options, plan, reporter, processes=1)
    tried = TypeAdapter(list[Measured]).validate_python(found)
    fitting = [one for one in tried if not one.failed_in]
    if not fitting:
        raise UserError(
            "--batch-size auto",
            "not even one image at a time fits into the device's memory",
            "`sfe train --preflight` names a setting that takes less",
        )
    return fitting[-1].batch_size
