"""What the base learns from: the latents of faces, their captions, and features to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from sfe_core.files import atomic_path
from sfe_core.synthesis.tiny.autoencoder import encode_all
from sfe_core.synthesis.tiny.faces import Faces


@dataclass(frozen=True)
class Examples:
    """A set of faces as the base sees it.

    Attributes:
        latents: [N, 2, C, h, w] float16, scaled; the face and its mirror image.
        emotion: [N] int, index into `EMOTIONS`.
        named, unnamed: [N] captions with and without the emotion.
        features: [N, D] float32 of the faces after encoding and decoding: what the autoencoder
            costs is not the base's to answer for. D is 0 where they were not asked for.
    """

    latents: np.ndarray
    emotion: np.ndarray
    named: np.ndarray
    unnamed: np.ndarray
    features: np.ndarray

    def rows(self, chosen: np.ndarray) -> Examples:
        """Those of these row numbers."""
        return Examples(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


def make_examples(
    faces: Faces, vae: AutoencoderKL, target: Path, perceptual: nn.Module | None = None
) -> None:
    """Encode a set of faces and keep it at `target`, a .npz file.

    Args:
        faces: what is encoded.
        vae: encodes, on its device.
        target: the file.
        perceptual: network whose features are kept, too; see `perceptual_features`.
    """
    scale = vae.config.scaling_factor
    pair = [encode_all(vae, faces.images), encode_all(vae, faces.images[:, :, ::-1])]
    latents = torch.stack(pair, 1) * scale
    features = np.zeros((len(faces.images), 0), np.float32)
    if perceptual is not None:
        with torch.no_grad():
            parts = [
                perceptual_features(perceptual, vae.decode(some.to(vae.device) / scale).sample)
                for some in latents[:, 0].split(64)
            ]
        features = torch.cat(parts).cpu().numpy()
    with atomic_path(target) as partial:
        np.savez(
            partial,
            latents=latents.half().numpy(),
            emotion=faces.emotion,
            named=faces.named,
            unnamed=faces.unnamed,
            features=features,
        )


def read_examples(path: Path) -> Examples:
    """A set as `make_examples` kept it."""
    with np.load(path, allow_pickle=False) as stored:
        return Examples(**{name: stored[name] for name in Examples.__dataclass_fields__})


@torch.no_grad()
def perceptual_features(network: Any, images: Tensor) -> Tensor:
    """Mean activations of all layers of an (ST-)LPIPS backbone: [B, D] float32.

    Args:
        network: as in `losses.perceptual.PerceptualDistance.network`.
        images: [B, 3, S, S] in [-1, 1].
    """
    layers = network.net(network.scaling_layer(images.float().clamp(-1, 1)))
    return torch.cat([layer.float().mean((2, 3)) for layer in layers], 1)


def kernel_distance(drawn: Tensor, real: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with KID's kernel, of features by their spread.

    k(x, y) = (x.y / D + 1)^3 (Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401, sec. 4), on
    features whose mean and spread over the real pictures are 0 and 1; those that hardly vary there
    stay small.

    Args:
        drawn: [N, D], N >= 2.
        real: [M, D], M >= 2.
    """
    mean, spread = real.double().mean(0), real.double().std(0)
    # Activations that hardly any real picture has: one drawn picture that has some would decide.
    spread = spread.clamp(min=0.01 * spread.max())
    x, y = ((values.double() - mean) / spread for values in (drawn, real))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def apart(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(apart(x) + apart(y) - 2 * kernel(x, y).mean())
