"""The composite loss of StableFaceEmotion: noise, perceptual, valence, arousal, expression.

Beside these, action units and identity, read as the emotions are; and for recipes that ask for an
expression which the photo does not show, the crafting terms, see `crafting`.

Every term is a mean over the images of one optimiser update, however these are shared out to
processes and forward passes: a batch adds its sum over the update's count, so the batches of an
update add up to the same loss and gradient in any layout.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sfe_core.config.stableface_sections import LossConfig
from sfe_core.errors import UserError
from sfe_core.losses.emotion import (
    EmotionTerm,
    arousal_l1,
    expression_loss,
    features_l1,
    valence_l1,
)
from sfe_core.losses.emotion_target import TargetRule
from sfe_core.losses.noise import noise_loss
from sfe_core.losses.pixels import PixelBatch, PixelTerms

NOISE, PERCEPTUAL = "noise", "perceptual"
AFFECT_TERMS = ("valence", "arousal")
EMOTION_TERMS = (*AFFECT_TERMS, "expression", "features")
UNITS, IDENTITY = "units", "identity"
CRAFTING, ALIGNMENT = "crafting_expression", "alignment"
PIXEL_TERMS = (PERCEPTUAL, *EMOTION_TERMS, UNITS, IDENTITY, CRAFTING)  # on decoded images
RECOGNISER_TERMS = (*EMOTION_TERMS, CRAFTING)
CRAFTING_TERMS = (CRAFTING, ALIGNMENT)  # of recipes that ask for more than photos show
TERMS = (NOISE, *PIXEL_TERMS, ALIGNMENT)


@dataclass(frozen=True)
class Fused:
    """What `crafting.alignment_loss` gives of a batch.

    Attributes:
        errors: [F], of the batch's images whose features were fused.
        count: of such images in the update, over all batches and processes.
    """

    errors: Tensor
    count: int


@dataclass(frozen=True)
class LossTerms:
    """A batch's share of the loss of an update.

    Attributes:
        total: scalar with gradient.
        raw: per term, the share of its unweighted mean (detached scalar).
        weighted: per term, its share of the total (detached scalar); min-SNR weights of the noise
            term and timestep weights of the pixel terms are included here, and only here.
    """

    total: Tensor
    raw: dict[str, Tensor]
    weighted: dict[str, Tensor]


class CompositeLoss(nn.Module):
    """Weighs the terms once; a weight of 0 skips that term and its cost.

    Args:
        settings: the `loss` section of sfe.yaml.
        recogniser: images [D, 3, H, W] in [-1, 1] to `EmotionReading`; needed by emotion terms.
        perceptual: two such batches to [D]; needed by the perceptual term.
        units_reader: such images to intensities [D, 2, U]; needed by the term of action units.
        embedder: such images to vectors of identity [D, W]; needed by the identity term.

    Attributes:
        noise_loss: prediction and target [B, C, h, w] to [B], the noise term chosen.

    Raises:
        UserError: the recogniser does not read what a term needs.
    """

    def __init__(
        self,
        settings: LossConfig,
        recogniser: nn.Module | None = None,
        perceptual: nn.Module | None = None,
        units_reader: nn.Module | None = None,
        embedder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.weights = {name: getattr(settings, name) for name in TERMS}
        self.noise_loss = noise_loss(settings.noise_loss, settings.huber_delta)
        self.recogniser, self.perceptual = recogniser, perceptual
        self.units_reader, self.embedder = units_reader, embedder
        for network in (recogniser, perceptual, units_reader, embedder):
            if network is not None:
                network.eval().requires_grad_(False)
        self.pixel_terms = self._pixel_terms(settings) if self.needs_pixels else None

    @property
    def active(self) -> tuple[str, ...]:
        """The terms whose weight is not 0."""
        return tuple(name for name in TERMS if self.weights[name] > 0)

    @property
    def needs_pixels(self) -> bool:
        """Whether any term looks at decoded images."""
        return any(name in PIXEL_TERMS for name in self.active)

    def forward(
        self,
        noise_errors: Tensor,
        noise_weights: Tensor,
        image_count: int,
        pixels: PixelBatch | None = None,
        decoded_count: int = 0,
        fused: Fused | None = None,
    ) -> LossTerms:
        """Share of the update's loss that one batch carries.

        Args:
            noise_errors: [B], `noise_loss` per image.
            noise_weights: [B], `min_snr_weight` per image; 0 where there is nothing to predict, as
                where an expression is asked for that the photo does not show.
            image_count: images in the update, over all batches and processes.
            pixels: those D of the images that are decoded, or None.
            decoded_count: decoded images in the update, over all batches and processes.
            fused: those whose features were fused, for the alignment term; None: none.
        """
        # Zero times the prediction: gives even a batch without terms a graph to go back through.
        total = 0.0 * noise_errors.sum()
        raw, weighted = {}, {}
        if NOISE in self.active:
            raw[NOISE] = noise_errors.sum().detach() / image_count
            share = (noise_weights * noise_errors).sum() / image_count
            weighted[NOISE] = (self.weights[NOISE] * share).detach()
            total = total + self.weights[NOISE] * share
        if self.pixel_terms is not None and pixels is not None and len(pixels):
            for name, values in self.pixel_terms(pixels).items():
                raw[name] = values.sum().detach() / decoded_count
                share = (pixels.weights * values).sum() / decoded_count
                weighted[name] = (self.weights[name] * share).detach()
                total = total + self.weights[name] * share
        if ALIGNMENT in self.active and fused is not None and len(fused.errors):
            share = fused.errors.sum() / fused.count
            raw[ALIGNMENT] = share.detach()
            weighted[ALIGNMENT] = (self.weights[ALIGNMENT] * share).detach()
            total = total + self.weights[ALIGNMENT] * share
        return LossTerms(total, raw, weighted)

    def _pixel_terms(self, settings: LossConfig) -> PixelTerms:
        """The active terms on decoded images, bound to their networks."""
        chosen: dict[str, EmotionTerm] = {
            "valence": valence_l1,
            "arousal": arousal_l1,
            "expression": expression_loss(settings.expression_loss),
            "features": features_l1,
        }
        emotion = {name: term for name, term in chosen.items() if name in self.active}
        perceptual = PERCEPTUAL in self.active
        self._require_networks()
        read = [name for name in RECOGNISER_TERMS if name in self.active]
        square = getattr(self.recogniser, "face_square", None)
        if read and square is not None:
            raise UserError(
                "loss.emotion_network",
                f"{settings.emotion_network} reads faces cut out ({square}), and the loss shows "
                "it whole pictures",
                "choose another recogniser, and this one as a judge",
            )
        affect = [name for name in AFFECT_TERMS if name in emotion]
        if affect and not getattr(self.recogniser, "reads_affect", True):
            raise UserError(
                "loss.emotion_network",
                f"{settings.emotion_network} reads no valence and arousal",
                f"set loss.{affect[0]} to 0, or choose another recogniser",
            )
        return PixelTerms(
            perceptual=self.perceptual if perceptual else None,
            recogniser=self.recogniser if read else None,
            emotion_terms=emotion,
            units_reader=self.units_reader if UNITS in self.active else None,
            embedder=self.embedder if IDENTITY in self.active else None,
            crafting=CRAFTING in self.active,
            rule=_target_rule(settings, tuple(emotion), self.recogniser),
            chunk=settings.decode_chunk,
        )

    def _require_networks(self) -> None:
        """Raises: ValueError: a term that is on lacks its network."""
        network = {
            PERCEPTUAL: self.perceptual,
            **dict.fromkeys(RECOGNISER_TERMS, self.recogniser),
            UNITS: self.units_reader,
            IDENTITY: self.embedder,
        }
        for name in self.active:
            if name in network and network[name] is None:
                raise ValueError(f"the {name} term has a weight but no network")


def _target_rule(
    settings: LossConfig, active: tuple[str, ...], recogniser: nn.Module | None
) -> TargetRule:
    """Where the targets of the active emotion terms come from."""
    photo: set[str] = set()
    label: set[str] = set()
    for name in active:
        if name == "expression":
            of_label = settings.expression_loss == "cross-entropy"
            (label if of_label else photo).add("emotion" if of_label else "logits")
        elif name in AFFECT_TERMS and settings.emotion_target == "label":
            label.add(name)
        else:
            photo.add(name)
    classes = getattr(recogniser, "classes", None)
    rule = TargetRule(frozenset(photo), frozenset(label))
    return rule if classes is None else TargetRule(rule.photo, rule.label, classes)
