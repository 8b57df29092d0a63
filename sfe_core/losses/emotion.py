"""The emotion terms: how far the reading of a drawn face is from what it should be.

Composite of StableFaceEmotion (see the design notes): L1 on valence, arousal and expression logits.
Gradient flows through the drawn face's reading; the target is a constant.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.losses.emotion_target import EmotionTarget

EmotionTerm = Callable[[EmotionReading, EmotionTarget], Tensor]


def valence_l1(drawn: EmotionReading, target: EmotionTarget) -> Tensor:
    """|valence - valence| per face, [B], in [0, 2]."""
    return (drawn.valence - target["valence"].detach()).abs().float()


def arousal_l1(drawn: EmotionReading, target: EmotionTarget) -> Tensor:
    """|arousal - arousal| per face, [B], in [0, 2]."""
    return (drawn.arousal - target["arousal"].detach()).abs().float()


def expression_l1(drawn: EmotionReading, target: EmotionTarget) -> Tensor:
    """Mean absolute difference of the logits to the photo's, per face: [B], at least 0."""
    return (drawn.logits - target["logits"].detach()).abs().mean(dim=1).float()


def expression_kl(drawn: EmotionReading, target: EmotionTarget) -> Tensor:
    """Kullback-Leibler divergence of the drawn face's emotions from the photo's, [B], nats.

    sum_k p_k (log p_k - log q_k), with p the photo's probabilities and q the drawn face's.
    """
    wanted = functional.log_softmax(target["logits"].detach().float(), dim=1)
    found = functional.log_softmax(drawn.logits.float(), dim=1)
    return functional.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=1)


def expression_cross_entropy(drawn: EmotionReading, target: EmotionTarget) -> Tensor:
    """Cross-entropy of the drawn face's emotions to the labelled one, [B], nats, at least 0."""
    found = functional.log_softmax(drawn.logits.float(), dim=1)
    return -(target["emotion"].detach().float() * found).sum(dim=1)


def features_l1(drawn: EmotionReading, target: EmotionTarget) -> Tensor:
    """Mean absolute difference of the recogniser's features per face, [B], at least 0.

    The emotion consistency of EMOCA (Danecek et al. 2022, https://arxiv.org/abs/2204.11312, eq. 3),
    with L1 as its published code and StableFaceEmotion's have it.
    """
    return (drawn.features - target["features"].detach()).abs().mean(dim=1).float()


EXPRESSION_LOSSES: dict[str, EmotionTerm] = {
    "l1": expression_l1,
    "cross-entropy": expression_cross_entropy,
    "kl": expression_kl,
}


def expression_loss(kind: str) -> EmotionTerm:
    """The expression term called `kind`: l1, cross-entropy or kl.

    Raises:
        UserError: another kind.
    """
    if kind not in EXPRESSION_LOSSES:
        raise UserError(
            "loss.expression_loss",
            f"{kind!r} is unknown",
            f"allowed: {', '.join(EXPRESSION_LOSSES)}",
        )
    return EXPRESSION_LOSSES[kind]
