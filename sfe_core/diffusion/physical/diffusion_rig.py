"""DiffusionRig as one network: the UNet and the encoder of the person's look (Ding et al. 2023).

https://arxiv.org/abs/2304.06711. It predicts the noise in a photo whose face is given by three maps
rendered in the photo's frame; what they do not show comes from a code of the photo itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from torch.nn import functional

from sfe_core.diffusion.physical.appearance_encoder import AppearanceEncoder, EncoderKind
from sfe_core.diffusion.physical.rig_unet import BLOCKS_PER_LEVEL, MULTIPLIERS, RigUNet
from sfe_core.errors import UserError

Prediction = Literal["epsilon", "v_prediction"]
# Order in which the maps follow the noisy picture in the UNet's input.
BUFFERS = ("shaded", "normals", "albedo")


class DiffusionRig(ModelMixin, ConfigMixin):
    """The UNet and the encoder, with the published names of tensors.

    Args:
        image_size: pixels each way; with `attention_sizes` it decides which levels attend.
        base_width: channels that the multipliers multiply; also the width of the time's sinusoid.
        multipliers: channels by level over `base_width`; None for the published ones of the size.
        attention_sizes: sizes of feature maps, in pixels, on which blocks attend.
        blocks_per_level: see `RigUNet`.
        heads: see `RigUNet`.
        dropout: see `ModulatedBlock`.
        encoder_kind: which ResNet.
        encoder_width: channels of its first level.
        latent_width: numbers of its code.
        extra_width: numbers of the global code beside the encoder's: 0 as published; the second
            version of DiffusionRig-Emo adds FLAME's shape (100) and shape with texture (150).
        seen_px: the encoder looks at pictures shrunk to so many pixels each way and enlarged again,
            so that less of their light and expression gets into the code; None, as published: all.
        prediction: what it was trained to say: the noise, as published, or v (see
            `diffusion.prediction`); it computes the same.

    Raises:
        UserError: the size has no published multipliers and none are given, or the widths cannot
            be built.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        image_size: int = 256,
        base_width: int = 128,
        multipliers: Sequence[float] | None = None,
        attention_sizes: Sequence[int] = (16,),
        blocks_per_level: int = BLOCKS_PER_LEVEL,
        heads: int = 1,
        dropout: float = 0.1,
        encoder_kind: EncoderKind = "resnet18",
        encoder_width: int = 64,
        latent_width: int = 64,
        extra_width: int = 0,
        seen_px: int | None = None,
        prediction: Prediction = "epsilon",
    ) -> None:
        super().__init__()
        factors = multipliers if multipliers is not None else _published(image_size)
        sizes = [image_size / 2**level for level in range(len(factors))]
        self.denoisingUNet = RigUNet(
            widths=[round(factor * base_width) for factor in factors],
            attentive_levels=[level for level, size in enumerate(sizes) if size in attention_sizes],
            base_width=base_width,
            code_width=latent_width + extra_width,
            blocks_per_level=blocks_per_level,
            heads=heads,
            dropout=dropout,
        )
        self.encoder = AppearanceEncoder(encoder_kind, latent_width, encoder_width)

    def forward(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        buffers: Tensor,
        code: Tensor | None = None,
        pictures: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> Tensor:
        """Predicted noise, or v; the encoder runs here, so that wrappers see all gradients at once.

        Args:
            noisy: [B, 3, H, W].
            timesteps: [B], 0 to 999.
            buffers: [B, 9, H, W] in the order of `BUFFERS`: shaded face and albedo in about [0, 1],
                normals in [-1, 1], all 0 off the face.
            code: [B, latent_width + extra_width], from `encode`; or
            pictures: [B, 3, H, W] in [-1, 1], to be encoded.
            extra: [B, extra_width], beside `pictures` alone.

        Returns:
            [B, 3, H, W].

        Raises:
            ValueError: neither or both of `code` and `pictures` are given.
        """
        if (code is None) == (pictures is None):
            raise ValueError("give either a code or the pictures to encode")
        if pictures is not None:
            code = self.encode(pictures, extra)
        assert code is not None
        return self.denoisingUNet(torch.cat([noisy, buffers], dim=1), timesteps, code)

    def encode(self, pictures: Tensor, extra: Tensor | None = None) -> Tensor:
        """The global code of photos.

        Args:
            pictures: [B, 3, H, W] in [-1, 1].
            extra: [B, extra_width]; None where `extra_width` is 0.

        Returns:
            [B, latent_width + extra_width].

        Raises:
            ValueError: `extra` has another width than the network's.
        """
        if (seen := self.config["seen_px"]) is not None:
            size = pictures.shape[-2:]
            small = functional.interpolate(pictures, (seen, seen), mode="area")
            pictures = functional.interpolate(small, size, mode="bilinear")
        code = self.encoder(pictures)
        given = 0 if extra is None else extra.shape[1]
        if given != self.config["extra_width"]:
            wanted = self.config["extra_width"]
            raise ValueError(f"extra code of {given} numbers, where the network takes {wanted}")
        return code if extra is None else torch.cat([code, extra.to(code.dtype)], dim=1)

    def freeze_encoder(self) -> None:
        """Let only the UNet learn from here on; the encoder's batch statistics stay, too."""
        self.encoder.freeze()


def _published(image_size: int) -> tuple[float, ...]:
    try:
        return MULTIPLIERS[image_size]
    except KeyError:
        known = ", ".join(str(size) for size in MULTIPLIERS)
        raise UserError(
            "physical network",
            f"{image_size} px has no published widths",
            f"take {known} px, or give multipliers",
        ) from None
