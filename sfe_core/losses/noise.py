"""The noise term, by any of three distances, and its weight."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from sfe_core.errors import UserError

NoiseLoss = Callable[[Tensor, Tensor], Tensor]


def noise_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error per image: two [B, C, h, w] to [B] float32, at least 0.

    >>> noise_l1(torch.zeros(2, 4, 8, 8), torch.full((2, 4, 8, 8), 0.5))
    tensor([0.5000, 0.5000])
    """
    return (prediction.float() - target.float()).abs().mean(dim=(1, 2, 3))


def noise_l2(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error per image (Ho et al. 2020, eq. 14): two [B, C, h, w] to [B] float32."""
    return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))


def noise_huber(prediction: Tensor, target: Tensor, delta: float) -> Tensor:
    """Mean Huber error per image (Huber 1964): two [B, C, h, w] to [B] float32.

    Half the square of an error up to `delta`, beyond it delta · (|error| - delta / 2).
    """
    errors = functional.huber_loss(
        prediction.float(), target.float(), reduction="none", delta=delta
    )
    return errors.mean(dim=(1, 2, 3))


def noise_loss(kind: str, huber_delta: float) -> NoiseLoss:
    """The noise term called `kind`: l1, l2 or huber (which alone reads `huber_delta`).

    Raises:
        UserError: another kind.
    """
    known: dict[str, NoiseLoss] = {
        "l1": noise_l1,
        "l2": noise_l2,
        "huber": lambda prediction, target: noise_huber(prediction, target, huber_delta),
    }
    if kind not in known:
        raise UserError("loss.noise_loss", f"{kind!r} is unknown", f"allowed: {', '.join(known)}")
    return known[kind]


def p2_weight(signal_to_noise: Tensor, k: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Weight of each image's noise term (Choi et al. 2022, https://arxiv.org/abs/2204.00227).

    1 / (k + SNR)^gamma: with both 1 this is 1 - alphas_cumprod, next to nothing at clean pictures.

    Args:
        signal_to_noise: [B].
        k: above 0.
        gamma: 0: every timestep counts alike.

    >>> p2_weight(torch.tensor([0.0, 1.0, 9.0]))
    tensor([1.0000, 0.5000, 0.1000])
    """
    return (k + signal_to_noise) ** -gamma


def min_snr_weight(signal_to_noise: Tensor, gamma: float | None, prediction_type: str) -> Tensor:
    """Weight of each image's noise term (Hang et al. 2023, https://arxiv.org/abs/2303.09556, 3.4).

    min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) / (SNR + 1) for v; 1 where gamma is None.

    Args:
        signal_to_noise: [B], SNR(t), at least 0.
        gamma: where the weight is clamped; None weighs all timesteps alike.
        prediction_type: "epsilon" or "v_prediction".

    Returns:
        [B] float32.

    Raises:
        UserError: another prediction type.

    >>> min_snr_weight(torch.tensor([0.4, 0.8, 8.0]), 0.8, "epsilon")
    tensor([1.0000, 1.0000, 0.1000])
    """
    if gamma is None:
        return torch.ones_like(signal_to_noise)
    clamped = signal_to_noise.clamp(max=gamma)
    if prediction_type == "epsilon":
        # SNR is 0 only under a zero-terminal schedule, where the ratio's limit is 1.
        return torch.where(signal_to_noise > 0, clamped / signal_to_noise, 1.0)
    if prediction_type == "v_prediction":
        return clamped / (signal_to_noise + 1.0)
    raise UserError(
        "model.base: scheduler/prediction_type",
        f"{prediction_type!r} cannot be trained",
        "allowed: epsilon, v_prediction",
    )
