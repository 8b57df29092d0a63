"""Terms on decoded images: what is checked, what is read, and what chunks cost and keep."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sfe_core.errors import RunError
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.losses.emotion import expression_cross_entropy, valence_l1
from sfe_core.losses.emotion_target import EmotionLabels, TargetRule
from sfe_core.losses.photo_area import photo_mask
from sfe_core.losses.pixels import PixelBatch, PixelTerms, check_pictures


class Reader(nn.Module):
    """A small frozen recogniser that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 10, 3, 2, 1))
        self.requires_grad_(False)
        self.calls = 0

    def forward(self, images: Tensor) -> EmotionReading:
        self.calls += 1
        out = self.body(images).mean(dim=(2, 3))
        return EmotionReading(out[:, :8], out[:, 8], out[:, 9], out)


class UnitReader(Reader):
    """Intensities of four units on two sides."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).logits.unflatten(1, (2, 4))


class Gap(nn.Module):
    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        return (images - others).square().mean(dim=(1, 2, 3))


class Decoder(nn.Module):
    """Four-channel latents to images of twice their side; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body = nn.Sequential(nn.Conv2d(4, 16, 3, 1, 1), nn.SiLU(), nn.Conv2d(16, 12, 3, 1, 1))
        self.requires_grad_(False)
        self.sizes: list[int] = []

    def forward(self, latents: Tensor) -> Tensor:
        self.sizes.append(len(latents))
        return nn.functional.pixel_shuffle(self.body(latents), 2)


PHOTO = TargetRule(frozenset({"valence"}), frozenset({"emotion"}))


def terms(chunk: int | None = None, recogniser: nn.Module | None = None) -> PixelTerms:
    emotion = {"valence": valence_l1, "expression": expression_cross_entropy}
    return PixelTerms(Gap(), recogniser or Reader(), emotion, PHOTO, chunk, UnitReader())


def batch(count: int = 5, decoder: nn.Module | None = None, emotion=(0, 7, -1, 3, 4)) -> PixelBatch:
    generator = torch.Generator().manual_seed(4)
    unknown = torch.full((count,), torch.nan)
    return PixelBatch(
        estimates=torch.randn(count, 4, 8, 8, generator=generator).requires_grad_(),
        decode=decoder or Decoder(),
        photos=torch.rand(count, 3, 16, 16, generator=generator) * 2 - 1,
        weights=torch.ones(count),
        labels=EmotionLabels(torch.tensor(emotion[:count]), unknown, unknown),
    )


def gradient_of(pixels: PixelBatch, values: dict[str, Tensor]) -> Tensor:
    sum(value.sum() for value in values.values()).backward()
    return pixels.estimates.grad


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_chunks_change_neither_values_nor_gradient(chunk):
    whole, parts = batch(), batch()
    expected, found = terms()(whole), terms(chunk)(parts)
    assert set(found) == {"perceptual", "valence", "expression", "units"}
    for name, values in expected.items():
        assert values.shape == (5,)
        torch.testing.assert_close(found[name], values)
    torch.testing.assert_close(gradient_of(parts, found), gradient_of(whole, expected))
    assert parts.estimates.grad.abs().sum() > 0


def saved_bytes(chunk: int | None) -> int:
    """What the forward pass keeps for the backward one, without the inputs."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    pixels, chosen = batch(), terms(chunk)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        chosen(pixels)
    return kept


def test_chunks_keep_little_for_the_way_back():
    assert saved_bytes(1) < 0.25 * saved_bytes(None)


def test_each_chunk_is_decoded_at_once_and_once_more_on_the_way_back():
    decoder = Decoder()
    pixels = batch(decoder=decoder)
    values = terms(2)(pixels)
    assert decoder.sizes == [2, 2, 1]
    gradient_of(pixels, values)
    assert sorted(decoder.sizes) == [1, 1, 2, 2, 2, 2]
    once = Decoder()
    pixels = batch(decoder=once)
    gradient_of(pixels, terms()(pixels))
    assert once.sizes == [5]


def test_units_of_photos_are_read_once_though_chunks_are_computed_anew():
    measure, pixels = terms(chunk=2), batch(4)
    gradient_of(pixels, measure(pixels))
    assert measure.units_reader.calls == 2 * 3  # of each chunk the photos, what is drawn, it anew


def test_photos_are_read_only_where_a_target_needs_them():
    rule = TargetRule(frozenset(), frozenset({"emotion"}))
    emotion = {"expression": expression_cross_entropy}
    reader = Reader()
    PixelTerms(None, reader, emotion, rule)(batch(2))
    assert reader.calls == 1  # the drawn faces alone: both photos have a label
    PixelTerms(None, reader, emotion, rule)(batch(3))
    assert reader.calls == 3  # the third has none


class Embedder(Reader):
    """Vectors of eight numbers."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).logits


def crafting(chunk: int | None = None) -> PixelTerms:
    return replace(terms(chunk), embedder=Embedder(), crafting=True)


