"""What drawn pictures look like beside photographs, done to photographs.

Readers learn from such views and are scored on them: what they read later are pictures that a
diffusion model drew, and those are softer, noisier and a little wrong everywhere.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from sfe_core.files import atomic_path
from sfe_core.synthesis.tiny.autoencoder import to_pixels
from sfe_core.synthesis.tiny.faces import Faces

STILL_CHANCE = 0.25  # of a view that is neither turned nor moved, and so not resampled
GREY = (0.299, 0.587, 0.114)  # Rec. 601 luma


def blurred(images: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur of images [B, 3, H, W], each with its own sigma [B], pixels."""
    reach = max(1, math.ceil(3 * float(sigmas.max())))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigmas.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    side = F.pad(images, (reach,) * 4, mode="reflect").flatten(0, 1)[None]
    groups = side.shape[1]
    across = F.conv2d(side, kernel[:, None, None, :], groups=groups)
    return F.conv2d(across, kernel[:, None, :, None], groups=groups)[0].unflatten(0, (-1, 3))


def shrunk(images: Tensor, factor: float) -> Tensor:
    """Images [B, 3, H, W] made smaller by `factor` and brought back, bilinear."""
    size = images.shape[-2:]
    small = [max(1, round(side / factor)) for side in size]
    small_images = F.interpolate(images, size=small, mode="bilinear", antialias=True)
    return F.interpolate(small_images, size=size, mode="bilinear")


