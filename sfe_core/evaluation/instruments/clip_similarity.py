"""Similarity of a picture and its caption in CLIP's space (Radford et al. 2021).

The cosine that CLIPScore rescales (Hessel et al. 2021, eq. 1: 2.5 max(cos, 0)).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize

from sfe_core.assets import locate
from sfe_core.errors import RunError

if TYPE_CHECKING:  # takes a second to import
    from transformers import CLIPModel, PreTrainedTokenizerBase


class ClipSimilarity(nn.Module):
    """[B, 3, H, W] in [-1, 1] and B captions to cosines [B]; nan where a caption is None."""

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: PreTrainedTokenizerBase,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """`mean`, `std`: of the model's pictures in [0, 1], three each."""
        from transformers import CLIPTextConfig, CLIPVisionConfig

        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.mean, self.std = list(mean), list(std)
        vision, text = model.config.vision_config, model.config.text_config
        # A model that is built has both, whatever its configuration was built from.
        assert isinstance(vision, CLIPVisionConfig) and isinstance(text, CLIPTextConfig)
        assert isinstance(vision.image_size, int)  # CLIP looks at squares
        self.side, self.window = vision.image_size, text.max_position_embeddings
        self.resize = f"brought to {self.side} px, bicubic, antialiased"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, captions: Sequence[str | None]) -> Tensor:
        """Captions beyond the text encoder's window are cut, as CLIP is used everywhere."""
        unit = (images + 1.0) / 2.0
        size = (self.side, self.side)
        if unit.shape[-2:] != size:
            unit = F.interpolate(unit, size, mode="bicubic", antialias=True, align_corners=False)
        pixels = normalize(unit.clamp(0.0, 1.0), self.mean, self.std)
        texts = self.tokenizer(
            [caption or "" for caption in captions],
            padding=True,
            truncation=True,
            max_length=self.window,
            return_tensors="pt",
        ).to(images.device)
        found = self.model(
            input_ids=texts.input_ids, attention_mask=texts.attention_mask, pixel_values=pixels
        )
        cosines = F.cosine_similarity(found.image_embeds, found.text_embeds, dim=-1)
        there = torch.tensor([caption is not None for caption in captions], device=cosines.device)
        return torch.where(there, cosines, torch.nan)


def load_clip(name_or_path: str | Path) -> ClipSimilarity:
    """A CLIP of transformers' layout, by an asset's name or its folder; nothing is downloaded.

    Raises:
        UserError: the asset is missing.
        RunError: the folder does not hold a CLIP.
    """
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    folder = locate(name_or_path)
    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(folder, f"is not a CLIP ({error})", "`sfe assets verify clip`") from error
    return ClipSimilarity(model, tokenizer, processor.image_mean, processor.image_std)