@pytest.mark.parametrize("chunk", [None, 2])
def test_what_the_photo_does_not_show_is_held_against_no_photo(chunk):
    asked = torch.zeros(5, 8)
    asked[0, 3] = asked[2, 5] = 1.0
    person = torch.randn(5, 8, generator=torch.Generator().manual_seed(7))
    found = crafting(chunk)(replace(batch(), asked=asked, people=person))
    of_photo = (asked.sum(1) == 0).tolist()
    for name in ("perceptual", "valence", "expression", "units"):
        assert [bool(value) for value in found[name] != 0] == of_photo, name
    asking = [not one for one in of_photo]
    assert [bool(value) for value in found["crafting_expression"] != 0] == asking
    assert (found["identity"] > 0).all()  # the person is wanted of both
    plain = crafting(chunk)(batch())
    assert not plain["crafting_expression"].any()
    torch.testing.assert_close(plain["perceptual"][1], found["perceptual"][1])


def test_each_crafting_term_moves_the_picture_and_no_network():
    asked = torch.eye(8)[[3] * 5]
    for name in ("identity", "crafting_expression"):
        measure, pixels = crafting(), replace(batch(), asked=asked)
        measure(pixels)[name].sum().backward()
        assert (pixels.estimates.grad.flatten(1).abs().sum(1) > 0).all(), name
        for network in (measure.embedder, measure.recogniser, measure.units_reader):
            assert all(one.grad is None for one in network.parameters())


def test_without_a_person_the_photo_tells_who_it_is():
    pixels = batch(2)
    own = Embedder()(pixels.photos)
    alone = PixelTerms(None, None, {}, PHOTO, embedder=Embedder())
    torch.testing.assert_close(alone(pixels), alone(replace(pixels, people=own)))
    # Only the recogniser's view of the drawn face is asked for where nothing else needs it.
    reader = Reader()
    PixelTerms(None, reader, {}, PHOTO, crafting=True)(replace(batch(2), asked=torch.eye(8)[:2]))
    assert reader.calls == 1


def test_without_emotion_terms_nothing_is_read():
    values = PixelTerms(Gap(), None, {}, PHOTO)(batch(2))
    assert set(values) == {"perceptual"}


@pytest.mark.parametrize(
    ("photos", "problem"),
    [
        (torch.rand(2, 3, 16, 16) * 255, "values from"),
        (torch.full((2, 3, 16, 16), torch.nan), "values from nan"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "uint8"),
        (torch.zeros(2, 1, 16, 16), r"\[2, 1, 16, 16\]"),
    ],
)
def test_photos_in_another_range_are_refused_at_the_door(photos, problem):
    pixels = batch(2)
    wrong = PixelBatch(pixels.estimates, pixels.decode, photos, pixels.weights, pixels.labels)
    with pytest.raises(RunError, match=f"photos of the loss: .*{problem}"):
        terms()(wrong)


def test_what_the_corpus_gives_passes():
    check_pictures(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4).half(), "here")
    check_pictures(torch.zeros(0, 3, 4, 4), "here")


def area(shown: float) -> Tensor:
    """Of a picture whose left part, a share of `shown`, is photo and the rest repeated border."""
    return torch.tensor([[1 / shown, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize("chunk", [None, 2])
def test_repeated_border_is_in_no_value_and_has_no_gradient(chunk):
    drawn = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(5)).tanh()
    drawn.requires_grad_()
    shown = torch.stack([area(share) for share in (0.5, 0.75, 1.0)])
    pixels = replace(batch(3), estimates=drawn, decode=lambda latents: latents, areas=shown)
    values = terms(chunk)(pixels)
    sum(value.sum() for value in values.values()).backward()
    for row, columns in enumerate((8, 12, 16)):
        assert (drawn.grad[row, :, :, columns:] == 0).all()
        assert (drawn.grad[row, :, :, :columns] != 0).all()
    # Another border, in the photo and in the drawn picture, changes nothing at all.
    changed, other = drawn.detach().clone(), pixels.photos.clone()
    for part in (changed, other):
        part[0, :, :, 8:], part[1, :, :, 12:] = 0.9, -0.9
    again = terms(chunk)(replace(pixels, estimates=changed, photos=other))
    for name, value in values.items():
        assert torch.equal(value, again[name]), name
    inner = drawn.detach().clone()
    inner[0, :, 4, 7] += 0.1
    inner = terms(chunk)(replace(pixels, estimates=inner))
    assert all(value[0] != inner[name][0] for name, value in values.items())


def test_a_picture_that_is_all_photo_loses_the_same_to_the_bit():
    plain, masked = batch(), batch()
    masked = replace(masked, areas=torch.stack([area(1.0)] * 5))
    expected, found = terms()(plain), terms()(masked)
    for name, values in expected.items():
        assert torch.equal(values, found[name]), name
    assert torch.equal(gradient_of(plain, expected), gradient_of(masked, found))


def test_the_mask_follows_the_area_at_any_size():
    # A photo of which the picture shows the right lower three quarters and as much beyond.
    areas = torch.tensor([[[1.5, 0.0, 0.25], [0.0, 3.0, 0.25]], [[0.0, 0.0, 0.5]] * 2])
    mask = photo_mask(areas, 8, 16)
    assert mask.shape == (2, 1, 8, 16)
    assert mask[0, 0, :2, :8].all() and mask[0].sum() == 2 * 8 and mask[1].all()
    turned = torch.tensor([[[0.0, -1.0, 1.0], [2.0, 0.0, 0.0]]])  # a quarter, half of it shown
    assert torch.equal(photo_mask(turned, 4, 4)[0, 0], (torch.arange(4) < 2).expand(4, 4))
