"""Readers of action units, of each half of a face apart, trained by this project.

As with emotions there are two: `tiny-units-loss` may drive a loss, `tiny-units-judge` scores what
came of it. They differ in kind and in training faces.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sfe_core.faces.recognition.reading import fit_to_input
from sfe_core.faces.recognition.tiny_networks import (
    load_tiny,
    make_stem,
    patch_stages,
    residual_stages,
)

FULL_INTENSITY = 5.0


class _UnitReader(ModelMixin, ConfigMixin):
    """Shared door and head: images in, intensities out."""

    head: nn.Linear

    @property
    def input_px(self) -> int:
        """Side of the pictures that the network sees."""
        return int(self.config.input_size)

    @property
    def units(self) -> tuple[str, ...]:
        """FACS names of the U units it reads, in their order."""
        return tuple(self.config.units)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] at the network's own side S, to [B, D]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Read faces of any size.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1], cropped as `preprocess` crops.

        Returns:
            FACS intensities [B, 2, U] of the person's left and right half, 0 to 5. A reading may
            lie a little beyond either end: it is linear, as a limit would end the gradient there.
        """
        out = self.head(self.features(fit_to_input(images, self.input_px)))
        return FULL_INTENSITY * out.unflatten(1, (2, len(self.units)))


class TinyUnitsNet(_UnitReader):
    """The reader of a loss: a residual network whose last grid keeps places."""

    @register_to_config
    def __init__(
        self,
        units: tuple[str, ...],
        input_size: int = 128,
        channels: tuple[int, ...] = (32, 48, 80, 112),
    ) -> None:
        super().__init__()
        self.stem = make_stem(input_size, channels[0])
        self.stages = residual_stages(channels)
        self.head = nn.Linear(channels[-1] * 16, 2 * len(units))

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1], to [B, 16 x width]."""
        return F.adaptive_avg_pool2d(self.stages(F.silu(self.stem(images))), 4).flatten(1)


class TinyUnitsJudge(_UnitReader):
    """The judge: patches and large depth-wise kernels."""

    @register_to_config
    def __init__(
        self,
        units: tuple[str, ...],
        input_size: int = 128,
        channels: tuple[int, ...] = (32, 64, 96, 128),
        blocks: tuple[int, ...] = (1, 2, 3, 2),
    ) -> None:
        super().__init__()
        self.body = patch_stages(channels, blocks)
        self.norm = nn.LayerNorm(channels[-1])
        self.head = nn.Linear(channels[-1] * 16, 2 * len(units))

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1], to [B, 16 x width of the last stage]."""
        grid = F.adaptive_avg_pool2d(self.body(images), 4)
        return self.norm(grid.flatten(2).transpose(1, 2)).flatten(1)


_KINDS = {kind.__name__: kind for kind in (TinyUnitsNet, TinyUnitsJudge)}


def load_tiny_units(name_or_path: str | Path) -> nn.Module:
    """A frozen reader of action units: see `_UnitReader.forward`, `units` for their names.

    Args:
        name_or_path: `tiny-units-loss`, `tiny-units-judge`, or a folder with `config.json`.

    Raises:
        UserError: the asset is missing, or what lies there is no such reader.
    """
    return load_tiny(name_or_path, _KINDS, "a reader of action units")
