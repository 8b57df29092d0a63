"""What a step sees of a few images, and how it is kept until then: as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sfe_core.corpus.dataset import FaceBatch, FaceDataset
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders


@dataclass
class Batch:
    """What a step sees of B images.

    Pictures may be kept as bytes, and depth as one channel of half precision, see `pack`; `to`
    makes float32 of them where they are needed, so that the bytes are what is read and copied.

    Attributes:
        latent_mean, latent_std: [B, C, h, w] float32, the VAE's posterior before its scaling
            factor; a step samples from it, as Stable Diffusion was trained.
        text: [B, L, D], the captions' embeddings; or their token ids [B, L], where the text
            encoder is trained.
        maps: name to [B, 3, R, R] in [0, 1].
        images: [B, 3, R, R] in [-1, 1]; None where no term of the loss looks at them.
        areas: [B, 2, 3] float32, which part of each image shows its photo, see
            `corpus.photo_area`; None: all of it.
        pooled: [B, P], each caption as one vector; None in a family without.
        time_ids: [B, 6], the size and the crop of each picture, see `time_ids_of`; likewise.
    """

    latent_mean: Tensor
    latent_std: Tensor
    text: Tensor
    maps: dict[str, Tensor]
    images: Tensor | None
    areas: Tensor | None = None
    pooled: Tensor | None = None
    time_ids: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """All of it, in float32, on a device."""
        moved = self._each(lambda part: part.to(device, non_blocking=True))
        return Batch(
            moved.latent_mean.float(),
            moved.latent_std.float(),
            moved.text.float() if moved.text.is_floating_point() else moved.text.long(),
            maps={name: unpack(part) for name, part in moved.maps.items()},
            images=None if moved.images is None else signed_image(moved.images),
            areas=moved.areas,
            pooled=None if moved.pooled is None else moved.pooled.float(),
            time_ids=moved.time_ids,
        )

    def pin_memory(self) -> Batch:
        """All of it in page-locked memory, from which GPUs copy while they compute."""
        return self._each(lambda part: part.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(part: Tensor | None) -> Tensor | None:
            return None if part is None else change(part)

        return Batch(
            change(self.latent_mean),
            change(self.latent_std),
            change(self.text),
            maps={name: change(part) for name, part in self.maps.items()},
            images=changed(self.images),
            areas=changed(self.areas),
            pooled=changed(self.pooled),
            time_ids=changed(self.time_ids),
        )


def encode(raw: FaceBatch, encoders: Encoders) -> Batch:
    """Encode images by the VAE and captions by the text encoders, on their device."""
    mean, std = encoders.photos(raw["image"])
    text = encoders.texts(raw["caption"])
    image = raw["image"].to(mean.device)
    return Batch(mean, std, text.states, raw["maps"], image, raw["area"], text.pooled)


def time_ids_of(dataset: FaceDataset, view: View) -> Tensor:
    """What a family with time ids is told of a picture: [6] float32, pixels.

    Height and width of the original, top and left of the crop (see `FaceDataset.size_and_crop`),
    height and width of the target.
    """
    target = torch.full((2,), float(dataset.resolution))
    return torch.cat([dataset.size_and_crop(view), target])


def pack_text(text: Tensor) -> Tensor:
    """Embeddings in half precision, token ids in 32 bits."""
    return text.half() if text.is_floating_point() else text.int()


def pack_image(image: Tensor) -> Tensor:
    """[..., 3, R, R] in [-1, 1], as read from 8 bits, back to these: uint8."""
    return pack_map((image + 1.0) / 2.0)


def pack_maps(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Maps [..., 3, R, R] in [0, 1] kept small: depth as one channel of half floats, else uint8."""
    return {
        name: part[..., :1, :, :].half() if name == "depth" else pack_map(part)
        for name, part in maps.items()
    }


def pack_map(part: Tensor) -> Tensor:
    """[...] in [0, 1], as read from 8 bits, back to these: uint8."""
    return (part * 255.0).round().to(torch.uint8)


def unpack(part: Tensor) -> Tensor:
    """A packed map [B, 1 or 3, R, R] to float32 [B, 3, R, R] in [0, 1]; one in floats stays."""
    values = part.float() / 255.0 if part.dtype == torch.uint8 else part.float()
    return values.expand(-1, 3, -1, -1)


def signed_image(images: Tensor) -> Tensor:
    """A packed image [B, 3, R, R] to float32 in [-1, 1]; one in floats stays."""
    # The reader's own arithmetic, so that what was packed comes back bit for bit.
    return unpack(images) * 2.0 - 1.0 if images.dtype == torch.uint8 else images.float()
