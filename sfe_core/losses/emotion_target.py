"""What the emotion terms aim at: the recogniser's reading of the photo, or the corpus's labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading


@dataclass(frozen=True)
class EmotionLabels:
    """What the corpus says of N faces; on the CPU, so that asking for gaps waits for no GPU.

    Attributes:
        emotion: [N] int64, place in EMOTIONS, -1 where unknown.
        valence, arousal: [N] in [-1, 1], nan where unknown.
    """

    emotion: Tensor
    valence: Tensor
    arousal: Tensor

    def of(self, places: list[int] | slice) -> EmotionLabels:
        """The labels of some of the faces, in the order asked."""
        return EmotionLabels(self.emotion[places], self.valence[places], self.arousal[places])


EmotionTarget = dict[str, Tensor]
"""Constants that drawn faces are compared with, those that an active term reads: "logits" [B, C]
and "features" [B, D] of the photo; "valence" and "arousal" [B], of the photo or the label;
"emotion" [B, C], probabilities, 1 at the label."""


@dataclass(frozen=True)
class TargetRule:
    """Which parts of a target are read, and where they come from.

    Attributes:
        photo: parts read off the photo: "logits", "features", "valence", "arousal".
        label: parts from the corpus: "valence", "arousal", "emotion". A face without that label
            aims at what the recogniser reads in its photo instead.
        classes: emotions the recogniser tells apart, the first so many of EMOTIONS; to it a face
            with any other label has none.
    """

    photo: frozenset[str]
    label: frozenset[str] = frozenset()
    classes: int = len(EMOTIONS)

    @torch.no_grad()
    def target(
        self, recogniser: nn.Module, photos: Tensor, labels: EmotionLabels | None
    ) -> EmotionTarget:
        """The target of D faces.

        Args:
            recogniser: [D, 3, H, W] in [-1, 1] to `EmotionReading`; called only where needed.
            photos: [D, 3, H, W] in [-1, 1].
            labels: of the D faces; None: none of them has any.
        """
        known = {part: self._known(part, labels) for part in self.label}
        complete = all(bool(found.all()) for found in known.values())
        reading = None
        if self.photo or labels is None or not complete:
            reading = recogniser(photos)
        parts = {part: getattr(reading, part) for part in self.photo}
        for part, found in known.items():
            seen = None if reading is None else self._seen(part, reading)
            if labels is None:
                parts[part] = seen
                continue
            said = self._said(part, labels).to(photos.device)
            # Rows of a matrix of probabilities, or single values, as the part has it.
            where = found.to(photos.device).view(-1, *[1] * (said.ndim - 1))
            parts[part] = said if seen is None else torch.where(where, said, seen)
        return parts

    def _known(self, part: str, labels: EmotionLabels | None) -> Tensor:
        """[D] bool: which faces have that label; empty without labels."""
        if labels is None:
            return torch.ones(0, dtype=torch.bool)
        if part == "emotion":
            return (labels.emotion >= 0) & (labels.emotion < self.classes)
        return ~getattr(labels, part).isnan()

    def _said(self, part: str, labels: EmotionLabels) -> Tensor:
        """The labels of a part, float32; anything at all where there is none."""
        if part == "emotion":
            place = labels.emotion.clamp(0, self.classes - 1)
            return functional.one_hot(place, self.classes).float()
        return getattr(labels, part).float()

    def _seen(self, part: str, reading: EmotionReading) -> Tensor:
        """The same part as the recogniser reads it, float32."""
        if part == "emotion":
            return reading.logits.float().softmax(dim=1)
        return getattr(reading, part).float()
