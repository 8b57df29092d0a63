"""The composite: weights applied once, zero skips, batches of an update add up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sfe_core.config.stableface_sections import LossConfig
from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import EmotionReading, FaceSquare
from sfe_core.losses.composite import TERMS, CompositeLoss, Fused
from sfe_core.losses.emotion_target import EmotionLabels
from sfe_core.losses.pixels import PixelBatch


class Mean(nn.Module):
    """A recogniser to compute by hand: everything it reads is the image's mean."""

    calls = 0

    def forward(self, images: torch.Tensor) -> EmotionReading:
        self.calls += 1
        mean = images.mean(dim=(1, 2, 3))
        return EmotionReading(mean[:, None].repeat(1, 8), mean, 2 * mean, mean[:, None])


class Gap(nn.Module):
    """A perceptual distance to compute by hand."""

    def forward(self, images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return (images - others).abs().mean(dim=(1, 2, 3))


class Halves(nn.Module):
    """A reader of two units to compute by hand: five times the mean of each half of the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        sides = [half.mean(dim=(1, 2, 3)) for half in images.chunk(2, dim=3)]
        return 5 * torch.stack(sides, 1)[..., None].repeat(1, 1, 2)


class Tint(nn.Module):
    """An embedder to compute by hand: an image's mean colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def weights(**values: float) -> LossConfig:
    return LossConfig(**(dict.fromkeys(TERMS, 0.0) | values))


ALL = {
    "noise": 1.0,
    "perceptual": 2.0,
    "valence": 3.0,
    "arousal": 4.0,
    "expression": 5.0,
    "features": 6.0,
    "units": 7.0,
    "identity": 8.0,
    "crafting_expression": 9.0,
    "alignment": 10.0,
}
EVERY_NETWORK = (Mean(), Gap(), Halves(), Tint())


def batch_of(drawn: torch.Tensor, photos: torch.Tensor, **more) -> PixelBatch:
    """Images that need no decoder: they are their own latents."""
    plain = {"decode": lambda images: images, "weights": torch.ones(len(drawn))}
    return PixelBatch(estimates=drawn, photos=photos, **(plain | more))


def test_every_value_by_hand():
    composite = CompositeLoss(weights(**ALL), *EVERY_NETWORK)
    drawn, real = torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)
    pixels = batch_of(drawn, real, people=torch.tensor([[1.0, 0.0, 0.0]]))
    noise, fused = (torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.5])), torch.tensor([0.5, 1.5])
    terms = composite(*noise, 2, pixels, 1, Fused(fused, 4))
    raw = {name: value.item() for name, value in terms.raw.items()}
    assert raw == pytest.approx(
        {
            "noise": 2.0,
            "perceptual": 0.5,
            "valence": 0.5,
            "arousal": 1.0,
            "expression": 0.5,
            "features": 0.5,
            "units": 0.5,
            "identity": 1 - 3**-0.5,
            "crafting_expression": 0.0,  # nothing but the photo was asked for
            "alignment": 0.5,  # two of the update's four
        }
    )
    weighted = {name: value.item() for name, value in terms.weighted.items()}
    assert weighted["noise"] == 1.25  # (1·1 + 0.5·3) / 2: min-SNR weights count here only
    assert weighted["arousal"] == 4.0
    assert terms.total.item() == pytest.approx(sum(weighted.values()))


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_of_zero_skips_that_term_and_only_that_term(name):
    composite = CompositeLoss(weights(**(ALL | {name: 0.0})), *EVERY_NETWORK)
    drawn, real = torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2)
    fused = Fused(torch.ones(1), 1)
    terms = composite(torch.ones(2), torch.ones(2), 2, batch_of(drawn, real), 2, fused)
    assert set(terms.raw) == set(TERMS) - {name}
    assert composite.active == tuple(term for term in TERMS if term != name)


def test_skipped_networks_are_not_called_or_needed():
    recogniser = Mean()
    composite = CompositeLoss(weights(perceptual=1.0), recogniser, Gap())
    pixels = batch_of(torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2))
    composite(torch.ones(1), torch.ones(1), 1, pixels, 1)
    assert recogniser.calls == 0
    assert not CompositeLoss(weights(noise=1.0)).needs_pixels


def test_units_are_compared_side_by_side_and_the_photo_is_a_constant():
    composite = CompositeLoss(weights(units=2.0), units_reader=Halves())
    left = torch.cat([torch.ones(1, 3, 2, 1), torch.zeros(1, 3, 2, 1)], 3)
    drawn, photo = left.clone().requires_grad_(), left.flip(3).requires_grad_()
    terms = composite(torch.ones(1), torch.ones(1), 1, batch_of(drawn, photo), 1)
    assert terms.raw["units"] == 1.0 and terms.total == 2.0  # the same units, on the other side
    terms.total.backward()
    assert drawn.grad.abs().sum() > 0 and photo.grad is None
    with pytest.raises(ValueError, match="units term has a weight but no network"):
        CompositeLoss(weights(units=1.0))


