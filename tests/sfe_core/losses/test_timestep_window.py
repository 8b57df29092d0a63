"""Where images are decoded: sharp or fading limits, by timestep or by signal-to-noise ratio."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from sfe_core.config.stableface_sections import LossConfig
from sfe_core.errors import UserError
from sfe_core.losses.timestep_window import TimestepWindow, pixel_window

ALPHAS = DDPMScheduler(beta_schedule="scaled_linear").alphas_cumprod


def test_all_timesteps_count_alike_as_in_the_original():
    window = pixel_window(LossConfig(), ALPHAS)
    assert [window.weight(t) for t in (0, 1, 500, 998, 999)] == [1.0] * 5


def test_sharp_limits():
    loss = LossConfig(pixel_min_timestep=100, pixel_max_timestep=600, pixel_ramp=0)
    window = pixel_window(loss, ALPHAS)
    assert [window.weight(t) for t in (99, 100, 599, 600)] == [0.0, 1.0, 1.0, 0.0]


def test_limits_fade_smoothly_inside():
    window = TimestepWindow(first=100, end=600, ramp=50, total=1000)
    weights = [window.weight(t) for t in range(1000)]
    assert all(weight == 0 for weight in weights[:100] + weights[600:])
    assert all(weight == 1 for weight in weights[150:550])
    rise, fall = weights[99:151], weights[549:601]
    assert rise == sorted(rise) and fall == sorted(fall, reverse=True)
    assert rise[1:] == pytest.approx(fall[-2::-1])  # the same wave at both ends
    # Half way through the ramp, half the weight; no step is larger than the wave's steepest.
    assert (weights[124] + weights[125]) / 2 == pytest.approx(0.5)
    steps = torch.tensor(weights).diff().abs()
    assert steps.max() < torch.pi / 2 / 50 + 1e-3


def test_a_limit_that_cuts_nothing_off_does_not_fade():
    window = TimestepWindow(first=0, end=600, ramp=50, total=1000)
    assert window.weight(0) == 1.0 and window.weight(599) < 0.01


def test_the_ratio_limits_where_it_says():
    window = pixel_window(LossConfig(pixel_min_snr=1.0, pixel_ramp=0), ALPHAS)
    ratio = ALPHAS / (1 - ALPHAS)
    inside = torch.tensor([window.weight(t) > 0 for t in range(1000)])
    assert torch.equal(inside, ratio > 1.0)
    both = pixel_window(LossConfig(pixel_min_snr=1.0, pixel_max_timestep=50), ALPHAS)
    assert both.end == 50


@pytest.mark.parametrize(
    "settings",
    [{"pixel_min_timestep": 600, "pixel_max_timestep": 600}, {"pixel_min_snr": 1e9}],
)
def test_an_empty_window_is_refused(settings):
    with pytest.raises(UserError, match="leaves no timestep"):
        pixel_window(LossConfig(**settings), ALPHAS)
