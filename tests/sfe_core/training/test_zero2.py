"""DeepSpeed's ZeRO-2 under the recipe, on two CPU processes; skipped where it is not installed.

The first run compiles DeepSpeed's own parts, which takes minutes: `pip install 'sfe[deepspeed]'
ninja`, and have a C++ compiler at hand.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from accelerate.utils import DistributedType
from diffusers import UNet2DConditionModel

from sfe_core.launching import Topology
from sfe_core.reporting import Reporter
from sfe_core.training.build import Session, build
from sfe_core.training.options import TrainOptions
from sfe_core.training.plan import plan_training
from sfe_core.training.state import leave_weights_out, load_checkpoint, save_checkpoint
from sfe_core.training.update import update, wanted_batches
from tests.sfe_core.training import processes
from tests.sfe_core.training.conftest import with_settings
from tests.sfe_core.training.processes import in_processes
from tests.sfe_core.training.test_layouts import assert_same_learning, numbers_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed"
)
RUN = "zero2"


@pytest.fixture(params=["none", "cpu"], ids=["zero2", "zero2-offload"])
def as_launched(request, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that accelerate's launcher makes of zero2.yaml and zero2-offload.yaml."""
    for name, value in {
        "DS_ACCELERATOR": "cpu",
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": request.param,
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    }.items():
        monkeypatch.setenv(name, value)
    # `sfe train` keeps DeepSpeed to GPUs.
    monkeypatch.setattr(
        "sfe_core.training.plan.resolve_topology", lambda *_: Topology(strategy="zero2")
    )
    monkeypatch.setattr(processes, "TIME_LIMIT_S", 600.0)


def open_session(workspace) -> Session:
    """A session of this process's share of the run."""
    # Said by the launcher of CPU processes, which DeepSpeed's is not.
    os.environ.pop("ACCELERATE_USE_CPU", None)
    chosen = TrainOptions(cpu_processes=2, batch_size=2, run=RUN, resume="auto")
    session = build(
        chosen.applied_to(workspace), plan_training(workspace, chosen), chosen, Reporter()
    )
    assert session.accelerator.distributed_type == DistributedType.DEEPSPEED
    leave_weights_out(session)
    return session


def test_dealt_out_moments_learn_what_whole_ones_do_and_go_on(workspace, as_launched, monkeypatch):
    eights = with_settings(
        workspace,
        train={"steps": 3, "effective_batch": 8, "schedule": "linear"},
        loss={"perceptual": 0},
    )
    with monkeypatch.context() as plain:
        plain.setattr(
            "sfe_core.training.plan.resolve_topology", lambda *_: Topology(strategy="ddp")
        )
        plain.delenv("ACCELERATE_USE_DEEPSPEED")
        whole = numbers_of(eights, processes=1, batch=8)

    def first(rank: int) -> list[dict[str, float]]:
        session = open_session(eights)
        batches = session.source.batches(wanted_batches(session))
        found = []
        for _ in range(3):
            if session.step == 2:
                save_checkpoint(session)
            found.append(update(session, batches))
            session.step += 1
        return found

    def again(rank: int) -> dict[str, float]:
        session = open_session(eights)
        load_checkpoint(session, eights.runs / RUN / "checkpoint-2")
        assert session.step == 2
        return update(session, session.source.batches(wanted_batches(session)))

    found, other = in_processes(2, first)
    assert found == other
    assert_same_learning(whole, found)
    assert in_processes(2, again) == [found[2], found[2]]
    saved = eights.runs / RUN / "checkpoint-2"
    for suffix in ("", "_ema"):
        unet = UNet2DConditionModel.from_pretrained(saved / f"unet{suffix}")
        assert all(p.isfinite().all() for p in unet.parameters())


def test_a_gradient_that_is_nan_changes_nothing(workspace, as_launched, tmp_path: Path):
    def work(rank: int) -> tuple[dict, bool, bool, dict]:
        session = open_session(workspace)
        batches = session.source.batches(wanted_batches(session))
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

    for skipped, same, same_averages, learnt in in_processes(2, work):
        assert skipped == {} and same and same_averages
        assert learnt["gradient_norm"] > 0
