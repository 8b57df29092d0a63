"""Cutting a face out for a recogniser: where the square lies, its edges, its gradient."""

import numpy as np
import pytest
import torch

from sfe_core.faces.recognition.reading import FaceSquare, cut_faces
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge


def ramp(height: int, width: int) -> torch.Tensor:
    """[1, 3, H, W]: red is x, green is y, each pixel's value that of its centre."""
    x = torch.arange(width).add(0.5).expand(height, width)
    y = torch.arange(height).add(0.5)[:, None].expand(height, width)
    return torch.stack([x, y, torch.zeros(height, width)])[None]


def points(*corners: tuple[float, float]) -> torch.Tensor:
    """[1, 68, 2] with these extremes."""
    some = torch.tensor(corners)
    return some.repeat(68, 1)[:68][None]


def test_the_square_lies_round_the_landmarks_by_its_scale_and_lift():
    box = FaceSquare(scale=1.5, lift=0.1).boxes(points((10.0, 20.0), (50.0, 40.0)))
    # Extent 40, middle (30, 30) lifted by 4, side 60.
    assert box.tolist() == [[0.0, -4.0, 60.0, 56.0]]


def test_a_cut_shows_what_lies_there_at_the_asked_size():
    found = cut_faces(ramp(64, 80), points((20.0, 12.0), (60.0, 52.0)), FaceSquare(1.0), 20)
    centres = torch.arange(20) * 2.0 + 1.0
    assert torch.allclose(found[0, 0], (20 + centres).expand(20, 20), atol=1e-4)
    assert torch.allclose(found[0, 1], (12 + centres)[:, None].expand(20, 20), atol=1e-4)


def test_a_reduction_averages_and_hides_no_fine_pattern_as_a_coarse_one():
    stripes = torch.ones(1, 3, 64, 64)
    stripes[..., ::2] = -1
    found = cut_faces(stripes, points((0.0, 0.0), (64.0, 64.0)), FaceSquare(1.0), 16)
    assert found.abs().max() < 1e-6


def test_beyond_the_picture_its_border_goes_on():
    found = cut_faces(ramp(16, 16), points((0.0, 0.0), (16.0, 16.0)), FaceSquare(3.0), 48)
    assert torch.allclose(found[0, 0, :, :16], torch.full((48, 16), 0.5), atol=1e-4)
    assert torch.allclose(found[0, 1, 32:], torch.full((16, 48), 15.5), atol=1e-4)


def test_gradient_reaches_the_pixels_inside_alone():
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    cut_faces(images, points((8.0, 8.0), (24.0, 24.0)), FaceSquare(1.0), 8).sum().backward()
    seen = images.grad[0, 0].numpy() != 0
    assert seen[8:24, 8:24].all()
    assert not seen[:7].any() and not seen[:, 25:].any()


def test_every_picture_is_cut_by_its_own_landmarks():
    both = torch.cat([points((4.0, 4.0), (12.0, 12.0)), points((20.0, 4.0), (28.0, 12.0))])
    found = cut_faces(ramp(32, 32).expand(2, -1, -1, -1), both, FaceSquare(1.0), 4)
    assert np.allclose(found[:, 0].mean(dim=(1, 2)), [8.0, 24.0], atol=1e-4)


@pytest.mark.parametrize("side", [32, 64])
def test_recognisers_say_what_they_want_to_be_shown(side):
    network = TinyEmotionJudge(side, (16, 24), (1, 1))
    assert (network.classes, network.input_px, network.face_square) == (8, side, None)
