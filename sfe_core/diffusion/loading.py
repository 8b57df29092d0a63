"""Loading the Stable Diffusion that is fine-tuned, part by part, from a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from sfe_core.errors import UserError

_PARTS = {
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
    "text_encoder": CLIPTextModel,
    "tokenizer": CLIPTokenizer,
    "scheduler": DDPMScheduler,
}


@dataclass
class BaseModels:
    """The parts of a Stable Diffusion 1.x pipeline.

    `scheduler` is a DDPMScheduler over the base's own noise schedule, whatever sampler the folder
    names: training needs only its betas and prediction type.
    """

    folder: Path
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDPMScheduler

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, each way (8 for Stable Diffusion)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_text(self, captions: list[str]) -> torch.Tensor:
        """Last hidden states [B, L, D] of the text encoder, as StableDiffusionPipeline feeds them.

        Captions are padded or cut to the tokenizer's length L; "" is the unconditional embedding.
        """
        tokens = self.tokenizer(
            captions,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        device = self.text_encoder.device
        mask = None
        if getattr(self.text_encoder.config, "use_attention_mask", False):
            mask = tokens.attention_mask.to(device)
        return self.text_encoder(tokens.input_ids.to(device), attention_mask=mask)[0]


def load_base(folder: Path) -> BaseModels:
    """Load every part of the diffusers pipeline in `folder`; nothing is downloaded.

    All networks come in float32, in evaluation mode.

    Raises:
        UserError: the folder is not a pipeline, or a part of it is missing or unreadable.
    """
    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise UserError(
            f"model.base: {folder}",
            "is not a diffusers pipeline (no model_index.json)",
            "give the folder of a Stable Diffusion 1.5 pipeline, or see `sfe assets list`",
        )
    loaded = {}
    for name, kind in _PARTS.items():
        dtype = {"torch_dtype": torch.float32} if issubclass(kind, torch.nn.Module) else {}
        try:
            loaded[name] = kind.from_pretrained(folder / name, local_files_only=True, **dtype)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"model.base: {folder / name}",
                f"cannot be loaded as {kind.__name__} ({error})",
                "restore this part from the original model; `sfe assets verify` checks files",
            ) from error
    for name in ("vae", "unet", "text_encoder"):
        loaded[name].eval()
    return BaseModels(folder=folder, **loaded)
