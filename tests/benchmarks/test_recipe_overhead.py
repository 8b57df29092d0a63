"""What the recipe costs beyond forward, backward and optimiser: aim, under 5 %.

The bare way runs the very same step on batches and draws made beforehand; the recipe's adds draws,
the loader, shares of processes, numbers for the log and the moving average.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfe_core.config.workspace import Workspace
from sfe_core.recipes.stableface import UpdateCounts, batch_loss
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.update import share_of, update, wanted_batches
from tests.benchmarks.measure import compare
from tests.benchmarks.results import record
from tests.benchmarks.test_train import open_session

pytestmark = pytest.mark.benchmark
UPDATES = 4


def prepared(session: Session) -> list[tuple]:
    """Batches on the device and draws of the coming updates, in passes."""
    batches = session.recipe.batches(wanted_batches(session))
    made = []
    for _ in range(UPDATES):
        slots = session.draws(session.step)
        counts = UpdateCounts(len(slots), sum(slot.decode for slot in slots))
        shares = share_of(slots, 0, 1, session.plan.batch_size)
        device = session.accelerator.device
        made.append(([(next(batches).to(device), share) for share in shares], counts))
        session.step += 1
    session.step -= UPDATES
    return made


def bare_update(session: Session, passes: list[tuple], counts: UpdateCounts) -> None:
    """Forward, backward and optimiser."""
    for batch, share in passes:
        with session.accelerator.autocast():
            terms = batch_loss(session.wrapped, session.recipe.objective, batch, share, counts)
        terms.total.backward()
    limit = session.config.train.max_gradient_norm
    torch.nn.utils.clip_grad_norm_(session.model.parameters(), limit)
    session.optimiser.step()
    session.optimiser.zero_grad(set_to_none=True)


def test_overhead_of_the_recipe(corpus: Workspace, tmp_path: Path):
    session = open_session(corpus, tmp_path)
    size, side = session.plan.effective_batch, corpus.config.model.resolution
    made = prepared(session)

    def ours() -> int:
        first = session.step
        session._drawn.clear()  # drawn anew, as in a run that goes on
        batches = session.recipe.batches(wanted_batches(session))
        for _ in range(UPDATES):
            update(session, batches)
            session.step += 1
        session.step = first
        return UPDATES * size

    def bare() -> int:
        for passes, counts in made:
            bare_update(session, passes, counts)
        return UPDATES * size

    found = compare(f"recipe, {side} px, batch {size}", "images", ours, bare, rounds=5)
    record("recipe_overhead", {"overhead": found.overhead}, side, size)
