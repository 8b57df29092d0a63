"""The two networks that turn photos and captions into what the UNet sees; needed only to encode."""

from __future__ import annotations

import gc
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from sfe_core.diffusion.loading import load_part, text_states, tokenize
from sfe_core.files import sha256_file, sha256_json


class Encoders:
    """VAE encoder and text encoder of a pipeline folder, in float32, each loaded at first use.

    Args:
        folder: of a diffusers pipeline.
        device: where they compute and their results lie.
        tokens: captions only become token ids, for a text encoder that is trained.
    """

    def __init__(
        self, folder: Path, device: torch.device | str = "cpu", tokens: bool = False
    ) -> None:
        self.folder, self.device, self.tokens = Path(folder), torch.device(device), tokens
        self._vae: AutoencoderKL | None = None
        self._text: CLIPTextModel | None = None

    @property
    def loaded(self) -> bool:
        """Whether any of them takes memory."""
        return self._vae is not None or self._text is not None

    @torch.no_grad()
    def photos(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, C, h, w] of the VAE's posterior, before its scaling.

        Args:
            images: [B, 3, R, R] in [-1, 1].
        """
        if self._vae is None:
            self._vae = load_part(self.folder, "vae").to(self.device).requires_grad_(False)
            self._vae.decoder = self._vae.post_quant_conv = None
        posterior = self._vae.encode(images.to(self.device)).latent_dist
        return posterior.mean, posterior.std

    @torch.no_grad()
    def texts(self, captions: list[str]) -> Tensor:
        """Last hidden states [B, L, D] of the text encoder (see `text_states`), or ids [B, L]."""
        if self.tokens:
            return tokenize(self._tokenizer, captions).input_ids.to(self.device)
        if self._text is None:
            network = load_part(self.folder, "text_encoder")
            self._text = network.to(self.device).requires_grad_(False)
        return text_states(self._tokenizer, self._text, captions)

    @cached_property
    def _tokenizer(self) -> CLIPTokenizer:
        return load_part(self.folder, "tokenizer")

    def release(self) -> None:
        """Give their memory back; a later use loads them again."""
        self._vae = self._text = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def photo_hash(self) -> str:
        """Hex SHA-256 over what decides a photo's latents."""
        return _hash_files(self.folder, ("vae",))

    def text_hash(self) -> str:
        """Hex SHA-256 over what decides a caption's embedding."""
        parts = ("tokenizer",) if self.tokens else ("text_encoder", "tokenizer")
        return _hash_files(self.folder, parts)


def _hash_files(folder: Path, parts: tuple[str, ...]) -> str:
    files = sorted(path for part in parts for path in (folder / part).iterdir() if path.is_file())
    return sha256_json([[path.name, sha256_file(path)] for path in files])
