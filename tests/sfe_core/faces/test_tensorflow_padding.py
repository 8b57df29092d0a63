"""SAME padding against its definition, and a convolution against the sum it stands for."""

import numpy as np
import pytest
import torch

from sfe_core.faces.tensorflow_padding import SameConv2d, pad_same


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [5, 6, 15, 16])
def test_it_gives_a_place_for_every_stride_and_pads_no_more(kernel, stride, side):
    padded = pad_same(torch.ones(1, 1, side, side), kernel, stride).shape[-1]
    places = -(-side // stride)
    assert padded >= side
    assert (padded - kernel) // stride + 1 == places
    assert padded == side or (padded - 1 - kernel) // stride + 1 < places


def test_the_larger_half_lies_right_and_below():
    padded = pad_same(torch.ones(1, 1, 4, 4), kernel=3, stride=2, value=-7.0)
    assert padded.shape == (1, 1, 5, 5)
    assert (padded[..., 4] == -7).all() and (padded[..., 4, :] == -7).all()
    assert (padded[..., :4, :4] == 1).all()


def test_a_convolution_of_stride_two_starts_at_the_corner():
    layer = SameConv2d(1, 1, 3, stride=2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        found = layer(torch.arange(16.0).view(1, 1, 4, 4))[0, 0].numpy()
    plane = np.pad(np.arange(16.0).reshape(4, 4), ((0, 1), (0, 1)))
    wanted = [[plane[y : y + 3, x : x + 3].sum() for x in (0, 2)] for y in (0, 2)]
    assert np.allclose(found, wanted)
