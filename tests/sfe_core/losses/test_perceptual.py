"""Perceptual distances: what holds for any, and that nothing is downloaded."""

from __future__ import annotations

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.losses.perceptual import load_perceptual, require_perceptual


@pytest.fixture(scope="module")
def distance():
    return load_perceptual("st-lpips")


def photo(seed: int, count: int = 2, size: int = 64) -> torch.Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


def test_zero_for_equal_symmetric_and_larger_for_more_noise(distance):
    image = photo(0)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    little, much = (image + 0.05 * noise), (image + 0.4 * noise)
    assert distance(image, image).tolist() == [0.0, 0.0]
    torch.testing.assert_close(distance(image, much), distance(much, image))
    assert (distance(image, little) < distance(image, much)).all()


def test_an_image_is_measured_alone(distance):
    images, others = photo(0), photo(1)
    together = distance(images, others)
    alone = torch.cat([distance(images[i : i + 1], others[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)


def test_a_smaller_contrast_is_seen(distance):
    # Nothing is rescaled by an image's own minimum and maximum.
    image = photo(0)
    assert (distance(image, 0.5 * image) > 1e-3).all()


def test_gradient_is_finite_even_on_flat_images(distance):
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance(flat, photo(2, 1)).sum().backward()
    assert torch.isfinite(flat.grad).all() and flat.grad.abs().sum() > 0


def test_frozen_and_never_in_training_mode(distance):
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    distance.train()
    assert not any(module.training for module in distance.modules())


def test_a_missing_backbone_says_how_to_get_it():
    for call in (load_perceptual, require_perceptual):
        with pytest.raises(UserError, match="alexnet.*sfe assets fetch alexnet"):
            call("lpips-alex")


def test_lpips_takes_its_backbone_from_the_asset(own_assets_root):
    from torchvision.models import alexnet

    torch.manual_seed(0)
    state = alexnet(weights=None).state_dict()
    target = own_assets_root / "torchvision" / "alexnet-owt-7be5be79.pth"
    target.parent.mkdir(parents=True)
    torch.save(state, target)
    distance = load_perceptual("lpips-alex")
    ours = distance.network.net.state_dict()
    assert torch.equal(ours["slice5.10.weight"], state["features.10.weight"])
    assert distance(photo(0), photo(1)).shape == (2,)


def test_unknown_name():
    with pytest.raises(UserError, match="'dists'.*st-lpips"):
        load_perceptual("dists")
