"""Where in the diffusion the one-step estimate of the picture means something.

Early on the way from noise the estimate is a blur of all pictures, and what a network reads off it
is of no use; the pixel terms then act only in a window of timesteps, which fades in and out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfe_core.config.stableface_sections import LossConfig
from sfe_core.errors import UserError


@dataclass(frozen=True)
class TimestepWindow:
    """Timesteps from `first` on and below `end`, of `total`.

    Attributes:
        ramp: timesteps over which the weight rises or falls inside each limit that cuts any
            timestep off; 0 = at once.
    """

    first: int
    end: int
    ramp: int
    total: int

    def weight(self, timestep: int) -> float:
        """In [0, 1]: half a cosine wave at the limits, 1 between, 0 outside.

        >>> window = TimestepWindow(first=0, end=500, ramp=100, total=1000)
        >>> [round(window.weight(step), 3) for step in (0, 450, 499, 500)]
        [1.0, 0.492, 0.0, 0.0]
        """
        if not self.first <= timestep < self.end:
            return 0.0
        inside = []
        if self.first > 0:
            inside.append(timestep - self.first + 0.5)
        if self.end < self.total:
            inside.append(self.end - timestep - 0.5)
        return math.prod(self._fade(distance) for distance in inside)

    def _fade(self, distance: float) -> float:
        if distance >= self.ramp:
            return 1.0
        return 0.5 * (1.0 - math.cos(math.pi * distance / self.ramp))


def pixel_window(loss: LossConfig, alphas_cumprod: Tensor) -> TimestepWindow:
    """The window that sfe.yaml asks for, with its limit on the SNR as the timestep it stands for.

    Args:
        loss: section of sfe.yaml.
        alphas_cumprod: [T], of the noise schedule, falling; SNR(t) = a / (1 - a).

    Raises:
        UserError: no timestep is left.
    """
    total = len(alphas_cumprod)
    # Limits are counted of 1000 timesteps, the most that sfe.yaml allows: there it means all.
    end = total if loss.pixel_max_timestep >= 1000 else min(loss.pixel_max_timestep, total)
    if loss.pixel_min_snr is not None:
        alphas = alphas_cumprod.double().cpu()
        enough = alphas > loss.pixel_min_snr * (1.0 - alphas)
        end = min(end, int(torch.count_nonzero(enough)))
    if loss.pixel_min_timestep >= end:
        raise UserError(
            "loss.pixel_min_timestep",
            f"{loss.pixel_min_timestep} leaves no timestep below {end}",
            "lower it, raise loss.pixel_max_timestep, or lower loss.pixel_min_snr",
        )
    return TimestepWindow(loss.pixel_min_timestep, end, loss.pixel_ramp, total)
