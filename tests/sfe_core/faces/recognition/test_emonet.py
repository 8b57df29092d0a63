"""EmoNet against its layers written out from the published description, in plain functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sfe_core.errors import UserError
from sfe_core.faces.recognition.emonet import EmoNet, load_emonet
from sfe_core.faces.recognition.recognisers import load_recogniser

State = dict[str, Tensor]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Batch norm by its running statistics."""
    parts = [state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *parts)


def conv(state: State, name: str, x: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def block(state: State, name: str, x: Tensor) -> Tensor:
    first = conv(state, f"{name}.conv1", F.relu(norm(state, f"{name}.bn1", x)), padding=1)
    second = conv(state, f"{name}.conv2", F.relu(norm(state, f"{name}.bn2", first)), padding=1)
    third = conv(state, f"{name}.conv3", F.relu(norm(state, f"{name}.bn3", second)), padding=1)
    if f"{name}.downsample.2.weight" in state:
        x = conv(state, f"{name}.downsample.2", F.relu(norm(state, f"{name}.downsample.0", x)))
    return torch.cat([first, second, third], 1) + x


def hourglass(state: State, name: str, level: int, x: Tensor) -> Tensor:
    low = block(state, f"{name}.b2_{level}", F.max_pool2d(x, 2))
    if level > 1:
        low = hourglass(state, name, level - 1, low)
    else:
        low = block(state, f"{name}.b2_plus_1", low)
    low = block(state, f"{name}.b3_{level}", low)
    # Nearest neighbour: every value stands for a square of four.
    up = low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return block(state, f"{name}.b1_{level}", x) + up


def emonet(state: State, images: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 3, 256, 256] in [0, 1] to [B, classes + 2] and the last heat-maps [B, 68, 64, 64]."""
    x = F.relu(norm(state, "bn1", conv(state, "conv1", images, stride=2, padding=3)))
    x = F.max_pool2d(block(state, "conv2", x), 2)
    stem = block(state, "conv4", block(state, "conv3", x))
    previous, kept, heat = stem, [], stem
    for stack in (0, 1):
        hidden = block(state, f"top_m_{stack}", hourglass(state, f"m{stack}", 4, previous))
        hidden = conv(state, f"conv_last{stack}", hidden)
        hidden = F.relu(norm(state, f"bn_end{stack}", hidden))
        heat = conv(state, f"l{stack}", hidden)
        if stack == 0:
            hidden = conv(state, "bl0", hidden)
            previous = previous + hidden + conv(state, "al0", heat)
        kept.append(hidden)
    mask = heat.sum(1, keepdim=True)
    x = conv(state, "conv1x1_input_emo_2", torch.cat([stem, *(k * mask for k in kept)], 1))
    for place in (0, 2, 4, 6):
        x = F.max_pool2d(block(state, f"emo_net_2.{place}", x), 2)
    x = F.linear(x.mean(dim=(2, 3)), state["emo_fc_2.0.weight"], state["emo_fc_2.0.bias"])
    x = F.relu(norm(state, "emo_fc_2.1", x))
    return F.linear(x, state["emo_fc_2.3.weight"], state["emo_fc_2.3.bias"]), heat


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, State]:
    """A file as published, of random weights whose norms have statistics of their own."""
    torch.manual_seed(0)
    state = EmoNet(8).state_dict()
    for key, value in state.items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("emonet") / "emonet_8.pth"
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    return path, state


def test_the_numbers_are_those_of_the_layers_written_out(published):
    path, state = published
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        out, features, maps = load_emonet(path).read(images)
        expected, heat = emonet(state, images)
    assert out.shape == (1, 10) and features.shape == (1, 256) and maps.shape == (1, 68, 64, 64)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(maps, heat, atol=1e-5, rtol=1e-5)
    assert maps.abs().max() > 0.1 and out.abs().max() > 0.1


def test_its_door_resizes_and_moves_to_zero_to_one(published, monkeypatch):
    network, seen = load_recogniser(published[0]), []

    def read(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(images)
        out = torch.arange(10.0).repeat(len(images), 1)
        return out, torch.zeros(len(images), 256), images

    monkeypatch.setattr(network, "read", read)
    flat = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(2, 3, 100, 90)
    reading = network(flat)
    assert seen[0].shape == (2, 3, 256, 256)
    torch.testing.assert_close(seen[0].mean(dim=(0, 2, 3)), torch.tensor([0.0, 0.5, 1.0]))
    assert reading.logits[0].tolist() == list(range(8))
    assert (reading.valence[0], reading.arousal[0]) == (8.0, 9.0)


def test_the_network_of_five_emotions_loads(tmp_path):
    torch.save(EmoNet(5).state_dict(), tmp_path / "emonet_5.pth")
    network = load_emonet(tmp_path / "emonet_5.pth")
    assert network.classes == 5 and network.emo_fc_2[3].out_features == 7
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_it_has_the_published_size():
    count = sum(parameter.numel() for parameter in EmoNet(8).parameters())
    assert round(count / 1e6, 2) == 13.96


def test_only_its_own_size_goes_in_unresized(published):
    with pytest.raises(ValueError, match="256, 256"):
        load_emonet(published[0]).read(torch.rand(1, 3, 224, 224))


@pytest.mark.parametrize("change", ["missing", "foreign", "shape"])
def test_whatever_does_not_fit_is_refused(published, tmp_path, change):
    state = dict(published[1])
    if change == "missing":
        del state["l1.bias"]
    elif change == "foreign":
        state["temporal_state"] = torch.zeros(1)
    else:
        state["l1.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "torn.pth")
    with pytest.raises(UserError, match="temporal_state" if change == "foreign" else "l1.bias"):
        load_emonet(tmp_path / "torn.pth")


def test_a_text_file_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(UserError, match="not an EmoNet"):
        load_emonet(tmp_path / "text.pth")
