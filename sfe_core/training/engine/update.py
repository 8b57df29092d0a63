"""One optimiser update: its images, its forward passes, its gradient, its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from sfe_core.corpus.views import View
from sfe_core.losses.composite import TERMS
from sfe_core.recipes.draws import plan_update, share_of
from sfe_core.recipes.step import UpdateCounts, batch_loss
from sfe_core.training.batches.data import Batch
from sfe_core.training.engine.optimiser import set_learning_rate
from sfe_core.training.engine.session import Session
from sfe_core.training.parallel.devices import accumulate, clip_gradient


def update(session: Session, batches: Iterator[Batch]) -> dict[str, float]:
    """One optimiser update; returns its numbers, the same in every process.

    An update whose loss or gradient is NaN or infinite changes no weight, average or moment.

    Returns:
        "raw/<term>", "weighted/<term>", "total" (sum of the weighted), "gradient_norm" (before
        clipping), "lr/<group>"; nothing of a skipped update.
    """
    accelerator, config = session.accelerator, session.config
    rates = set_learning_rate(session.optimiser, session.step, config.train)
    slots = draw_slots(session)
    counts = UpdateCounts(len(slots), sum(slot.decode for slot in slots))
    mine = share_of(
        slots, accelerator.process_index, session.plan.processes, session.plan.batch_size
    )
    sums: dict[str, torch.Tensor] = {}
    numbers: dict[str, float] = {}
    for number, share in enumerate(mine):
        batch = next(batches).to(accelerator.device)
        last = number == len(mine) - 1
        with accumulate(accelerator, session.wrapped, last):
            with accelerator.autocast():
                terms = batch_loss(session.wrapped, session.objective, batch, share, counts)
            for kind, values in (("raw", terms.raw), ("weighted", terms.weighted)):
                for name, value in values.items():
                    sums[f"{kind}/{name}"] = sums.get(f"{kind}/{name}", 0.0) + value
            if last:
                # Before the last backward, in which DeepSpeed already changes the weights.
                numbers = _shared_numbers(session, sums, counts)
                if not math.isfinite(numbers["total"]):
                    session.optimiser.zero_grad(set_to_none=True)
                    return {}
            # DDP averages over processes, while the shares of an update must add up.
            accelerator.backward(terms.total * session.plan.processes)
    norm = clip_gradient(accelerator, session.wrapped, config.train.max_gradient_norm)
    if not take_step(session, norm):
        return {}
    return numbers | {"gradient_norm": norm} | {f"lr/{k}": v for k, v in rates.items()}


def take_step(session: Session, gradient_norm: float) -> bool:
    """Change weights and averages by the gradient, unless that is NaN or infinite.

    With float16 the optimiser must be asked even then: it finds the overflow by itself, leaves
    the weights alone, and accelerate's scaler halves its scale.
    """
    finite = math.isfinite(gradient_norm)
    if finite or session.accelerator.scaler is not None:
        session.optimiser.step()
    session.optimiser.zero_grad(set_to_none=True)
    if finite and session.ema is not None:
        session.ema.update(session.step)
    return finite


def _views(session: Session, step: int) -> list[View]:
    """The images of an update: faces of the data set, and how each is looked at."""
    plan, data = session.plan, session.dataset
    places = session.sampler.take(plan.images_before(step), plan.effective_batch)
    return data.variation.draw(places, data.keys, session.config.train.seed, step)


def draw_slots(session: Session) -> list:
    """This update's images and what is drawn for each."""
    places = [view.place for view in _views(session, session.step)]
    return plan_update(
        places,
        [session.dataset.keys[place] for place in places],
        session.step,
        session.config.train,
        session.config.loss,
        session.objective.timesteps,
        session.objective.window,
    )


def wanted_batches(session: Session) -> Iterator[list[View]]:
    """This process's batches from the session's step on, as views of the data set's faces."""
    plan = session.plan
    index = session.accelerator.process_index
    for step in range(session.step, plan.steps):
        yield from share_of(_views(session, step), index, plan.processes, plan.batch_size)


def _shared_numbers(
    session: Session, sums: dict[str, torch.Tensor], counts: UpdateCounts
) -> dict[str, float]:
    """Add every process's shares up; terms that no image of the update had are left out."""
    active = session.objective.composite.active
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
