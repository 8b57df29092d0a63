"""Learning rates by hand, and against the schedules of diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers.optimization import get_scheduler

from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.training.engine.optimiser import learning_rate

KINDS = ["constant", "linear", "cosine", "polynomial"]


def rates(kind: str, warmup: int = 0, steps: int = 10, peak: float = 1e-3) -> list[float]:
    train = TrainConfig(steps=steps, schedule=kind, warmup_steps=warmup)
    return [learning_rate(update, peak, train) for update in range(steps)]


@pytest.mark.parametrize("kind", [*KINDS, "wsd"])
def test_warm_up_rises_to_the_peak_and_nothing_exceeds_it(kind):
    values = rates(kind, warmup=4)
    assert values[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    assert max(values) == pytest.approx(1e-3)
    assert values[4:] == sorted(values[4:], reverse=True)
    assert min(values) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_diffusers_without_warm_up(kind):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = get_scheduler(kind, optimiser, num_warmup_steps=0, num_training_steps=10)
    expected = []
    for _ in range(10):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates(kind) == pytest.approx(expected)


def test_a_run_shorter_than_its_warm_up_stays_in_it():
    assert rates("cosine", warmup=20)[-1] == pytest.approx(0.5e-3)


def test_wsd_depends_on_the_length_only_at_its_end():
    short, long = rates("wsd", warmup=5, steps=50), rates("wsd", warmup=5, steps=500)
    assert short[:40] == long[:40] and short[39] == 1e-3
    assert short[40] < 1e-3 and 0 < short[-1] < 0.06e-3
    # Half way down: 1 - sqrt(0.5).
    middle = rates("wsd", steps=1000)[899]
    assert middle == pytest.approx((1 - 0.5**0.5) * 1e-3, rel=0.01)
