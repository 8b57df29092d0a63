"""What a family of base models owes the rest: its parts, how it reads a text, what its UNet takes.

A family is one file of this folder with a `FAMILY`: an object with the attributes and methods of
`Family`, of no base class. Nothing outside this folder asks which family a base is of. What is the
same for all of them (loading, hashing, comparing weights) reads `parts` and stands in `loading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.original import OriginalPart
from sfe_core.diffusion.pipeline import GuidedPipeline

# A class that loads a part of a base model from its folder.
Part = type[ModelMixin] | type[PreTrainedModel] | type[CLIPTokenizer] | type[SchedulerMixin]


@dataclass(frozen=True)
class BaseConfigs:
    """What a base model's own files say of it, its weights left alone.

    Attributes:
        place: its folder, or the one file that holds it.
        index: model_index.json.
        parts: name of a part to its configuration; without those that have none (tokenizers).
    """

    place: Path
    index: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        """Whether the index names all of these parts."""
        return all(self.index.get(name) not in (None, [None, None]) for name in names)

    def of(self, part: str) -> Mapping[str, Any]:
        """The configuration of a part; empty where it is not there."""
        return self.parts.get(part, {})


@dataclass(frozen=True)
class Texts:
    """What a UNet is told of B texts.

    Attributes:
        states: [B, L, D] hidden states; or token ids [B, N * L] of N tokenizers one behind the
            other, where the text encoders train.
        pooled: [B, P], each text as one vector; None in a family without.
    """

    states: Tensor
    pooled: Tensor | None = None

    def to(self, device: torch.device) -> Texts:
        """The same on a device."""
        return Texts(
            self.states.to(device), None if self.pooled is None else self.pooled.to(device)
        )

    def rows(self, rows: slice) -> Texts:
        """Some of the texts."""
        return Texts(self.states[rows], None if self.pooled is None else self.pooled[rows])

    def repeated(self, count: int) -> Texts:
        """One text as `count` of them."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1).contiguous()
        return Texts(self.states.expand(count, -1, -1).contiguous(), pooled)


@dataclass(frozen=True)
class Publishing:
    """What other programs know a family's single files and LoRAs by.

    Attributes:
        architecture: by the Model Metadata Standard (https://github.com/Stability-AI/ModelSpec).
        kohya_base: `ss_base_model_version` of kohya's trainer.
        unet_widths, latent_scale: by which they tell a single file of the family.
        comfy_reads_marks: whether ComfyUI reads in a single file what it predicts.
        has_ldm_config: whether A1111 and Forge build it as a .yaml beside its single file says.
        has_stableface_layout: whether the StableFace project's scripts know it.
        tags: of a model card.
    """

    architecture: str
    kohya_base: str
    unet_widths: tuple[int, ...]
    latent_scale: float
    comfy_reads_marks: bool
    has_ldm_config: bool
    has_stableface_layout: bool
    tags: tuple[str, ...]


class Family(Protocol):
    """One kind of base model.

    Attributes:
        name: as it is told.
        pipeline: the class of diffusers that draws with it.
        guided_pipeline: the same, with the guidance encoders.
        publishing: how other programs know it.
        text_encoders, tokenizers: their parts' names, in the order in which a text passes them.
        paddings: what each tokenizer fills a text up with.
        schedule_fields: of the scheduler's configuration, those that bear on training.
        has_time_ids: whether the UNet is told the size and the crop of a picture.
        tiny_decoders: assets that decode its latents in the VAE's place.
        original: name of a part to how it lies in a single file of the original layout; empty where
            there is no such layout.
    """

    name: str
    pipeline: type[DiffusionPipeline]
    guided_pipeline: type[GuidedPipeline]
    publishing: Publishing
    text_encoders: tuple[str, ...]
    tokenizers: tuple[str, ...]
    paddings: tuple[str, ...]
    schedule_fields: tuple[str, ...]
    has_time_ids: bool
    tiny_decoders: tuple[str, ...]
    original: Mapping[str, OriginalPart]

    def parts(self, base: BaseConfigs) -> dict[str, Part]:
        """Folder of a part to the class that loads it; `unet` and `scheduler` are always there."""
        ...

    def recognises(self, base: BaseConfigs) -> bool:
        """Whether a base is of this family, told by its configurations alone."""
        ...

    def check(self, base: BaseConfigs, where: str) -> None:
        """Refuse a base of this family whose parts do not go together.

        Args:
            base: recognised before.
            where: the field or option it came from.

        Raises:
            UserError: says what was found and what to do.
        """
        ...

    def encode(
        self,
        tokenizers: Sequence[CLIPTokenizer],
        encoders: Sequence[PreTrainedModel],
        captions: Sequence[str],
    ) -> Texts:
        """Captions as the family's pipeline feeds them to the UNet, on the encoders' device.

        Each is padded or cut to a tokenizer's length; "" is the unconditional embedding.
        """
        ...

    def encode_tokens(
        self, encoders: Sequence[PreTrainedModel], tokens: Tensor, mask: Tensor | None = None
    ) -> Texts:
        """The same of token ids [B, N * L] (see `clip_text.tokenize`), with their gradient.

        Args:
            mask: [B, N * L], 0 where there is padding, for encoders that are to pass it over.
        """
        ...

    def unconditional(self, empty: Texts, index: Mapping[str, Any]) -> Texts:
        """What its pipeline takes for no text at all.

        Args:
            empty: the empty caption, encoded.
            index: model_index.json of the pipeline.
        """
        ...

    def pooled_width(self, base: BaseConfigs) -> int:
        """Numbers of a text as one vector; 0 in a family without."""
        ...

    def kohya_lora(
        self, tensors: Mapping[str, Tensor], unet: UNet2DConditionModel
    ) -> dict[str, Tensor]:
        """A LoRA under the names of kohya's trainer.

        Args:
            tensors: `unet.<layer>.lora_A.weight` and so on, PEFT's names.
            unet: of the base model.
        """
        ...

    def conditions(self, texts: Texts, time_ids: Tensor | None = None) -> dict[str, Any]:
        """What the UNet's `forward` takes beside noisy latents and timesteps, by argument.

        Args:
            texts: of B texts, encoded.
            time_ids: [B, 6] of `added_conditions`; None in a family without.
        """
        ...

    def added_conditions(self, texts: Texts, time_ids: Tensor | None) -> dict[str, Tensor] | None:
        """`added_cond_kwargs` of the UNet's `forward`, part of `conditions`; or None.

        Args:
            time_ids: [B, 6] pixels: original height and width, top and left of the crop, height
                and width of the target.
        """
        ...
