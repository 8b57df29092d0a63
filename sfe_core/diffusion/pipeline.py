"""Drawing with or without face maps: diffusers' pipelines plus a bank of guidance encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.schedulers import KarrasDiffusionSchedulers
from PIL import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sfe_core.diffusion.champ_guidance import load_bank
from sfe_core.diffusion.guidance import GuidanceBank, added_to_conv_in
from sfe_core.diffusion.guidance_files import GUIDANCE_FOLDER
from sfe_core.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing itself from Python 3.11 on

GuidanceImages = torch.Tensor | Image.Image | Sequence[Image.Image]


class GuidedPipeline(DiffusionPipeline):
    """What a pipeline of any Stable Diffusion needs to follow landmarks, depth and mesh maps.

    Comes before diffusers' own pipeline among the bases of a class, and works on its `unet` and
    `guidance_encoder`. On disk such a pipeline is a plain folder, which diffusers loads without
    this project, with `guidance_encoder/` beside the usual parts.

    Attributes:
        plain: diffusers' own pipeline, which the folder is one of.
        own_options: of `plain`, other than its parts, to load and to save it with.
    """

    plain: ClassVar[type[DiffusionPipeline]]
    own_options: ClassVar[Mapping[str, Any]]

    def _register_bank(self, bank: GuidanceBank | None) -> None:
        # A bank without maps (a run without guidance) has no weights, hence no device either.
        guides = bank is not None and bank.map_names
        self.register_modules(guidance_encoder=bank if guides else None)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Self:
        """Load a pipeline folder, with the guidance encoders if it holds any.

        `options` are those of diffusers' `from_pretrained`.
        """
        bank_folder = Path(folder) / GUIDANCE_FOLDER
        if GUIDANCE_FOLDER not in options:
            bank = None
            if bank_folder.is_dir():
                dtype = options.get("torch_dtype", torch.float32)
                bank = load_bank(bank_folder, dtype)
            options[GUIDANCE_FOLDER] = bank
        return super().from_pretrained(folder, **{**cls.own_options, **options})

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write a plain pipeline folder, and the guidance encoders beside it."""
        parts = {name: part for name, part in self.components.items() if name != GUIDANCE_FOLDER}
        kept = {name: self.config.get(name, value) for name, value in self.own_options.items()}
        self.plain(**{**kept, **parts}).save_pretrained(save_directory, **options)
        if self.guidance_encoder is not None:
            self.guidance_encoder.save_pretrained(Path(save_directory) / GUIDANCE_FOLDER)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        *arguments: Any,
        guidance_images: Mapping[str, GuidanceImages] | None = None,
        guidance_strengths: Mapping[str, float] | None = None,
        **options: Any,
    ) -> Any:
        """Draw pictures; without `guidance_images` exactly as diffusers' pipeline does.

        The maps do not change from step to step, so they are encoded once. Of classifier-free
        guidance's pair, only the half with the prompt is guided: the unconditional half has neither
        prompt nor maps, as when both are dropped in training.

        Args:
            prompt: one or B prompts; `arguments` and `options` are those of diffusers' pipeline.
            guidance_images: name to [B, 3, H, W] (or [1, 3, H, W], for every prompt) in [0, 1], at
                the size of the picture; or to a PIL image or a list of them, of any size (16-bit
                depth as a corpus stores it included). Maps may be left out.
            guidance_strengths: name to factor, 1 where not named; all 0 is text alone.

        Raises:
            UserError: the folder held no encoders, a name is unknown, or a shape does not fit.
        """
        features = self._encode_guidance(
            guidance_images,
            guidance_strengths,
            images=_image_count(prompt, options),
            size=(options.get("height"), options.get("width")),
        )
        with added_to_conv_in(self.unet, features):
            return super().__call__(prompt, *arguments, **options)

    def _encode_guidance(
        self,
        maps: Mapping[str, GuidanceImages] | None,
        strengths: Mapping[str, float] | None,
        images: int,
        size: tuple[int | None, int | None],
    ) -> torch.Tensor | None:
        """The features to add, [images, C, h, w], or None where nothing guides."""
        strengths = dict(strengths or {})
        if not maps or all(strengths.get(name, 1.0) == 0 for name in maps):
            return None
        if self.guidance_encoder is None:
            raise UserError(
                "guidance_images", "this pipeline has no guidance_encoder/", "draw from text alone"
            )
        default = self.unet.config.sample_size * self.vae_scale_factor
        wanted = (size[0] or default, size[1] or default)
        prepared = {}
        for name, given in maps.items():
            image = given if isinstance(given, torch.Tensor) else _as_map(given, wanted)
            if image.ndim != 4 or image.shape[1] != 3 or tuple(image.shape[2:]) != wanted:
                raise UserError(
                    f"guidance_images[{name!r}]",
                    f"has shape {list(image.shape)}",
                    f"give [B, 3, {wanted[0]}, {wanted[1]}], as large as the picture",
                )
            if images % image.shape[0]:
                raise UserError(
                    f"guidance_images[{name!r}]",
                    f"holds {image.shape[0]} maps for {images} pictures",
                    "give one map, or one per prompt",
                )
            repeated = image.repeat_interleave(images // image.shape[0], dim=0)
            prepared[name] = repeated.to(self._execution_device, self.unet.dtype)
        for name in strengths:
            if name not in self.guidance_encoder.map_names:
                known = ", ".join(self.guidance_encoder.map_names)
                raise UserError("guidance_strengths", f"no map {name!r}", f"known: {known}")
        used = {name: value for name, value in strengths.items() if name in prepared}
        return self.guidance_encoder(prepared, used)


class GuidedStableDiffusionPipeline(GuidedPipeline, StableDiffusionPipeline):
    """StableDiffusionPipeline that can follow face maps; there is no safety checker."""

    plain = StableDiffusionPipeline
    own_options: ClassVar = {"safety_checker": None, "requires_safety_checker": False}
    # The order in which they run, so that each leaves the GPU when the next one comes.
    model_cpu_offload_seq = f"{GUIDANCE_FOLDER}->{StableDiffusionPipeline.model_cpu_offload_seq}"
    _optional_components = [*StableDiffusionPipeline._optional_components, GUIDANCE_FOLDER]  # noqa: RUF012

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        image_encoder: Any = None,
        guidance_encoder: GuidanceBank | None = None,
        requires_safety_checker: bool = False,
    ) -> None:
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=safety_checker,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
            requires_safety_checker=requires_safety_checker,
        )
        self._register_bank(guidance_encoder)


