"""The networks that turn photos and captions into what the UNet sees; needed only to encode."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.clip_text import tokenize, with_new_tokens
from sfe_core.diffusion.families.contract import BaseConfigs, Family, Texts
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.loading import load_autoencoder, load_parts, read_configs
from sfe_core.diffusion.unpacking import base_folder
from sfe_core.files import sha256_file, sha256_json

# In float32 the VAE's encoder takes 0.7 GB for a photo of 512 px: sixteen at once would not fit
# into 11 GB (counted, tests/benchmarks/results/personal_memory.md).
_PIXELS_AT_ONCE = 2**20


def photos_at_once(side: int) -> int:
    """How many photos of `side` pixels the VAE encodes in one pass, at least one.

    >>> photos_at_once(512), photos_at_once(1024)
    (4, 1)
    """
    return max(1, _PIXELS_AT_ONCE // side**2)


class Encoders:
    """VAE encoder and text encoders of a pipeline folder, in float32, each loaded at first use.

    Args:
        folder: of a diffusers pipeline, or one file in the original layout.
        device: where they compute and their results lie.
        tokens: captions only become token ids, for text encoders that are trained.
        new_tokens: words that the tokenizers are to know besides, see `with_new_tokens`.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device | str = "cpu",
        tokens: bool = False,
        new_tokens: Sequence[str] = (),
    ) -> None:
        self._new_tokens = tuple(new_tokens)
        self.folder = base_folder(folder)
        self.device, self.tokens = torch.device(device), tokens
        self._vae: AutoencoderKL | None = None
        self._text: list[PreTrainedModel] = []

    @property
    def loaded(self) -> bool:
        """Whether any of them takes memory."""
        return self._vae is not None or bool(self._text)

    @torch.no_grad()
    def photos(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, C, h, w] of the VAE's posterior, before its scaling.

        Args:
            images: [B, 3, R, R] in [-1, 1].
        """
        if self._vae is None:
            self._vae = load_autoencoder(self.folder).to(self.device).requires_grad_(False)
            self._vae.decoder = self._vae.post_quant_conv = None
        parts = images.split(photos_at_once(images.shape[-1]))
        posteriors = [self._vae.encode(part.to(self.device)).latent_dist for part in parts]
        return (
            torch.cat([one.mean for one in posteriors]),
            torch.cat([one.std for one in posteriors]),
        )

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> Texts:
        """Captions as the family feeds them to the UNet; ids [B, N * L] if `tokens`."""
        if self.tokens:
            return Texts(tokenize(self._tokenizers, captions).to(self.device))
        if not self._text:
            networks = load_parts(self.folder, self.family.text_encoders).values()
            self._text = [one.to(self.device).requires_grad_(False) for one in networks]
        return self.family.encode(self._tokenizers, self._text, captions)

    def no_text(self) -> Texts:
        """What stands where there is no caption, of one text; see `Family.unconditional`."""
        return self.unconditional(self.texts([""]))

    def unconditional(self, empty: Texts) -> Texts:
        """The same, of the empty caption encoded."""
        return empty if self.tokens else self.family.unconditional(empty, self._configs.index)

    @property
    def pooled_width(self) -> int:
        """Numbers of a caption as one vector; 0 in a family without."""
        return self.family.pooled_width(self._configs)

    @cached_property
    def family(self) -> Family:
        """The base model's."""
        return family_of(self._configs)

    @cached_property
    def _configs(self) -> BaseConfigs:
        return read_configs(self.folder)

    @cached_property
    def _tokenizers(self) -> list[CLIPTokenizer]:
        loaded = load_parts(self.folder, self.family.tokenizers)
        return with_new_tokens(list(loaded.values()), self._new_tokens)

    def release(self) -> None:
        """Give their memory back; a later use loads them again."""
        self._vae, self._text = None, []
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def photo_hash(self) -> str:
        """Hex SHA-256 over what decides a photo's latents."""
        return _hash_files(self.folder, ("vae",))

    def text_hash(self) -> str:
        """Hex SHA-256 over what decides a caption's embedding."""
        encoders = () if self.tokens else self.family.text_encoders
        files = _hash_files(self.folder, (*encoders, *self.family.tokenizers))
        return sha256_json([files, self._new_tokens]) if self._new_tokens else files


def _hash_files(folder: Path, parts: Sequence[str]) -> str:
    files = sorted(path for part in parts for path in (folder / part).glob("*") if path.is_file())
    return sha256_json([[path.name, sha256_file(path)] for path in files])
