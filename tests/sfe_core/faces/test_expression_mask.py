"""The mask around what an expression moves."""

from __future__ import annotations

import math

import pytest
import torch

from sfe_core.faces.expression_mask import expression_mask


def face(scale: float = 1.0) -> torch.Tensor:
    """[1, 68, 2]: a jaw 0.8 wide, all else at one point of its own; shares of the picture."""
    points = torch.full((1, 68, 2), 0.5)
    points[0, :17, 0] = torch.linspace(0.1, 0.9, 17)
    points[0, :17, 1] = 0.9
    points[0, 17:27] = torch.tensor([0.3, 0.2])
    points[0, 27:31] = torch.tensor([0.5, 0.4])
    points[0, 31:36] = torch.tensor([0.5, 0.55])
    points[0, 36:48] = torch.tensor([0.7, 0.3])
    points[0, 48:] = torch.tensor([0.5, 0.75])
    return 0.5 + scale * (points - 0.5)


def at(mask: torch.Tensor, x: float, y: float) -> float:
    return mask[0, 0, int(y * mask.shape[2]), int(x * mask.shape[3])].item()


def test_it_is_a_gaussian_of_the_faces_width_around_what_moves():
    mask = expression_mask(face(), (501, 501))
    assert mask.shape == (1, 1, 501, 501) and mask.min() >= 0 and mask.max() <= 1
    for x, y in ((0.3, 0.2), (0.7, 0.3), (0.5, 0.55), (0.5, 0.75)):
        assert at(mask, x, y) == pytest.approx(1, abs=1e-3)
        beside = at(mask, x + 0.04 * 0.8, y)  # one standard deviation
        assert beside == pytest.approx(math.exp(-0.5), abs=0.03)
    for x, y in ((0.1, 0.9), (0.9, 0.9), (0.5, 0.4), (0.05, 0.05)):  # jaw, bridge of the nose
        assert at(mask, x, y) < 0.01


def test_a_smaller_face_has_a_smaller_mask_in_proportion():
    large, small = (expression_mask(face(scale), (256, 256)).sum() for scale in (1.0, 0.5))
    assert (large / small).item() == pytest.approx(4, rel=0.02)


def test_each_picture_has_its_own_and_an_oblong_one_round_spots():
    faces = torch.cat([face(), face(0.5)])
    both = expression_mask(faces, (64, 96))
    assert torch.equal(both[1:], expression_mask(faces[1:], (64, 96)))
    oblong = expression_mask(face(), (200, 400))[0, 0]
    spot = oblong[20:60, 80:160] > 0.6065  # around (0.3, 0.2)
    assert spot.any(0).sum().item() == pytest.approx(spot.any(1).sum().item(), abs=1)
