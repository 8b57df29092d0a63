"""What chance decides, and that nothing but (seed, step, place, key) decides it."""

from __future__ import annotations

import pytest
import torch

from sfe_core.config.stableface_sections import LossConfig, TrainConfig
from sfe_core.corpus.views import View
from sfe_core.losses.timestep_window import pixel_window
from sfe_core.recipes.shared.draws import draw_noise, plan_update
from sfe_core.training.engine.update import share_of

COUNT = 2000


def plan(step: int = 0, count: int = COUNT, pixels: bool = True, train=None, loss=None):
    indices = list(range(count))
    keys = [f"k{index}" for index in indices]
    loss = loss or LossConfig()
    window = pixel_window(loss, torch.linspace(0.999, 0.001, 1000)) if pixels else None
    return plan_update(
        [View(index) for index in indices], keys, step, train or TrainConfig(), loss, 1000, window
    )


def test_same_step_same_draws_other_step_or_seed_others():
    assert plan(3, 20) == plan(3, 20)
    assert plan(3, 20) != plan(4, 20)
    assert plan(3, 20) != plan(3, 20, train=TrainConfig(seed=7))


def test_a_key_that_comes_twice_is_drawn_twice():
    first, second = plan_update(
        [View(5)] * 2, ["k", "k"], 0, TrainConfig(), LossConfig(), 1000, None
    )
    assert first.noise_seed != second.noise_seed


def test_rates_are_those_asked_for():
    slots = plan(train=TrainConfig(caption_dropout=0.1, guidance_dropout=0.3))
    times = torch.tensor([slot.timestep for slot in slots]).float()
    assert times.min() >= 0 and times.max() <= 999
    # Five standard deviations of each mean.
    assert times.mean().item() == pytest.approx(499.5, abs=5 * 289 / COUNT**0.5)
    assert sum(s.drop_caption for s in slots) / COUNT == pytest.approx(0.1, abs=0.034)
    assert sum(s.drop_guidance for s in slots) / COUNT == pytest.approx(0.3, abs=0.052)
    both = sum(s.drop_caption and s.drop_guidance for s in slots) / COUNT
    assert both == pytest.approx(0.03, abs=0.02)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0), (1.0, 50)])
def test_never_and_always(rate, expected):
    slots = plan(count=50, train=TrainConfig(caption_dropout=rate, guidance_dropout=rate))
    assert sum(slot.drop_caption for slot in slots) == expected
    assert sum(slot.drop_guidance for slot in slots) == expected


def test_decoded_images_are_a_share_of_the_batch_below_the_limit():
    slots = plan(count=16, loss=LossConfig(pixel_fraction=0.25, pixel_max_timestep=600))
    decoded = [slot for slot in slots if slot.decode]
    assert len(decoded) == 4
    assert all(slot.timestep < 600 for slot in decoded)
    few = plan(count=16, loss=LossConfig(pixel_fraction=1.0, pixel_max_timestep=100))
    assert [s.decode for s in few] == [s.timestep < 100 for s in few]
    assert not any(slot.decode for slot in plan(count=16, pixels=False))


def test_weights_of_decoded_images_fade_towards_the_limit():
    slots = plan(count=200, loss=LossConfig(pixel_max_timestep=600, pixel_ramp=100))
    inside = [slot for slot in slots if slot.timestep < 500]
    fading = [slot for slot in slots if 500 <= slot.timestep < 600]
    assert inside and {slot.pixel_weight for slot in inside} == {1.0}
    assert fading and all(0 < slot.pixel_weight < 1 for slot in fading)
    assert {slot.pixel_weight for slot in slots if slot.timestep >= 600} == {0.0}
    assert all(slot.decode == (slot.pixel_weight > 0) for slot in slots)


def test_an_offset_is_one_number_per_channel_that_must_be_predicted():
    slots = plan(count=3)
    plain, shifted = draw_noise(slots, (4, 8, 8)), draw_noise(slots, (4, 8, 8), offset=0.5)
    offset = shifted[1] - plain[1]
    torch.testing.assert_close(offset, offset.mean(dim=(2, 3), keepdim=True).expand_as(offset))
    assert offset.mean(dim=(2, 3)).unique().numel() == 12
    assert torch.equal(shifted[0], plain[0]) and shifted[2] is shifted[1]
    doubled = draw_noise(slots, (4, 8, 8), offset=1.0)[1] - plain[1]
    torch.testing.assert_close(doubled, 2 * offset)


def test_a_perturbation_is_seen_and_need_not_be_predicted():
    slots = plan(count=64)
    _, plain, _ = draw_noise(slots, (4, 8, 8))
    _, noise, seen = draw_noise(slots, (4, 8, 8), perturbation=0.1)
    assert torch.equal(noise, plain)
    extra = (seen - noise) / 0.1
    assert extra.mean().abs() < 0.03 and (extra.std() - 1).abs() < 0.03
    assert torch.corrcoef(torch.stack([extra.flatten(), noise.flatten()]))[0, 1].abs() < 0.03


def test_noise_belongs_to_the_image_not_to_the_batch():
    slots = plan(count=4)
    together = draw_noise(slots, (4, 2, 2))
    alone = [draw_noise([slot], (4, 2, 2)) for slot in slots]
    for kind in range(2):
        assert torch.equal(together[kind], torch.cat([pair[kind] for pair in alone]))
    assert not torch.equal(*together[:2])


def test_noise_is_standard_normal():
    posterior, noise, added = draw_noise(plan(count=64), (4, 16, 16))
    assert added is noise
    for values in (posterior, noise):
        assert values.mean().abs() < 0.02 and (values.std() - 1).abs() < 0.02


@pytest.mark.parametrize(("processes", "batch"), [(1, 4), (1, 12), (2, 2), (3, 4)])
def test_processes_share_an_update_without_gap_or_overlap(processes, batch):
    images = list(range(12))
    shares = [share_of(images, process, processes, batch) for process in range(processes)]
    assert all(len(part) == batch for share in shares for part in share)
    assert sorted(i for share in shares for part in share for i in part) == images
