"""Loading the Stable Diffusion that is fine-tuned, part by part, from a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import BatchEncoding, CLIPTextModel, CLIPTokenizer

from sfe_core.diffusion.handed_over import BASE_REMEDY, require_pipeline
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
    names: training needs only its betas and prediction type. `text_encoder` is None and the VAE
    has no encoder where they were left out.
    """

    folder: Path
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel | None
    tokenizer: CLIPTokenizer
    scheduler: DDPMScheduler

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, each way (8 for Stable Diffusion)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_text(self, captions: list[str]) -> torch.Tensor:
        """Last hidden states [B, L, D] of the text encoder, on its device; see `text_states`.

        Where it was left out, it is loaded on the CPU for the length of this call.
        """
        network = self.text_encoder or load_part(self.folder, "text_encoder")
        return text_states(self.tokenizer, network, captions)


def text_states(
    tokenizer: CLIPTokenizer, network: CLIPTextModel, captions: list[str]
) -> torch.Tensor:
    """Last hidden states [B, L, D] of a text encoder, as StableDiffusionPipeline feeds them.

    Captions are padded or cut to the tokenizer's length L; "" is the unconditional embedding.
    """
    tokens = tokenize(tokenizer, captions)
    mask = None
    if getattr(network.config, "use_attention_mask", False):
        mask = tokens.attention_mask.to(network.device)
    return network(tokens.input_ids.to(network.device), attention_mask=mask)[0]


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> BatchEncoding:
    """`input_ids` [B, L] and `attention_mask` of captions, padded or cut to the tokenizer's L."""
    return tokenizer(
        captions,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )


def load_base(folder: Path, encoders: bool = True) -> BaseModels:
    """Load every part of the diffusers pipeline in `folder`; nothing is downloaded.

    All networks come in float32, in evaluation mode.

    Args:
        folder: of the pipeline.
        encoders: False leaves out the text encoder and the VAE's encoder, which training does not
            need once photos and captions are encoded.

    Raises:
        UserError: the folder is not a pipeline, or a part of it is missing or unreadable.
    """
    folder = Path(folder)
    require_pipeline(folder, "model.base", BASE_REMEDY)
    wanted = [name for name in _PARTS if encoders or name != "text_encoder"]
    loaded: dict[str, Any] = {name: load_part(folder, name) for name in wanted}
    if not encoders:
        loaded["text_encoder"] = None
        loaded["vae"].encoder = loaded["vae"].quant_conv = None
    return BaseModels(folder=folder, **loaded)


def load_part(folder: Path, name: str) -> Any:
    """One part of a pipeline folder: vae, unet, text_encoder, tokenizer or scheduler.

    Networks come in float32, in evaluation mode.

    Raises:
        UserError: it is missing or unreadable.
    """
    kind = _PARTS[name]
    network = issubclass(kind, torch.nn.Module)
    dtype = {"torch_dtype": torch.float32} if network else {}
    try:
        part = kind.from_pretrained(folder / name, local_files_only=True, **dtype)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"model.base: {folder / name}",
            f"cannot be loaded as {kind.__name__} ({error})",
            "restore this part from the original model; `sfe assets verify` checks files",
        ) from error
    return part.eval() if network else part
