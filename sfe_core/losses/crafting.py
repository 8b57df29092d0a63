"""The crafting terms: an expression that is asked for and that no photo of the person shows.

What FaceExpr calls its expression crafting loss has no published form; this is the project's own,
of three parts that are switched one by one. For a prompt "V woman, happy" beside a photo in which V
is not happy there is no picture to be like. Then only these act: the loss's recogniser must see
what is asked (`asked_expression`), the embedder the person (`identity.identity_loss`), and where
features are fused, they must be the expression's where it shows, and the person's elsewhere
(`alignment_loss`).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sfe_core.faces.recognition.reading import EmotionReading


def asked_expression(drawn: EmotionReading, asked: Tensor) -> Tensor:
    """Cross-entropy of the drawn faces' emotions to those that the prompts ask for: [B], nats.

    0 for a face of which nothing is asked, or what the recogniser does not know. It aims at the
    prompt's emotion, whatever the photo beside it shows; that is what tells it from
    `emotion.expression_cross_entropy`.

    Args:
        drawn: reading of B faces with gradient.
        asked: [B, 8] share of each of EMOTIONS, summing to 1; all 0 where nothing but the photo is
            asked for.
    """
    found = functional.log_softmax(drawn.logits.float(), dim=1)
    asked = asked.to(found)[:, : found.shape[1]]
    return -(asked * found).sum(dim=1)


def alignment_loss(fused: Tensor, expression: Tensor, identity: Tensor, mask: Tensor) -> Tensor:
    """Fused features near the expression's inside a mask, and near the person's outside: [B].

    Mean over places and channels of M |n(f') - n(f_exp)|² + (1 - M) |n(f') - n(f_id)|², where n is
    a LayerNorm over channels without weights: features of a UNet differ in scale by place and step,
    and what they say does not. Gradient flows into `fused` alone: the two passes are what is aimed
    at, and would else come to meet it.

    Args:
        fused: f', features [B, C, H, W] that the decoder sees.
        expression: f_exp, the same of the pass that asks for the expression alone.
        identity: f_id, the same of the pass that asks for the person.
        mask: [B, 1, H, W] in [0, 1]; 1 where the face shows its expression.

    Returns:
        [B] float32, from 0 to 4.
    """
    to_expression = _apart(fused, expression)
    to_identity = _apart(fused, identity)
    mask = mask.detach().float().squeeze(1)
    return (mask * to_expression + (1.0 - mask) * to_identity).mean(dim=(1, 2))


def _apart(fused: Tensor, aim: Tensor) -> Tensor:
    """Mean square over channels between normalised features: [B, H, W], from 0 to 4."""
    return (_normed(fused) - _normed(aim.detach())).square().mean(dim=-1)


def _normed(features: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H, W, C], each place with mean 0 and variance 1."""
    channels = features.shape[1]
    return functional.layer_norm(features.float().permute(0, 2, 3, 1), (channels,))
