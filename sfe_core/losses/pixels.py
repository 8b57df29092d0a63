"""The terms that look at decoded images, computed in chunks to bound their memory.

Decoder, perceptual network and recogniser keep far more for the backward pass than the UNet does
per image. With a chunk size, each chunk is decoded and measured under a checkpoint (Chen et al.
2016, https://arxiv.org/abs/1604.06174): only its latents and a value per term are kept, and the
rest is computed again, one chunk at a time, on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sfe_core.emotions import EMOTIONS
from sfe_core.errors import RunError
from sfe_core.faces.recognition.tiny_units import FULL_INTENSITY
from sfe_core.losses.crafting import asked_expression
from sfe_core.losses.emotion import EmotionTerm
from sfe_core.losses.emotion_target import EmotionLabels, EmotionTarget, TargetRule
from sfe_core.losses.identity import identity_loss
from sfe_core.losses.photo_area import only_photo, photo_mask

# Half-precision storage rounds 1 up to a little more.
_SLACK = 0.01
# On a GPU a check of values waits for it; a wrong range shows in the first batch as in any.
_GPU_CHECKS = 2


@dataclass(frozen=True)
class PixelBatch:
    """D images to decode and what they are held against.

    Attributes:
        estimates: [D, C, h, w], one-step estimates of the clean latents, with gradient.
        decode: estimates to images [D, 3, H, W], about [-1, 1].
        photos: [D, 3, H, W] in [-1, 1], what the images should equal; constants.
        weights: [D] in [0, 1], how much each timestep's estimate counts.
        labels: of the photos, on the CPU, or None.
        areas: [D, 2, 3], which part of each image is photo and no repeated border, see
            `photo_area`; no term looks at the rest. None: all of it.
        people: [D, W] identity vectors of who should be on each image, see
            `identity.mean_identity`; None: who is on its photo.
        asked: [D, 8] on the CPU, share of each of EMOTIONS that a prompt asks for and its photo
            does not show: such an image is held against no photo, only against what was asked and
            against the person. All 0 where the image should be its photo; None: everywhere.
    """

    estimates: Tensor
    decode: Callable[[Tensor], Tensor]
    photos: Tensor
    weights: Tensor
    labels: EmotionLabels | None = None
    areas: Tensor | None = None
    people: Tensor | None = None
    asked: Tensor | None = None

    def __len__(self) -> int:
        return len(self.estimates)


@dataclass(frozen=True)
class _Aims:
    """What d images of a chunk are held against; None where no term asks for it."""

    photos: Tensor
    emotion: EmotionTarget | None
    units: Tensor | None
    person: Tensor | None
    asked: Tensor | None


@dataclass
class PixelTerms:
    """Values of the active terms per decoded image.

    Attributes:
        perceptual: two batches of images to [D], or None where that term is off.
        recogniser: images to `EmotionReading`, or None where no emotion term is on.
        emotion_terms: name to term.
        rule: where the emotion terms' targets come from.
        chunk: images decoded at once; None: all of a batch.
        units_reader: images to intensities of action units [D, 2, U], or None where that term is
            off; see `units_l1`.
        embedder: images to vectors of identity [D, W], or None where that term is off.
        crafting: whether the recogniser must see what was asked for, see `PixelBatch.asked`.
    """

    perceptual: nn.Module | None
    recogniser: nn.Module | None
    emotion_terms: Mapping[str, EmotionTerm]
    rule: TargetRule
    chunk: int | None = None
    units_reader: nn.Module | None = None
    embedder: nn.Module | None = None
    crafting: bool = False
    checks_done: int = 0

    def __call__(self, pixels: PixelBatch) -> dict[str, Tensor]:
        """Term to [D], with gradient to the estimates.

        Raises:
            RunError: the photos are not images in [-1, 1].
        """
        photos = pixels.photos.detach()
        self._check(photos)
        mask = None if pixels.areas is None else photo_mask(pixels.areas, *photos.shape[2:])
        photos = only_photo(photos, mask)
        size = self.chunk or len(pixels)
        parts = []
        for start in range(0, len(pixels), size):
            these = slice(start, start + size)
            target = self._target(photos[these], pixels.labels, these)
            units = self._units_of(photos[these])
            shown = None if mask is None else mask[these]
            person = self._person_of(photos[these], pixels.people, these)
            asked = None if pixels.asked is None else pixels.asked[these]
            aims = _Aims(photos[these], target, units, person, asked)
            inputs = (pixels.estimates[these], pixels.decode, shown, aims)
            # A single chunk is gone back through at once: computing it twice would spare nothing.
            if size < len(pixels) and torch.is_grad_enabled():
                values = checkpoint(
                    self._measure, *inputs, use_reentrant=False, preserve_rng_state=False
                )
            else:
                values = self._measure(*inputs)
            parts.append(values)
        return dict(zip(self._names, torch.cat(parts, dim=1), strict=True))

    @property
    def _names(self) -> tuple[str, ...]:
        first = ["perceptual"] if self.perceptual is not None else []
        last = ["units"] if self.units_reader is not None else []
        return (*first, *self.emotion_terms, *last, *self._names_of_the_asked)

    @property
    def _names_of_the_asked(self) -> tuple[str, ...]:
        """Terms that also act where the photo is not what is asked for."""
        person = ["identity"] if self.embedder is not None else []
        return (*person, *(["crafting_expression"] if self.crafting else []))

    def _measure(
        self,
        estimates: Tensor,
        decode: Callable[[Tensor], Tensor],
        mask: Tensor | None,
        aims: _Aims,
    ) -> Tensor:
        """[terms, d] float32 of one chunk."""
        drawn = decode(estimates)
        check_shape(drawn, "decoded images")
        drawn = only_photo(drawn, mask)
        reading = None if self.recogniser is None else self.recogniser(drawn)
        values = []
        if self.perceptual is not None:
            values.append(self.perceptual(drawn, aims.photos))
        if reading is not None and aims.emotion is not None:
            values += [term(reading, aims.emotion) for term in self.emotion_terms.values()]
        if self.units_reader is not None and aims.units is not None:
            values.append(units_l1(self.units_reader(drawn), aims.units))
        if aims.asked is not None:
            of_photo = (aims.asked.sum(dim=1) == 0).to(drawn.device)
            values = [value.where(of_photo, 0.0) for value in values]
        if self.embedder is not None and aims.person is not None:
            values.append(identity_loss(self.embedder(drawn), aims.person))
        if reading is not None and self.crafting:
            nothing = torch.zeros(len(drawn), len(EMOTIONS))
            asked = nothing if aims.asked is None else aims.asked
            values.append(asked_expression(reading, asked))
        return torch.stack([value.float() for value in values])

    def _target(
        self, photos: Tensor, labels: EmotionLabels | None, these: slice
    ) -> EmotionTarget | None:
        if self.recogniser is None or not self.emotion_terms:
            return None
        part = None if labels is None else labels.of(these)
        return self.rule.target(self.recogniser, photos, part)

    @torch.no_grad()
    def _units_of(self, photos: Tensor) -> Tensor | None:
        """The units term's target, read once: not again where a chunk is computed anew."""
        return None if self.units_reader is None else self.units_reader(photos)

    @torch.no_grad()
    def _person_of(self, photos: Tensor, people: Tensor | None, these: slice) -> Tensor | None:
        """The identity term's target, read once as that of the units is."""
        if self.embedder is None:
            return None
        return self.embedder(photos) if people is None else people[these].detach()

    def _check(self, photos: Tensor) -> None:
        check_shape(photos, "photos of the loss")
        if photos.device.type == "cpu" or self.checks_done < _GPU_CHECKS:
            check_pictures(photos, "photos of the loss")
            self.checks_done += 1