def compressed(images: Tensor, qualities: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] through JPEG, each at its own quality [B], 1 to 100."""
    stored = [
        _through_jpeg(one, int(quality))
        for one, quality in zip(to_bytes(images), qualities, strict=True)
    ]
    return to_pixels(np.stack(stored))


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def to_bytes(images: Tensor) -> np.ndarray:
    """Images [B, 3, H, W] in [-1, 1] to uint8 [B, H, W, 3]."""
    whole = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return whole.permute(0, 2, 3, 1).cpu().numpy()


def _noisy(images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return images + 0.1 * torch.randn(images.shape, generator=generator)


# What every reader is scored on, for pictures in [-1, 1] of 128 px.
DEGRADATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "as photographed": lambda x: x,
    "blur, sigma 1 px": lambda x: blurred(x, torch.full((len(x),), 1.0)),
    "blur, sigma 2 px": lambda x: blurred(x, torch.full((len(x),), 2.0)),
    "noise, sigma 5 % of the range": _noisy,
    "a third of the size and back": lambda x: shrunk(x, 3.0),
    "JPEG, quality 25": lambda x: compressed(x, torch.full((len(x),), 25)),
}


class RandomViews:
    """Random views of photographs, each picture's drawn for itself, in an order fixed by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Moved, turned, mirrored, relit and made worse.

        Args:
            images: [B, 3, S, S] in [-1, 1].

        Returns:
            Views [B, 3, S, S] in about [-1, 1], and whether each is mirrored [B].
        """
        mirrored = self._chance(len(images), 0.5)
        x = self._relit(self._moved(images, mirrored))
        return self._noised(self._worse(x)), mirrored

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=self._random)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random)

    def _chance(self, count: int, share: float) -> Tensor:
        return torch.rand(count, generator=self._random) < share

    def _moved(self, x: Tensor, mirrored: Tensor) -> Tensor:
        count = len(x)
        moves = ~self._chance(count, STILL_CHANCE)
        angle = torch.deg2rad(self._uniform(count, -8, 8)) * moves
        scale = torch.exp(self._uniform(count, -0.14, 0.14) * moves)
        shift = torch.stack([self._uniform(count, -0.12, 0.12) for _ in range(2)], 1)
        side = 1.0 - 2.0 * mirrored.float()
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        rows = [torch.stack([cosine * side, -sine], 1), torch.stack([sine * side, cosine], 1)]
        linear = torch.stack(rows, 1)
        matrix = torch.cat([linear, (shift * moves[:, None])[:, :, None]], 2)
        grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

    def _relit(self, x: Tensor) -> Tensor:
        count = len(x)

        def each(low: float, high: float) -> Tensor:
            return self._uniform(count, low, high).view(-1, 1, 1, 1)

        grey = torch.tensor(GREY).view(1, 3, 1, 1)
        x = x + (1 - each(0.7, 1.3)) * ((x * grey).sum(1, keepdim=True) - x)
        mean = x.mean((1, 2, 3), keepdim=True)
        x = mean + each(0.7, 1.3) * (x - mean)
        tint = self._uniform(3 * count, -0.06, 0.06).view(-1, 3, 1, 1)
        return (x + each(-0.25, 0.25) + tint).clamp(-1, 1)

    def _worse(self, x: Tensor) -> Tensor:
        """One kind of loss for each of three fifths of the pictures."""
        kind = torch.randint(10, (len(x),), generator=self._random)
        unit = x.shape[-1] / 128
        soft, small, packed = (kind < 3), (kind == 3) | (kind == 4), (kind == 5)
        sigmas = self._uniform(len(x), 0.3, 2.4) * unit
        factor = float(self._uniform(1, 1.5, 4.0))
        qualities = self._uniform(len(x), 20, 80)
        x = x.clone()
        if soft.any():
            x[soft] = blurred(x[soft], sigmas[soft])
        if small.any():
            x[small] = shrunk(x[small], factor)
        if packed.any():
            x[packed] = compressed(x[packed], qualities[packed])
        return x

    def _noised(self, x: Tensor) -> Tensor:
        """Fine noise on half of the pictures, patches of noise on a third."""
        side = x.shape[-1]
        x = x.clone()
        fine, patchy = (self._chance(len(x), share).nonzero()[:, 0] for share in (1 / 2, 1 / 3))
        levels = self._uniform(len(fine), 0, 0.12).view(-1, 1, 1, 1)
        x[fine] += levels * self._normal(len(fine), *x.shape[1:])
        if len(patchy):
            levels = self._uniform(len(patchy), 0, 0.1).view(-1, 1, 1, 1)
            patches = self._normal(len(patchy), 3, side // 8, side // 8)
            x[patchy] += levels * F.interpolate(patches, size=(side, side), mode="bilinear")
        return x


@dataclass(frozen=True)
class DecodedFaces:
    """Faces as an autoencoder gives them back.

    Attributes:
        rows: [M] which of a set's faces.
        images: [M, S, S, 3] uint8.
    """

    rows: np.ndarray
    images: np.ndarray


def decode_faces(
    faces: Faces,
    vae: AutoencoderKL,
    target: Path,
    share: float = 1.0,
    noise: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> DecodedFaces:
    """Encode and decode some faces of a set, or read them where that was done.

    Args:
        faces: the set.
        vae: its latents have mean 0 and variance 1.
        target: the .npz file that keeps them.
        share: of the faces, chosen at random.
        noise: least and most standard deviation of the noise on a face's latents, which stands for
            what a diffusion model leaves wrong in them.
        seed: of the choice and the noise.
    """
    if not target.exists():
        random = torch.Generator().manual_seed(seed)
        count = max(1, round(share * len(faces.images)))
        chosen = torch.randperm(len(faces.images), generator=random)[:count].sort().values.numpy()
        parts = [
            _decode(faces.images[some], vae, noise, random)
            for some in np.array_split(chosen, math.ceil(count / 32))
        ]
        with atomic_path(target) as partial:
            np.savez(partial, rows=chosen, images=np.concatenate(parts))
    with np.load(target, allow_pickle=False) as stored:
        return DecodedFaces(stored["rows"], stored["images"])


@torch.no_grad()
def _decode(
    images: np.ndarray, vae: AutoencoderKL, noise: tuple[float, float], random: torch.Generator
) -> np.ndarray:
    x = to_pixels(images, vae.device)
    low, high = noise
    sigmas = low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=random)
    with torch.autocast(vae.device.type, dtype=torch.bfloat16):
        latents = vae.encode(x).latent_dist.mode().float().cpu()
        latents = latents + sigmas * torch.randn(latents.shape, generator=random)
        decoded = vae.decode(latents.to(vae.device)).sample
    return to_bytes(decoded)
