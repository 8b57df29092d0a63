"""Learning rate over optimiser updates."""

from __future__ import annotations

import math

from sfe_core.config.stableface_sections import TrainConfig

POLYNOMIAL_END = 1e-7  # where diffusers' "polynomial" (power 1) ends; "linear" ends at 0


def learning_rate(update: int, peak: float, train: TrainConfig) -> float:
    """The rate of an update.

    Args:
        update: 0 .. train.steps - 1.
        peak: the rate after warm-up.
        train: gives `steps`, `warmup_steps` and `schedule`.
    """
    if update < train.warmup_steps:
        return peak * (update + 1) / train.warmup_steps
    progress = (update - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    if train.schedule == "constant":
        return peak
    if train.schedule == "linear":
        return peak * (1.0 - progress)
    if train.schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
    end = min(POLYNOMIAL_END, peak)
    return end + (peak - end) * (1.0 - progress)