def test_batches_of_an_update_add_up():
    composite = CompositeLoss(weights(**ALL), *EVERY_NETWORK)
    torch.manual_seed(0)
    errors, snr = torch.rand(4), torch.rand(4)
    drawn, real = torch.rand(3, 3, 2, 2), torch.rand(3, 3, 2, 2)
    whole = composite(errors, snr, 4, batch_of(drawn, real), 3).total
    parts = composite(errors[:1], snr[:1], 4, None, 3).total
    parts = parts + composite(errors[1:], snr[1:], 4, batch_of(drawn, real), 3).total
    torch.testing.assert_close(parts, whole)


def test_a_batch_without_any_term_still_has_a_graph():
    composite = CompositeLoss(weights(valence=1.0), Mean())
    errors = torch.ones(2, requires_grad=True)
    total = composite(errors, torch.ones(2), 2).total
    total.backward()
    assert total.item() == 0.0 and errors.grad.tolist() == [0.0, 0.0]


def test_the_photo_is_a_constant():
    composite = CompositeLoss(weights(**ALL), *EVERY_NETWORK)
    drawn = torch.rand(2, 3, 2, 2, requires_grad=True)
    real = torch.rand(2, 3, 2, 2, requires_grad=True)
    composite(torch.ones(2), torch.ones(2), 2, batch_of(drawn, real), 2).total.backward()
    assert drawn.grad.abs().sum() > 0 and real.grad is None


def test_timestep_weights_count_once_and_not_in_the_raw_terms():
    composite = CompositeLoss(weights(perceptual=2.0), perceptual=Gap())
    drawn, real = torch.full((2, 3, 2, 2), 0.5), torch.zeros(2, 3, 2, 2)
    pixels = batch_of(drawn, real, weights=torch.tensor([1.0, 0.25]))
    terms = composite(torch.ones(2), torch.ones(2), 2, pixels, 2)
    assert terms.raw["perceptual"].item() == 0.5
    assert terms.weighted["perceptual"].item() == 2.0 * (0.5 + 0.25 * 0.5) / 2


def labelled(emotion: list[int], valence: list[float]) -> EmotionLabels:
    known = torch.tensor(valence)
    return EmotionLabels(torch.tensor(emotion), known, known)


def test_labels_take_the_place_of_the_photo_where_asked():
    settings = LossConfig(
        **(dict.fromkeys(TERMS, 0.0) | {"valence": 1.0, "expression": 1.0}),
        emotion_target="label",
        expression_loss="cross-entropy",
    )
    recogniser = Mean()
    composite = CompositeLoss(settings, recogniser)
    drawn, real = torch.full((2, 3, 2, 2), 0.5), torch.zeros(2, 3, 2, 2)
    pixels = batch_of(drawn, real, labels=labelled([3, 5], [-0.5, 1.0]))
    terms = composite(torch.ones(2), torch.ones(2), 2, pixels, 2)
    assert recogniser.calls == 1
    assert terms.raw["valence"].item() == (1.0 + 0.5) / 2
    assert terms.raw["expression"].item() == pytest.approx(math.log(8))


def test_labels_play_no_part_by_default():
    composite = CompositeLoss(weights(valence=1.0, expression=1.0), Mean())
    drawn, real = torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)
    plain, told = (
        composite(torch.ones(1), torch.ones(1), 1, batch_of(drawn, real, labels=labels), 1)
        for labels in (None, labelled([3], [1.0]))
    )
    assert plain.raw == told.raw


def test_the_noise_term_is_the_one_chosen():
    prediction, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]])
    found = {
        kind: CompositeLoss(
            LossConfig(noise_loss=kind, huber_delta=1.0, **only_noise())
        ).noise_loss(prediction, target)
        for kind in ("l1", "l2", "huber")
    }
    assert {kind: value.item() for kind, value in found.items()} == {
        "l1": 2.0,
        "l2": 5.0,
        "huber": 1.5,
    }


def only_noise() -> dict[str, float]:
    return {name: float(name == "noise") for name in TERMS}


def test_a_recogniser_of_faces_cut_out_is_refused():
    recogniser = Mean()
    recogniser.face_square = FaceSquare(1.2)
    CompositeLoss(weights(noise=1.0), recogniser)
    with pytest.raises(UserError, match="loss.emotion_network.*whole pictures"):
        CompositeLoss(weights(expression=1.0), recogniser)


def test_a_recogniser_without_affect_is_refused_by_the_terms_that_need_it():
    recogniser = Mean()
    recogniser.reads_affect = False
    CompositeLoss(weights(expression=1.0), recogniser)
    with pytest.raises(UserError, match="loss.emotion_network.*loss.valence to 0"):
        CompositeLoss(weights(valence=1.0), recogniser)
