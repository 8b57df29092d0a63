"""What trains, at which rate, and the moving average."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.errors import UserError
from sfe_core.recipes.shared.unet import freeze
from sfe_core.recipes.stableface import name_networks
from sfe_core.training.engine.moving_average import MovingAverage
from sfe_core.training.engine.optimiser import (
    build_optimiser,
    require_optimiser,
    set_learning_rate,
)


@pytest.fixture
def model(tiny_base) -> GuidedUNet:
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    return GuidedUNet(unet, GuidanceBank(("depth",), (16, 32, 64), 16))


def optimiser_of(model: GuidedUNet, train: TrainConfig) -> torch.optim.Optimizer:
    return build_optimiser(model, name_networks(model, train), train)


def test_groups_have_their_own_peak_and_one_curve(model):
    train = TrainConfig(
        steps=10, learning_rate=1e-4, guidance_learning_rate=1e-3, schedule="linear"
    )
    optimiser = optimiser_of(model, train)
    assert set_learning_rate(optimiser, 0, train) == {"unet": 1e-4, "guidance": 1e-3}
    half = set_learning_rate(optimiser, 5, train)
    assert half == pytest.approx({"unet": 5e-5, "guidance": 5e-4})
    assert [group["lr"] for group in optimiser.param_groups] == list(half.values())


def test_guidance_rate_defaults_to_the_other(model):
    optimiser = optimiser_of(model, TrainConfig(learning_rate=1e-4))
    assert {group["peak_lr"] for group in optimiser.param_groups} == {1e-4}


def test_frozen_modules_are_in_no_group(model):
    freeze(model.unet, ("up_blocks.1", "mid_block.attentions.0"))
    trained = {
        id(parameter)
        for group in optimiser_of(model, TrainConfig()).param_groups
        for parameter in group["params"]
    }
    frozen = model.unet.up_blocks[1], model.unet.mid_block.attentions[0]
    assert not any(id(p) in trained for module in frozen for p in module.parameters())
    assert all(id(p) in trained for p in model.unet.down_blocks.parameters())


def test_a_module_that_is_not_there_is_refused(model):
    with pytest.raises(UserError, match=r"train.frozen.*'up_blocks.3'.*up_blocks.1"):
        freeze(model.unet, ("up_blocks.3",))


def test_freezing_all_is_refused(model):
    names = tuple(name for name, _ in model.unet.named_children())
    with pytest.raises(UserError, match="nothing to train"):
        freeze(model.unet, names)


def test_moving_average_by_hand(model):
    weight = model.unet.conv_in.weight
    with torch.no_grad():
        weight.fill_(0.0)
    ema = MovingAverage(model, decay=0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    average = ema.model.unet.conv_in.weight
    ema.update(0)  # decay 1/10
    assert average.flatten()[0].item() == pytest.approx(0.9)
    ema.update(1000)  # the full decay
    assert average.flatten()[0].item() == pytest.approx(0.95)
    assert weight.unique().tolist() == [1.0]


def test_frozen_weights_are_not_averaged(model):
    freeze(model.unet, ("conv_in",))
    ema = MovingAverage(model, decay=0.5)
    before = ema.model.unet.conv_in.weight.clone()
    ema.update(5)
    assert torch.equal(ema.model.unet.conv_in.weight, before)


def test_the_copy_shares_what_does_not_train(model):
    freeze(model.unet, ("conv_in",))
    ema = MovingAverage(model, decay=0.5)
    assert ema.model.unet.conv_in.weight is model.unet.conv_in.weight
    ours, theirs = ema.model.unet.conv_out.weight, model.unet.conv_out.weight
    assert ours.data_ptr() != theirs.data_ptr() and not ours.requires_grad


def test_averages_on_another_device_are_the_same(model):
    beside, apart = MovingAverage(model, 0.9), MovingAverage(model, 0.9, device="cpu")
    assert all(p.device.type == "cpu" for p in apart.model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    for ema in (beside, apart):
        ema.update(3)
    for one, other in zip(beside.model.parameters(), apart.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("device", ["model", "cpu"])
def test_applied_draws_with_the_averages_and_gives_the_weights_back(model, device):
    ema = MovingAverage(model, decay=0.5, device=device)
    with torch.no_grad():
        model.unet.conv_in.weight.fill_(1.0)
    ema.update(1000)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averages = {name: tensor.clone() for name, tensor in ema.model.state_dict().items()}
    model.train()
    with ema.applied() as live:
        assert live is model and not model.training
        assert all(torch.equal(averages[name], t) for name, t in model.state_dict().items())
    assert model.training
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(averages[name], t) for name, t in ema.model.state_dict().items())


def test_eight_bit_moments_take_a_quarter_of_the_memory_and_learn_alike(model):
    def moments(optimiser) -> int:
        return sum(
            tensor.nbytes
            for state in optimiser.state.values()
            for tensor in state.values()
            if torch.is_tensor(tensor) and tensor.ndim  # but for the counter
        )

    pytest.importorskip("bitsandbytes", reason="extra 8bit is not installed")
    layer = torch.nn.Linear(64, 256, bias=False)
    start, target = layer.weight.detach().clone(), torch.zeros(256, 64)
    sizes, ends = {}, {}
    for name in ("adamw", "adamw-8bit"):
        layer.weight.data.copy_(start)
        holder = GuidedUNet(layer, torch.nn.Identity())
        optimiser = build_optimiser(holder, TrainConfig(learning_rate=1e-2, optimiser=name))
        for _ in range(5):
            (layer.weight - target).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
        sizes[name], ends[name] = moments(optimiser), layer.weight.detach().clone()
    assert sizes["adamw-8bit"] < 0.35 * sizes["adamw"]
    moved = (ends["adamw"] - start).abs().mean()
    assert (ends["adamw-8bit"] - ends["adamw"]).abs().mean() < 0.1 * moved


def test_a_missing_package_is_told_before_anything_is_loaded(monkeypatch):
    from sfe_core.training.engine import optimiser

    monkeypatch.setattr(optimiser, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"adamw-8bit: needs bitsandbytes.*sfe\[8bit\]"):
        optimiser.require_optimiser(TrainConfig(optimiser="adamw-8bit"))
    optimiser.require_optimiser(TrainConfig())


def test_prodigy_is_refused_where_it_is_not_installed(monkeypatch):
    train = TrainConfig(optimiser="prodigy")
    monkeypatch.setattr("sfe_core.training.engine.optimiser.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"prodigyopt, which is not installed; pip install"):
        require_optimiser(train)


def test_prodigy_finds_its_rate_and_wants_a_single_one(model):
    pytest.importorskip("prodigyopt")
    train = TrainConfig(optimiser="prodigy", learning_rate=1.0)
    optimiser = build_optimiser(model, name_networks(model, train), train)
    before = [p.detach().clone() for p in model.unet.parameters() if p.requires_grad]
    for _ in range(3):
        sum(p.square().sum() for p in model.parameters() if p.requires_grad).backward()
        optimiser.step()
    after = [p for p in model.unet.parameters() if p.requires_grad]
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    uneven = TrainConfig(optimiser="prodigy", learning_rate=1.0, guidance_learning_rate=0.5)
    with pytest.raises(UserError, match="several learning rates"):
        build_optimiser(model, name_networks(model, uneven), uneven)


@pytest.mark.parametrize("device", ["model", "cpu"])
def test_running_statistics_are_averaged_and_counts_are_not(device):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    ema = MovingAverage(model, decay=0.5, device=device)
    norm, averaged = model[1], ema.model[1]
    expected = torch.zeros(4)
    for step in range(12):
        model.train()(torch.randn(8, 3, 2, 2) + 1)
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * norm.running_mean
    torch.testing.assert_close(averaged.running_mean, expected)
    assert not torch.equal(averaged.running_mean, norm.running_mean)
    assert int(averaged.num_batches_tracked) == int(norm.num_batches_tracked) == 12
    live = norm.running_var.clone()
    with ema.applied() as drawing:
        torch.testing.assert_close(drawing[1].running_mean, expected)
    assert torch.equal(norm.running_var, live)


def test_running_statistics_that_do_not_move_stay_bit_for_bit():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval().requires_grad_(False))
    model[1].running_mean.uniform_()
    before = model[1].running_mean.clone()
    ema = MovingAverage(model, decay=0.7)
    for step in range(9):
        ema.update(step)
    assert torch.equal(ema.model[1].running_mean, before)
