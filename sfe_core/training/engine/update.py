"""One optimiser update: its images, its forward passes, its gradient, its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from sfe_core.training.contract import Batch, Draw
from sfe_core.training.engine.optimiser import set_learning_rate
from sfe_core.training.engine.session import Session
from sfe_core.training.parallel.devices import accumulate, clip_gradient

Item = TypeVar("Item")


def share_of(images: Sequence[Item], process: int, processes: int, batch: int) -> list[list[Item]]:
    """The batches of one process, in order: batch a of process p starts at (a P + p) batch."""
    starts = range(process * batch, len(images), processes * batch)
    return [list(images[start : start + batch]) for start in starts]


def wanted_batches(session: Session) -> Iterator[list[Draw]]:
    """This process's batches from the session's step on, as the recipe's draws."""
    for step in range(session.step, session.plan.steps):
        yield from _mine(session, session.draws(step))


def update(session: Session, batches: Iterator[Batch]) -> dict[str, float]:
    """One optimiser update; returns its numbers, the same in every process.

    An update whose loss or gradient is NaN or infinite changes no weight, average or moment.

    Returns:
        "raw/<term>", "weighted/<term>", "total" (sum of the weighted), "gradient_norm" (before
        clipping), "lr/<group>"; nothing of a skipped update.
    """
    accelerator, config = session.accelerator, session.config
    rates = set_learning_rate(session.optimiser, session.step, config.train)
    draws = session.draws(session.step)
    mine = _mine(session, draws)
    sums: dict[str, torch.Tensor] = {}
    numbers: dict[str, float] = {}
    for number, share in enumerate(mine):
        batch = next(batches).to(accelerator.device)
        last = number == len(mine) - 1
        with accumulate(accelerator, session.wrapped, last):
            with accelerator.autocast():
                terms = session.recipe.loss(session.wrapped, batch, share, draws)
            for kind, values in (("raw", terms.raw), ("weighted", terms.weighted)):
                for name, value in values.items():
                    sums[f"{kind}/{name}"] = sums.get(f"{kind}/{name}", 0.0) + value
            if last:
                # Before the last backward, in which DeepSpeed already changes the weights.
                numbers = _shared_numbers(session, sums, session.recipe.terms(draws))
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


def _mine(session: Session, draws: Sequence[Draw]) -> list[list[Draw]]:
    plan = session.plan
    return share_of(draws, session.accelerator.process_index, plan.processes, plan.batch_size)


def _shared_numbers(
    session: Session, sums: dict[str, torch.Tensor], terms: Sequence[str]
) -> dict[str, float]:
    """Add every process's shares up."""
    names = [f"{kind}/{name}" for kind in ("raw", "weighted") for name in terms]
    device = session.accelerator.device
    shares = torch.stack(
        [torch.as_tensor(sums.get(name, 0.0), dtype=torch.float64, device=device) for name in names]
    )
    totals = session.accelerator.reduce(shares, reduction="sum")
    numbers = dict(zip(names, totals.tolist(), strict=True))
    total = sum(value for name, value in numbers.items() if name.startswith("weighted/"))
    return numbers | {"total": total}
