"""Who is it, read by a small network that this project trained on its own synthetic people."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sfe_core.faces.recognition.reading import fit_to_input
from sfe_core.faces.recognition.tiny_networks import load_tiny, make_stem, residual_stages


class TinyIdentityNet(ModelMixin, ConfigMixin):
    """A residual network to a point on the unit sphere: near for one person, far for others."""

    @register_to_config
    def __init__(
        self,
        input_size: int = 128,
        channels: tuple[int, ...] = (32, 64, 112, 176),
        width: int = 128,
    ) -> None:
        super().__init__()
        self.stem = make_stem(input_size, channels[0])
        self.stages = residual_stages(channels)
        self.head = nn.Linear(channels[-1] * 16, width)

    @property
    def input_px(self) -> int:
        """Side of the pictures that the network sees."""
        return int(self.config.input_size)

    @property
    def width(self) -> int:
        """D, of a vector."""
        return int(self.config.width)

    def forward(self, images: Tensor) -> Tensor:
        """Read faces of any size; differentiable, for a loss that keeps a person.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1], cropped as `preprocess` crops.

        Returns:
            [B, D] of length 1.
        """
        hidden = self.stages(F.silu(self.stem(fit_to_input(images, self.input_px))))
        return F.normalize(self.head(F.adaptive_avg_pool2d(hidden, 4).flatten(1)), dim=1)


def load_identity_net(name_or_path: str | Path = "tiny-identity") -> TinyIdentityNet:
    """The frozen network: an asset's name, or a folder with `config.json`.

    Raises:
        UserError: the asset is missing, or what lies there is no such network.
    """
    kinds = {TinyIdentityNet.__name__: TinyIdentityNet}
    network = load_tiny(name_or_path, kinds, "an identity network")
    assert isinstance(network, TinyIdentityNet)
    return network
