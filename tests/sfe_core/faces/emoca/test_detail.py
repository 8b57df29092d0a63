"""The detail decoder against the same layers written out in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sfe_core.faces.emoca.checkpoint import EmocaNetworks
from sfe_core.faces.emoca.detail import detail_condition
from sfe_core.faces.emoca.encoders import FaceCodes
from sfe_core.faces.emoca.settings import EmocaSettings
from tests.emoca_files import emoca_config, emoca_state
from tests.sfe_core.faces.emoca.test_encoders import part_of


def doubled(x: Tensor) -> Tensor:
    """Twice the size bilinearly, from the definition: 3/4 of the nearest, 1/4 of the next."""

    def along_rows(y: Tensor) -> Tensor:
        before = torch.cat([y[..., :1], y[..., :-1]], -1)
        after = torch.cat([y[..., 1:], y[..., -1:]], -1)
        pair = torch.stack([0.75 * y + 0.25 * before, 0.75 * y + 0.25 * after], -1)
        return pair.flatten(-2)

    return along_rows(along_rows(x).transpose(-1, -2)).transpose(-1, -2)


def plain_decoder(state: dict[str, Tensor], condition: Tensor) -> Tensor:
    """[B, 181] to [B, 1, 256, 256] metres."""
    weights = {key: value.double() for key, value in state.items()}

    def norm(x: Tensor, place: int, eps: float) -> Tensor:
        mean, var, gain, bias = (
            weights[f"conv_blocks.{place}.{name}"][:, None, None]
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + eps).sqrt() * gain + bias

    def convolve(x: Tensor, place: int) -> Tensor:
        key = f"conv_blocks.{place}"
        return F.conv2d(x, weights[f"{key}.weight"], weights[f"{key}.bias"], padding=1)

    x = condition.double() @ weights["l1.0.weight"].T + weights["l1.0.bias"]
    x = norm(x.view(-1, 128, 8, 8), 0, 1e-5)
    for place in (2, 6, 10, 14, 18):
        x = norm(convolve(doubled(x), place), place + 1, 0.8)
        x = torch.where(x > 0, x, 0.2 * x)
    return torch.tanh(convolve(x, 21)) * 0.01


@torch.inference_mode()
def test_displacements_agree_with_the_layers_written_out(emoca: EmocaNetworks) -> None:
    state = emoca_state(emoca_config(exp_deca_jaw_pose=True))
    condition = torch.randn(2, 181, generator=torch.Generator().manual_seed(4))
    found = emoca.decoder(condition)
    expected = plain_decoder(part_of(state, "D_detail"), condition)
    assert found.shape == (2, 1, 256, 256)
    torch.testing.assert_close(found.double(), expected, atol=1e-7, rtol=0)
    assert 1e-4 < found.std() < 0.01
    assert found.abs().max() <= 0.01


def test_the_condition_is_jaw_then_expression_then_detail() -> None:
    widths = {"shape": 100, "tex": 50, "exp": 50, "pose": 6, "cam": 3, "detail": 128}
    tensors = {name: torch.rand(3, width) for name, width in widths.items()}
    codes = FaceCodes(**tensors, light=torch.rand(3, 9, 3))
    joined = torch.cat([codes.pose[:, 3:], codes.exp, codes.detail], 1)
    assert torch.equal(detail_condition(codes, EmocaSettings()), joined)
    others = EmocaSettings(detail_conditioning=("globalpose", "identity", "detail"))
    joined = torch.cat([codes.pose[:, :3], codes.shape, codes.detail], 1)
    assert torch.equal(detail_condition(codes, others), joined)
