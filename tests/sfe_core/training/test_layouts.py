"""One update is one update, however many processes and forward passes share it."""

from __future__ import annotations

import pytest
from diffusers import UNet2DConditionModel

from sfe_core.reporting import Reporter
from sfe_core.training.build import build
from sfe_core.training.options import TrainOptions
from sfe_core.training.plan import plan_training
from sfe_core.training.recipe import _weights_to_draw_with
from sfe_core.training.scaling import probe_one_device, scaling_line
from sfe_core.training.sharding import is_sharded, local
from sfe_core.training.state import leave_weights_out, load_checkpoint, save_checkpoint
from sfe_core.training.update import update, wanted_batches
from tests.sfe_core.training.conftest import with_settings
from tests.sfe_core.training.processes import in_processes

UPDATES = 3


@pytest.fixture
def eights(workspace):
    """Updates of eight images, with a term on decoded ones; without a slow network."""
    return with_settings(
        workspace,
        train={"steps": UPDATES, "effective_batch": 8, "schedule": "linear"},
        loss={"perceptual": 0},
    )


def numbers_of(workspace, processes: int, batch: int, updates: int = UPDATES) -> list[dict]:
    """The numbers of every update of a run in a layout, as its first process has them."""
    chosen = TrainOptions(cpu_processes=processes, batch_size=batch)

    def work(rank: int) -> list[dict[str, float]]:
        applied = chosen.applied_to(workspace)
        session = build(applied, plan_training(workspace, chosen), chosen, Reporter())
        batches = session.source.batches(wanted_batches(session))
        found = []
        for _ in range(updates):
            found.append(update(session, batches))
            session.step += 1
        return found

    every = in_processes(processes, work)
    assert all(numbers == every[0] for numbers in every)
    return every[0]


def assert_same_learning(one: list[dict[str, float]], other: list[dict[str, float]]) -> None:
    for ours, theirs in zip(one, other, strict=True):
        rates = [name for name in ours if name.startswith("lr/")]
        assert rates and all(theirs[name] == ours[name] for name in rates)
        assert theirs == pytest.approx(ours, rel=1e-3)


def test_1x8_2x4_and_accumulated_learn_the_same(eights):
    whole = numbers_of(eights, processes=1, batch=8)
    assert len({numbers["lr/unet"] for numbers in whole}) == UPDATES
    assert len({numbers["raw/noise"] for numbers in whole}) == UPDATES
    assert "raw/expression" in whole[0]
    assert_same_learning(whole, numbers_of(eights, processes=1, batch=2))
    assert_same_learning(whole, numbers_of(eights, processes=2, batch=4))
    assert_same_learning(whole, numbers_of(eights, processes=2, batch=2))


def test_the_probe_of_one_device_changes_nothing_and_measures(eights):
    chosen = TrainOptions(cpu_processes=2, batch_size=4)

    def work(rank: int) -> tuple:
        session = build(
            chosen.applied_to(eights), plan_training(eights, chosen), chosen, Reporter()
        )
        batches = session.source.batches(wanted_batches(session))
        session.one_device = probe_one_device(session)
        numbers = update(session, batches)
        return numbers, session.one_device, scaling_line(session, 2 * (session.one_device or 0))

    (first, rate, line), (second, none, empty) = in_processes(2, work)
    assert rate > 0 and line["scaling"] == {"one_device": round(rate, 3), "efficiency": 1.0}
    assert none is None and empty == {}
    assert first == second
    assert first == pytest.approx(numbers_of(eights, 2, 4, updates=1)[0], rel=1e-9)


def test_sharded_weights_learn_what_whole_ones_do_and_are_saved_whole(eights):
    chosen = TrainOptions(cpu_processes=2, batch_size=2, strategy="fsdp", run="shards")

    def work(rank: int) -> tuple:
        plan = plan_training(eights, chosen)
        session = build(chosen.applied_to(eights), plan, chosen, Reporter())
        leave_weights_out(session)
        assert is_sharded(session.model) and is_sharded(session.ema.model)
        batches = session.source.batches(wanted_batches(session))
        found = []
        for _ in range(2):
            found.append(update(session, batches))
            session.step += 1
        held = sum(local(p).numel() for p in session.model.parameters())
        checkpoint = save_checkpoint(session)
        with _weights_to_draw_with(session) as averages:
            if rank == 0:
                assert not is_sharded(averages)
                assert all(p.isfinite().all() for p in averages.parameters())
        more = dict(update(session, batches))
        load_checkpoint(session, checkpoint)
        again = update(session, session.source.batches(wanted_batches(session)))
        return found, held / plan.parameters, more, again

    (found, share, more, again), _ = in_processes(2, work)
    assert_same_learning(numbers_of(eights, processes=1, batch=8, updates=2), found)
    assert share < 0.6
    assert again == more
    saved = eights.runs / "shards" / "checkpoint-2"
    for suffix in ("", "_ema"):
        unet = UNet2DConditionModel.from_pretrained(saved / f"unet{suffix}")
        assert all(p.isfinite().all() for p in unet.parameters())
