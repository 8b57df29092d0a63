"""One update is one update, however many processes and forward passes share it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from diffusers import UNet2DConditionModel

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training
from sfe_core.training.engine.loop import _weights_to_draw_with
from sfe_core.training.engine.scaling import probe_one_device, scaling_line
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.state import leave_weights_out, load_checkpoint, save_checkpoint
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions
from sfe_core.training.parallel.sharding import is_sharded, to_local
from tests.processes import in_processes
from tests.sfe_core.conftest import with_settings

pytestmark = pytest.mark.slow

UPDATES = 3


@pytest.fixture
def eights(workspace):
    """Updates of eight images, with a term on decoded ones; without a slow network."""
    return with_settings(
        workspace,
        train={"steps": UPDATES, "effective_batch": 8, "schedule": "linear"},
        loss={"perceptual": 0},
    )


with_and_without_text_encoder = pytest.mark.parametrize("text_encoder", [False, True])


def numbers_of(
    workspace: Workspace, processes: int, batch: int, updates: int = UPDATES
) -> list[dict]:
    """The numbers of every update of a run in a layout, as its first process has them."""
    chosen = TrainOptions(cpu_processes=processes, batch_size=batch)
    every = in_processes(processes, updates_of, workspace, chosen, updates)
    assert all(numbers == every[0] for numbers in every)
    return every[0]


def open_session(workspace: Workspace, chosen: TrainOptions) -> Session:
    return build(chosen.applied_to(workspace), plan_training(workspace, chosen), chosen, Reporter())


def updates_of(
    rank: int, workspace: Workspace, chosen: TrainOptions, updates: int
) -> list[dict[str, float]]:
    session = open_session(workspace, chosen)
    return go_on(session, session.recipe.batches(wanted_batches(session)), updates)


def go_on(session: Session, batches: Iterator, updates: int) -> list[dict[str, float]]:
    found = []
    for _ in range(updates):
        found.append(update(session, batches))
        session.step += 1
    return found


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


def probe_and_update(rank: int, workspace: Workspace, chosen: TrainOptions) -> tuple:
    session = open_session(workspace, chosen)
    batches = session.recipe.batches(wanted_batches(session))
    session.one_device = probe_one_device(session)
    numbers = update(session, batches)
    return numbers, session.one_device, scaling_line(session, 2 * (session.one_device or 0))


@with_and_without_text_encoder
def test_the_probe_of_one_device_changes_nothing_and_measures(eights, text_encoder):
    # A text encoder has buffers, which DDP by itself exchanges before a forward pass.
    eights = with_settings(eights, train={"text_encoder": text_encoder})
    chosen = TrainOptions(cpu_processes=2, batch_size=4)
    (first, rate, line), (second, none, empty) = in_processes(2, probe_and_update, eights, chosen)
    assert rate > 0 and line["scaling"] == {"one_device": round(rate, 3), "efficiency": 1.0}
    assert none is None and empty == {}
    assert first == second
    assert first == pytest.approx(numbers_of(eights, 2, 4, updates=1)[0], rel=1e-9)


def learn_save_and_go_on_twice(rank: int, workspace: Workspace, chosen: TrainOptions) -> tuple:
    """Two updates, the share of the weights held, and two more, from memory and from disk."""
    session = open_session(workspace, chosen)
    leave_weights_out(session)
    assert is_sharded(session.model) and is_sharded(session.ema.model)
    batches = session.recipe.batches(wanted_batches(session))
    found = go_on(session, batches, 2)
    held = sum(to_local(p).numel() for p in session.model.parameters())
    checkpoint = save_checkpoint(session)
    with _weights_to_draw_with(session) as averages:
        if rank == 0:
            assert not is_sharded(averages)
            assert all(p.isfinite().all() for p in averages.parameters())
    # Of two, the second one shows in its loss what the first did with the moments.
    more = go_on(session, batches, 2)
    load_checkpoint(session, checkpoint)
    again = go_on(session, session.recipe.batches(wanted_batches(session)), 2)
    return found, held / session.plan.parameters, more, again


@with_and_without_text_encoder
def test_sharded_weights_learn_what_whole_ones_do_and_are_saved_whole(eights, text_encoder):
    eights = with_settings(eights, train={"text_encoder": text_encoder, "steps": 4})
    chosen = TrainOptions(cpu_processes=2, batch_size=2, strategy="fsdp", run="shards")
    answers = in_processes(2, learn_save_and_go_on_twice, eights, chosen)
    found, share, more, again = answers[0]
    assert_same_learning(numbers_of(eights, processes=1, batch=8, updates=4), found + more)
    assert share < 0.6
    assert again == more
    saved = eights.runs / "shards" / "checkpoint-2"
    for suffix in ("", "_ema"):
        unet = UNet2DConditionModel.from_pretrained(saved / f"unet{suffix}")
        assert all(p.isfinite().all() for p in unet.parameters())


def learn_and_save(rank: int, workspace: Workspace, chosen: TrainOptions) -> None:
    session = open_session(workspace, chosen)
    leave_weights_out(session)
    go_on(session, session.recipe.batches(wanted_batches(session)), 2)
    save_checkpoint(session)


def resume(rank: int, workspace: Workspace, chosen: TrainOptions) -> list[dict[str, float]]:
    session = open_session(workspace, chosen)
    leave_weights_out(session)
    load_checkpoint(session, workspace.runs / chosen.run / "checkpoint-2")
    return go_on(session, session.recipe.batches(wanted_batches(session)), 2)


@pytest.mark.parametrize(("before", "after"), [("fsdp", "ddp"), ("ddp", "fsdp")])
def test_a_run_goes_on_under_another_strategy(eights, before, after):
    eights = with_settings(eights, train={"steps": 4})
    first = TrainOptions(cpu_processes=2, batch_size=2, strategy=before, run="mixed")
    in_processes(2, learn_and_save, eights, first)
    second = replace(first, strategy=after, resume="auto")
    found, other = in_processes(2, resume, eights, second)
    assert found == other
    assert_same_learning(numbers_of(eights, processes=1, batch=8, updates=4)[2:], found)


def test_what_deepspeed_saved_asks_for_deepspeed(eights):
    chosen = TrainOptions(cpu_processes=1, batch_size=8, run="saved")
    learn_and_save(0, eights, chosen)
    checkpoint = eights.runs / "saved" / "checkpoint-2"
    (checkpoint / "state" / "optimizer.bin").unlink()  # DeepSpeed leaves files of its own instead
    message = "--strategy ddp: checkpoint-2 was saved by DeepSpeed; go on with --strategy zero2"
    with pytest.raises(UserError, match=message):
        load_checkpoint(open_session(eights, replace(chosen, run="other")), checkpoint)
