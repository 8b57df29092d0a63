"""The exponential moving average of what trains."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sfe_core.training.parallel.sharding import to_local


class MovingAverage:
    """Exponential moving average of the trained weights (Polyak & Juditsky 1992).

    The decay grows from 0.1 to its full value as (1 + n) / (10 + n), n being the update, so that
    the random start of a short run is soon forgotten.

    Args:
        model: the live model.
        decay: in [0, 1).
        device: "model" keeps the averages beside the live weights, "cpu" in the CPU's memory.

    Running statistics (of batch normalisation) are averaged as weights are, so that they fit these;
    other buffers are the live model's own.

    Attributes:
        model: a copy of the model holding the averages, to save and to load; frozen weights are
            the live model's own. Draw within `applied`: with averages on the CPU, the copy lies on
            two devices.
    """

    def __init__(self, model: nn.Module, decay: float, device: str = "model") -> None:
        self.decay = decay
        self._live, self._beside = model, device == "model"
        shared: dict[int, torch.Tensor] = {
            id(p): p for p in model.parameters() if not p.requires_grad
        }
        shared |= {id(buffer): buffer for buffer in model.buffers()}
        trained = [p for p in model.parameters() if p.requires_grad]
        running = _running_statistics(model)
        averages: list[torch.Tensor] = [nn.Parameter(self._copy(p), False) for p in trained]
        averages += [self._copy(buffer) for buffer in running]
        currents = [*trained, *running]
        memo = shared | {id(one): a for one, a in zip(currents, averages, strict=True)}
        self.model = copy.deepcopy(model, memo).eval()
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = [
            *zip(averages, currents, strict=True)
        ]

    def _copy(self, current: torch.Tensor) -> torch.Tensor:
        return _copy(current.detach(), current.device if self._beside else "cpu")

    def pair_shards(self) -> None:
        """Go on with this process's shards, once both models were sharded alike."""
        self._pairs = [
            (to_local(average), to_local(current))
            for average, current in zip(
                self.model.parameters(), self._live.parameters(), strict=True
            )
            if current.requires_grad
        ]
        pairs = (_running_statistics(model) for model in (self.model, self._live))
        self._pairs += zip(*pairs, strict=True)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the model's weights after update `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._beside:
            averages, currents = (list(side) for side in zip(*self._pairs, strict=True))
            get_ema_multi_avg_fn(decay)(averages, currents, step)
            return
        for average, current in self._pairs:
            average.lerp_(current.to(average.device), 1.0 - decay)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[nn.Module]:
        """Within the block, the live model draws with the averages; takes no memory of its GPU.

        Its own weights come back afterwards, bit for bit.
        """
        kept = []
        for average, current in self._pairs:
            if self._beside:
                average.data, current.data = current.data, average.data
            else:
                kept.append(_copy(current.detach(), average.device))
                current.copy_(average)
        training = self._live.training
        try:
            yield self._live.eval()
        finally:
            self._live.train(training)
            for place, (average, current) in enumerate(self._pairs):
                if kept:
                    current.copy_(kept[place])
                else:
                    average.data, current.data = current.data, average.data


def _copy(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    return tensor.to(device, copy=True)


def _running_statistics(model: nn.Module) -> list[torch.Tensor]:
    """What batch normalisation keeps of its batches, but for how many these were.

    Of layers that are frozen too: their average is what they are.
    """
    return [
        buffer
        for name, buffer in model.named_buffers()
        if name.rpartition(".")[2] in ("running_mean", "running_var")
    ]