class GuidedStableDiffusionXLPipeline(GuidedPipeline, StableDiffusionXLPipeline):
    """StableDiffusionXLPipeline that can follow face maps, and puts no watermark in pictures.

    diffusers' own puts one where the package invisible-watermark happens to be installed, so that
    pictures would differ between machines.
    """

    plain = StableDiffusionXLPipeline
    own_options: ClassVar = {"add_watermarker": False}
    model_cpu_offload_seq = f"{GUIDANCE_FOLDER}->{StableDiffusionXLPipeline.model_cpu_offload_seq}"
    _optional_components = [*StableDiffusionXLPipeline._optional_components, GUIDANCE_FOLDER]  # noqa: RUF012

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        tokenizer_2: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        image_encoder: Any = None,
        feature_extractor: Any = None,
        guidance_encoder: GuidanceBank | None = None,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = False,
    ) -> None:
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=unet,
            scheduler=scheduler,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
            add_watermarker=add_watermarker,
        )
        self._register_bank(guidance_encoder)


def _as_map(pictures: Image.Image | Sequence[Image.Image], size: tuple[int, int]) -> torch.Tensor:
    """Pictures as maps [B, 3, H, W] in [0, 1], resized to `size` (height, width)."""
    several = [pictures] if isinstance(pictures, Image.Image) else list(pictures)
    return torch.stack([_one_map(picture, size) for picture in several])


def _one_map(picture: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    if picture.mode in ("I", "I;16"):
        # Bilinear stays inside the range of the values; PIL resizes floats, not 16-bit integers.
        values = np.array(picture, np.float32) / 65535.0
        resized = Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(resized)).clamp(0, 1).expand(3, *size).contiguous()
    coloured = picture.convert("RGB")
    if coloured.size != size[::-1]:
        coloured = coloured.resize(size[::-1], Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(coloured)).permute(2, 0, 1).float() / 255.0


def _image_count(prompt: str | list[str] | None, options: Mapping[str, Any]) -> int:
    """How many pictures a call draws: prompts times pictures per prompt."""
    if prompt is None:
        embeddings = options.get("prompt_embeds")
        prompts = 1 if embeddings is None else embeddings.shape[0]
    else:
        prompts = 1 if isinstance(prompt, str) else len(prompt)
    return prompts * (options.get("num_images_per_prompt") or 1)
