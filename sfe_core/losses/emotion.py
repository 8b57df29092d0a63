"""The three emotion terms: how far the reading of a drawn face is from that of the real one.

Composite of StableFaceEmotion (see the design notes): L1 on valence, arousal and expression logits.
Gradient flows through the drawn face's reading; the real face's is a constant.
"""

from __future__ import annotations

from torch import Tensor

from sfe_core.faces.recognisers import EmotionReading


def valence_l1(drawn: EmotionReading, real: EmotionReading) -> Tensor:
    """|valence - valence| per face, [B], in [0, 2]."""
    return (drawn.valence - real.valence.detach()).abs().float()


def arousal_l1(drawn: EmotionReading, real: EmotionReading) -> Tensor:
    """|arousal - arousal| per face, [B], in [0, 2]."""
    return (drawn.arousal - real.arousal.detach()).abs().float()


def expression_l1(drawn: EmotionReading, real: EmotionReading) -> Tensor:
    """Mean absolute difference of the eight logits per face, [B], at least 0."""
    return (drawn.logits - real.logits.detach()).abs().mean(dim=1).float()
