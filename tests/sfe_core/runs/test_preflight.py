"""A rehearsal leaves nothing behind, and its advice fits what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.processes import launching
from sfe_core.reporting import Reporter
from sfe_core.runs import preflight
from sfe_core.runs.preflight import (
    SAMPLE,
    SAVE,
    UPDATE,
    Measured,
    batch_sizes,
    find_batch_size,
    launch_preflight,
    rehearse,
    try_sizes,
)
from sfe_core.runs.preflight_advice import cheaper, faster
from sfe_core.runs.start import plan_training
from sfe_core.runs.worker_request import MODULE
from sfe_core.training.options import TrainOptions
from tests.sfe_core.conftest import with_settings

ON_CPU = TrainOptions(cpu_processes=1)
NOISE_ALONE = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0}
GB = 10**9


def test_sizes_deal_an_update_out_evenly_and_grow_fast():
    assert batch_sizes(1024, 2) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert batch_sizes(36, 1) == [1, 2, 3, 6, 9, 18, 36]
    assert batch_sizes(7, 1) == [1, 7]


def test_images_per_second_count_passes_and_the_rest():
    measured = Measured(4, pass_s=0.5, rest_s=1.0)
    assert measured.images_per_s(processes=2, accumulation=6) == pytest.approx(48 / 4.0)
    assert Measured(4, failed_in=UPDATE).images_per_s(1, 1) == 0.0


def test_a_rehearsal_does_all_of_it_and_leaves_nothing(workspace):
    workspace = with_settings(workspace, loss=NOISE_ALONE)
    plan = plan_training(workspace, ON_CPU)
    measured = rehearse(workspace, ON_CPU, plan, Reporter())
    assert not measured.failed_in and measured.pass_s > 0
    assert set(measured.peak_bytes) == {UPDATE, SAMPLE, SAVE}
    assert measured.checkpoint_bytes > 4 * plan.parameters
    assert list(workspace.runs.iterdir()) == []


def test_growing_batches_stop_at_the_first_that_does_not_fit(workspace, monkeypatch):
    workspace = with_settings(workspace, loss=NOISE_ALONE)
    tried = []

    def measure(session, size):
        tried.append(size)
        peak = {1: 2 * GB, 2: 3 * GB, 4: 5 * GB, 8: 9 * GB}[size]
        return Measured(size, pass_s=1.0, peak_bytes={UPDATE: peak})

    monkeypatch.setattr(preflight, "measure_updates", measure)
    monkeypatch.setattr(preflight, "device_memory_bytes", lambda device: 5 * GB)
    plan = plan_training(workspace, ON_CPU)
    found = try_sizes(workspace, ON_CPU, plan, Reporter())
    assert tried == [1, 2, 4]
    assert [bool(one.failed_in) for one in found] == [False, False, True]


def test_running_out_of_memory_is_a_finding(workspace, monkeypatch):
    workspace = with_settings(workspace, loss=NOISE_ALONE)

    def too_much(session, batches):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(preflight, "update", too_much)
    plan = plan_training(workspace, ON_CPU)
    assert rehearse(workspace, ON_CPU, plan, Reporter()) == Measured(4, failed_in=UPDATE)
    assert list(workspace.runs.iterdir()) == []


def test_processes_of_their_own_rehearse_and_try(workspace, monkeypatch):
    asked = []

    def follow(argv, *rest):
        request = json.loads(Path(argv[-1]).read_text())
        asked.append((argv[1:-1], request["task"]))
        if request["task"] == "try_sizes":
            return [{"batch_size": 2}, {"batch_size": 4, "failed_in": UPDATE}]
        return {"batch_size": 4, "pass_s": 1.0}

    monkeypatch.setattr(launching, "follow", follow)
    plan, measured = launch_preflight(workspace, ON_CPU, Reporter())
    assert measured == Measured(4, pass_s=1.0) and plan.processes == 1
    assert asked == [(["-m", MODULE], "rehearse")]
    assert find_batch_size(workspace, ON_CPU, Reporter()) == 2
    nothing = [{"batch_size": 1, "failed_in": UPDATE}]
    monkeypatch.setattr(launching, "follow", lambda *arguments: nothing)
    with pytest.raises(UserError, match="--batch-size auto: not even one image"):
        find_batch_size(workspace, ON_CPU, Reporter())


def test_advice_takes_the_cheapest_change_first(workspace):
    def advised(**sections) -> str:
        changed = with_settings(workspace, **sections)
        return str(cheaper(changed.config, plan_training(changed, ON_CPU)))

    assert advised().startswith("train.batch_size: 2")
    assert advised(data={"cache": "none"}).startswith("data.cache: disk")
    one = {"batch_size": 1}
    assert advised(train=one).startswith("loss.decode_chunk: 1")
    assert advised(train=one, loss=NOISE_ALONE).startswith("train.gradient_checkpointing: true")
    least = {**one, "gradient_checkpointing": True, "lora_rank": 2}
    assert advised(train=least, loss=NOISE_ALONE) == "None"


def test_advice_to_go_faster_needs_the_memory_for_it(workspace):
    slow = with_settings(workspace, train={"gradient_checkpointing": True}, loss=NOISE_ALONE)
    plan = plan_training(slow, ON_CPU)
    measured = Measured(4, peak_bytes={UPDATE: plan.state_bytes + 2 * GB})

    def advised(device_bytes: int, measured: Measured = measured) -> str:
        return str(faster(slow.config, plan, measured, device_bytes))

    assert advised(20 * GB).startswith("train.gradient_checkpointing: false")
    assert advised(4 * GB) == "None"
    assert advised(20 * GB, Measured(4, failed_in=UPDATE)) == "None"
