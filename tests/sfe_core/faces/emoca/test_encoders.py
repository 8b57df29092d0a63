"""The encoders against plain convolutions, and the camera against its formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sfe_core.faces.emoca.checkpoint import EmocaNetworks, load_networks
from sfe_core.faces.emoca.encoders import FaceCodes, weak_perspective
from tests.emoca_files import emoca_config, emoca_state, write_emoca_model


def plain_encoder(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """A ResNet encoder in float64, written out from the keys of its state dict."""
    weights = {key: value.double() for key, value in state.items()}

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, gain, bias = (
            weights[f"encoder.{key}.{name}"][:, None, None]
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    def convolve(x: Tensor, key: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, weights[f"encoder.{key}.weight"], stride=stride, padding=padding)

    x = norm(convolve(images.double(), "conv1", 2, 3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            key, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(convolve(x, f"{key}.conv1"), f"{key}.bn1").relu()
            y = norm(convolve(y, f"{key}.conv2", stride, 1), f"{key}.bn2").relu()
            y = norm(convolve(y, f"{key}.conv3"), f"{key}.bn3")
            if block == 0:
                x = norm(convolve(x, f"{key}.downsample.0", stride), f"{key}.downsample.1")
            x = (x + y).relu()
    features = x.mean((2, 3))
    hidden = (features @ weights["layers.0.weight"].T + weights["layers.0.bias"]).relu()
    return hidden @ weights["layers.2.weight"].T + weights["layers.2.bias"]


def part_of(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"deca.{name}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def plain_codes(state: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """Codes of a `deca_clone` model that gives the jaw, in float64."""
    coarse = plain_encoder(part_of(state, "E_flame"), images)
    expressive = plain_encoder(part_of(state, "E_expression"), images)
    return {
        "shape": coarse[:, :100],
        "tex": coarse[:, 100:150],
        "exp": expressive[:, :50],
        "pose": torch.cat([coarse[:, 200:203], expressive[:, 50:53]], 1),
        "cam": coarse[:, 206:209],
        "light": coarse[:, 209:].view(-1, 9, 3),
        "detail": plain_encoder(part_of(state, "E_detail"), images),
    }


@pytest.fixture(scope="module")
def images() -> Tensor:
    coarse = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(2))
    return F.interpolate(coarse, 224, mode="bilinear")


@torch.inference_mode()
def test_codes_agree_with_plain_convolutions(emoca: EmocaNetworks, images: Tensor) -> None:
    state = emoca_state(emoca_config(exp_deca_jaw_pose=True))
    found = emoca.encoder(images)
    for name, expected in plain_codes(state, images).items():
        torch.testing.assert_close(getattr(found, name).double(), expected, atol=1e-5, rtol=0)
    assert found.shape.std() > 0.1, "codes that say nothing would agree with anything"


@torch.inference_mode()
@pytest.mark.parametrize("backbone", ["deca_parallel", "deca_clone"])
def test_the_expression_encoder_gives_the_poses_it_is_said_to(
    tmp_path: Path, images: Tensor, backbone: str
) -> None:
    poses = {"exp_deca_jaw_pose": True, "exp_deca_global_pose": backbone == "deca_clone"}
    folder = write_emoca_model(tmp_path, expression_backbone=backbone, **poses)
    networks = load_networks(folder)
    encoder = networks.encoder
    found = encoder(images)
    coarse = encoder.E_flame(images)
    features = encoder.E_flame.encoder(images) if backbone == "deca_parallel" else images
    expressive = encoder.E_expression(features)
    assert torch.equal(found.exp, expressive[:, :50])
    assert torch.equal(found.pose[:, 3:], expressive[:, -3:])
    head = expressive[:, 50:53] if backbone == "deca_clone" else coarse[:, 200:203]
    assert torch.equal(found.pose[:, :3], head)
    assert expressive.shape[1] == (56 if backbone == "deca_clone" else 53)


def test_one_row_of_the_codes() -> None:
    parts = {"shape": 100, "tex": 50, "exp": 50, "pose": 6, "cam": 3, "detail": 128}
    tensors = {name: torch.rand(2, length) for name, length in parts.items()}
    row = FaceCodes(**tensors, light=torch.rand(2, 9, 3)).row(1)
    assert list(row) == ["shape", "tex", "exp", "pose", "cam", "light", "detail"]
    assert torch.equal(row["cam"], tensors["cam"][1])


def test_weak_perspective_is_scale_of_shifted_points_turned_over() -> None:
    points = torch.tensor([[[0.1, -0.2, 0.3], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    cam = torch.tensor([[8.0, 0.02, -0.01]], dtype=torch.float64)
    expected = [[[8 * 0.12, 8 * 0.21, -8 * 0.3], [8 * 0.02, 8 * 0.01, 0.0]]]
    torch.testing.assert_close(
        weak_perspective(points, cam), torch.tensor(expected, dtype=torch.float64)
    )
