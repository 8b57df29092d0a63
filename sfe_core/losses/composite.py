"""The composite loss of StableFaceEmotion: noise, perceptual, valence, arousal, expression.

Every term is a mean over the images of one optimiser update, however these are dealt out to
processes and forward passes: a batch adds its sum over the update's count, so the batches of an
update add up to the same loss and gradient in any layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfe_core.config.training_sections import LossConfig
from sfe_core.losses.emotion import arousal_l1, expression_l1, valence_l1

NOISE, PERCEPTUAL = "noise", "perceptual"
EMOTION_TERMS = {"valence": valence_l1, "arousal": arousal_l1, "expression": expression_l1}
TERMS = (NOISE, PERCEPTUAL, *EMOTION_TERMS)


@dataclass(frozen=True)
class LossTerms:
    """A batch's share of the loss of an update.

    Attributes:
        total: scalar with gradient.
        raw: per term, the share of its unweighted mean (detached scalar).
        weighted: per term, its share of the total (detached scalar); the noise term includes the
            min-SNR weights here, and only here.
    """

    total: Tensor
    raw: dict[str, Tensor]
    weighted: dict[str, Tensor]


class CompositeLoss(nn.Module):
    """Weighs the terms once; a weight of 0 skips that term and its cost.

    Args:
        weights: the `loss` section of sfe.yaml.
        recogniser: images [D, 3, H, W] in [-1, 1] to `EmotionReading`; needed by emotion terms.
        perceptual: two such batches to [D]; needed by the perceptual term.
    """

    def __init__(
        self,
        weights: LossConfig,
        recogniser: nn.Module | None = None,
        perceptual: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.weights = {name: getattr(weights, name) for name in TERMS}
        self.recogniser, self.perceptual = recogniser, perceptual
        for network in (recogniser, perceptual):
            if network is not None:
                network.eval().requires_grad_(False)

    @property
    def active(self) -> tuple[str, ...]:
        """The terms whose weight is not 0."""
        return tuple(name for name in TERMS if self.weights[name] > 0)

    @property
    def needs_pixels(self) -> bool:
        """Whether any term looks at decoded images."""
        return any(name != NOISE for name in self.active)

    def forward(
        self,
        noise_errors: Tensor,
        noise_weights: Tensor,
        image_count: int,
        drawn: Tensor | None = None,
        real: Tensor | None = None,
        decoded_count: int = 0,
    ) -> LossTerms:
        """Share of the update's loss that one batch carries.

        Args:
            noise_errors: [B], `noise_l1` per image.
            noise_weights: [B], `min_snr_weight` per image.
            image_count: images in the update, over all batches and processes.
            drawn: [D, 3, H, W] in about [-1, 1], decoded one-step estimates, or None.
            real: [D, 3, H, W] in [-1, 1], the photos they should equal; a constant.
            decoded_count: decoded images in the update, over all batches and processes.
        """
        # Zero times the prediction: gives even a batch without terms a graph to go back through.
        total = 0.0 * noise_errors.sum()
        raw, weighted = {}, {}
        if NOISE in self.active:
            raw[NOISE] = noise_errors.sum().detach() / image_count
            share = (noise_weights * noise_errors).sum() / image_count
            weighted[NOISE] = (self.weights[NOISE] * share).detach()
            total = total + self.weights[NOISE] * share
        if self.needs_pixels and drawn is not None and real is not None and len(drawn):
            for name, values in self._pixel_terms(drawn, real.detach()).items():
                share = values.sum() / decoded_count
                raw[name] = share.detach()
                weighted[name] = (self.weights[name] * share).detach()
                total = total + self.weights[name] * share
        return LossTerms(total, raw, weighted)

    def _pixel_terms(self, drawn: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Each active pixel term per image, [D]."""
        terms: dict[str, Tensor] = {}
        if PERCEPTUAL in self.active:
            terms[PERCEPTUAL] = _need(self.perceptual, PERCEPTUAL)(drawn, real)
        wanted = [name for name in EMOTION_TERMS if name in self.active]
        if wanted:
            recogniser = _need(self.recogniser, wanted[0])
            reading = recogniser(drawn)
            with torch.no_grad():
                target = recogniser(real)
            terms |= {name: EMOTION_TERMS[name](reading, target) for name in wanted}
        return terms


def _need(network: nn.Module | None, term: str) -> Callable:
    if network is None:
        raise ValueError(f"the {term} term has a weight but no network")
    return network