def units_l1(drawn: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of the action units read of two batches [d, 2, U]: [d], 0 to 1.

    As shares of full intensity, over units and both halves of the face. What the photo shows is
    wanted: a label tells neither what the crop hides nor which half a mirrored photo shows.
    """
    return (drawn - wanted).abs().mean(dim=(1, 2)).float() / FULL_INTENSITY


def check_pictures(pictures: Tensor, where: str) -> None:
    """Check that pictures are [B, 3, H, W], floating point, in [-1, 1].

    On a GPU this waits for all that was asked of it before; call it now and then, not every time.

    Raises:
        RunError: they are not.
    """
    check_shape(pictures, where)
    if not len(pictures):
        return
    low, high = (float(value) for value in torch.aminmax(pictures.detach()))
    # Written so that nan fails as well.
    if not (low >= -1 - _SLACK and high <= 1 + _SLACK):
        raise RunError(
            where,
            f"values from {low:.3g} to {high:.3g}",
            "expected RGB in [-1, 1], as the corpus gives it",
        )


def check_shape(pictures: Tensor, where: str) -> None:
    """Check that pictures are [B, 3, H, W] and floating point; costs nothing.

    Raises:
        RunError: they are not.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
        raise RunError(
            where,
            f"a tensor {list(pictures.shape)} of {str(pictures.dtype).removeprefix('torch.')}",
            "expected [B, 3, H, W], floating point",
        )
