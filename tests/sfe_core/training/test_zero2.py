"""DeepSpeed's ZeRO-2 under the recipe, on two CPU processes; skipped where it is not installed.

The first run compiles DeepSpeed's own parts, which takes minutes: `pip install 'sfe[deepspeed]'
ninja`, and have a C++ compiler at hand.
"""

from __future__ import annotations

import importlib.util
import os
from unittest.mock import patch

import pytest
import torch
from accelerate.utils import DistributedType
from diffusers import UNet2DConditionModel

from sfe_core.config.workspace import Workspace
from sfe_core.processes.launching import Topology
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.state import leave_weights_out, load_checkpoint, save_checkpoint
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions
from tests import processes
from tests.processes import in_processes
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.training.test_layouts import assert_same_learning, go_on, numbers_of
from tests.sfe_core.training.test_toy_recipe import four_updates as toy_updates
from tests.sfe_core.training.test_toy_recipe import toy_workspace

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed"
)
RUN = "zero2"


@pytest.fixture(autouse=True)
def long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TIME_LIMIT_S", 600.0)


each_offload = pytest.mark.parametrize("offload", ["none", "cpu"], ids=["zero2", "zero2-offload"])


def open_session(workspace: Workspace, offload: str) -> Session:
    """A session of this process's share of a run that accelerate's launcher started.

    Args:
        offload: where the moments lie, as zero2.yaml ("none") and zero2-offload.yaml ("cpu") say.
    """
    # Said by the launcher of CPU processes, which DeepSpeed's is not.
    os.environ.pop("ACCELERATE_USE_CPU", None)
    os.environ |= {
        "DS_ACCELERATOR": "cpu",
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": offload,
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    }
    chosen = TrainOptions(cpu_processes=2, batch_size=2, run=RUN, resume="auto")
    # `sfe train` keeps DeepSpeed to GPUs, so its choice is made for it.
    target = "sfe_core.training.engine.plan.resolve_topology"
    with patch(target, lambda *_: Topology(strategy="zero2")):
        plan = plan_training(workspace, chosen)
    session = build(chosen.applied_to(workspace), plan, chosen, Reporter())
    assert session.accelerator.distributed_type == DistributedType.DEEPSPEED
    leave_weights_out(session)
    return session


def four_updates(rank: int, workspace: Workspace, offload: str) -> list[dict[str, float]]:
    session = open_session(workspace, offload)
    batches = session.recipe.batches(wanted_batches(session))
    first = go_on(session, batches, 2)
    save_checkpoint(session)
    return first + go_on(session, batches, 2)


def the_last_two_again(rank: int, workspace: Workspace, offload: str) -> list[dict[str, float]]:
    session = open_session(workspace, offload)
    load_checkpoint(session, workspace.runs / RUN / "checkpoint-2")
    assert session.step == 2
    return go_on(session, session.recipe.batches(wanted_batches(session)), 2)


@each_offload
def test_dealt_out_moments_learn_what_whole_ones_do_and_go_on(workspace, offload):
    eights = with_settings(
        workspace,
        train={"steps": 4, "effective_batch": 8, "schedule": "linear"},
        loss={"perceptual": 0},
    )
    found, other = in_processes(2, four_updates, eights, offload)
    assert found == other
    assert_same_learning(numbers_of(eights, processes=1, batch=8, updates=4), found)
    again, other = in_processes(2, the_last_two_again, eights, offload)
    assert again == other
    # DeepSpeed's Adam for main memory rounds its first step after a start in another way.
    for ours, theirs in zip(found[2:], again, strict=True):
        assert theirs == (ours if offload == "none" else pytest.approx(ours, rel=1e-4))
    saved = eights.runs / RUN / "checkpoint-2"
    for suffix in ("", "_ema"):
        unet = UNet2DConditionModel.from_pretrained(saved / f"unet{suffix}")
        assert all(p.isfinite().all() for p in unet.parameters())


@each_offload
def test_any_recipe_learns_alike_under_it(tmp_path, offload):
    toy = toy_workspace(tmp_path)
    alone = in_processes(1, toy_updates, toy, TrainOptions(cpu_processes=1))[0]
    found, _ = in_processes(2, four_updates, toy, offload)
    for ours, theirs in zip(alone, found, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-3)
    again, _ = in_processes(2, the_last_two_again, toy, offload)
    for ours, theirs in zip(found[2:], again, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)


def a_bad_update_and_a_good_one(
    rank: int, workspace: Workspace, offload: str
) -> tuple[dict, bool, bool, dict]:
    session = open_session(workspace, offload)
    batches = session.recipe.batches(wanted_batches(session))
    weight = session.model.unet.conv_out.weight
    before = [p.detach().clone() for p in session.model.parameters()]
    averages = [p.detach().clone() for p in session.ema.model.parameters()]
    handle = weight.register_hook(lambda gradient: gradient * float("nan")) if rank else None
    skipped = update(session, batches)
    same = all(map(torch.equal, before, session.model.parameters()))
    same_averages = all(map(torch.equal, averages, session.ema.model.parameters()))
    if handle is not None:
        handle.remove()
    session.step += 1
    return skipped, same, same_averages, update(session, batches)


@each_offload
def test_a_gradient_that_is_nan_changes_nothing(workspace, offload):
    answers = in_processes(2, a_bad_update_and_a_good_one, workspace, offload)
    for skipped, same, same_averages, learnt in answers:
        assert skipped == {} and same and same_averages
        assert learnt["gradient_norm"] > 0
