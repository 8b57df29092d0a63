"""What several devices gain over one: images per second, measured in the run itself."""

from __future__ import annotations

import time
from itertools import islice

import torch

from sfe_core.training.engine.session import Session
from sfe_core.training.engine.update import share_of, wanted_batches
from sfe_core.training.parallel.devices import accumulate

PASSES = 3
LEAST_EFFICIENCY = 0.7


def probe_one_device(session: Session) -> float | None:
    """Images per second of the first device alone, while the others wait.

    It repeats the forward and backward pass of its next batch without exchanging gradients; their
    sum is thrown away, so that nothing of the run changes. Data, optimiser and log are left out:
    what is measured is what more devices could multiply.

    Every process must call it.

    Returns:
        None in other processes than the first, for runs of one, and where a pass needs all
        processes (FSDP, DeepSpeed).
    """
    plan, accelerator = session.plan, session.accelerator
    if plan.processes == 1 or plan.topology.strategy != "ddp" or session.step >= plan.steps:
        return None
    rate = _rate_alone(session) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    return rate


def efficiency(images_per_s: float, one_device: float, devices: int) -> float:
    """Share of `devices` times one device's rate that is reached, 1 at best."""
    return images_per_s / (devices * one_device)


def scaling_line(session: Session, images_per_s: float) -> dict[str, dict[str, float]]:
    """The group "scaling" of a line of metrics.jsonl; empty where one device was not measured."""
    if session.one_device is None:
        return {}
    share = efficiency(images_per_s, session.one_device, session.plan.processes)
    return {"scaling": {"one_device": round(session.one_device, 3), "efficiency": round(share, 4)}}


def scaling_warning(session: Session, images_per_s: float) -> str | None:
    """A word about devices that gain too little over one, the first time; else None."""
    if session.one_device is None or session.scaling_told:
        return None
    session.scaling_told = True
    plan = session.plan
    share = efficiency(images_per_s, session.one_device, plan.processes)
    if share >= LEAST_EFFICIENCY:
        return None
    return (
        f"{plan.processes} devices draw {images_per_s:.1f} images/s, {share * plan.processes:.1f} "
        f"times the {session.one_device:.1f} of one: give each more to do between exchanges "
        f"(train.batch_size, now {plan.batch_size}; train.effective_batch, now "
        f"{plan.effective_batch}), or check that they are linked well and read fast enough "
        "(train.loader_workers)"
    )


def _rate_alone(session: Session) -> float:
    plan = session.plan
    draws = session.draws(session.step)
    share = share_of(draws, 0, plan.processes, plan.batch_size)[0]
    wanted = islice(wanted_batches(session), 1)
    batch = next(session.recipe.batches(wanted)).to(session.accelerator.device)
    seconds = []
    for _ in range(1 + PASSES):  # the first one warms up
        started = time.perf_counter()
        with accumulate(session.accelerator, session.wrapped, last=False):
            with session.accelerator.autocast():
                terms = session.recipe.loss(session.wrapped, batch, share, draws)
            session.accelerator.backward(terms.total)
        if session.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    # As after every update, or an optimiser would not zero what was only accumulated.
    session.accelerator.sync_gradients = True
    session.optimiser.zero_grad(set_to_none=True)
    return len(share) / min(seconds[1:])
