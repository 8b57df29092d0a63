"""Drawing by maps, action units, expressions and fusion: diffusers' pipelines and these beside."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
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
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sfe_core.diffusion.champ_guidance import load_bank
from sfe_core.diffusion.expression_embeddings import (
    ExpressionEmbeddings,
    ExpressionStates,
    expression_weights,
    expressions_told,
    load_embeddings,
)
from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.fineface import units_kind
from sfe_core.diffusion.fused_passes import ExpressionPrompt, expression_fused, word_tokens
from sfe_core.diffusion.guidance import GuidanceBank, added_to_conv_in
from sfe_core.diffusion.guidance_files import (
    EXPRESSIONS_FOLDER,
    FUSION_FOLDER,
    GUIDANCE_FOLDER,
    UNITS_FOLDER,
)
from sfe_core.diffusion.unit_attention import (
    UnitAttention,
    UnitKeys,
    unit_conditions,
    units_told,
)
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing itself from Python 3.11 on

GuidanceImages = torch.Tensor | Image.Image | Sequence[Image.Image]
Asked = torch.Tensor | Mapping[str, float] | Sequence[Mapping[str, float]]
# Those that diffusers knows nothing of.
_OWN_PARTS = (GUIDANCE_FOLDER, UNITS_FOLDER, EXPRESSIONS_FOLDER, FUSION_FOLDER)


class GuidedPipeline(DiffusionPipeline):
    """What a pipeline of any Stable Diffusion needs to follow maps, action units and expressions.

    Comes before diffusers' own pipeline among the bases of a class, and works on its `unet`,
    `guidance_encoder`, `action_units`, `expressions` and `fusion`. On disk such a pipeline is a
    plain folder, which diffusers loads without this project, with folders of these names beside the
    usual parts.

    Attributes:
        plain: diffusers' own pipeline, which the folder is one of.
        own_options: of `plain`, other than its parts, to load and to save it with.
    """

    plain: ClassVar[type[DiffusionPipeline]]
    own_options: ClassVar[Mapping[str, Any]]

    def _register_own(
        self,
        bank: GuidanceBank | None,
        units: UnitAttention | None,
        expressions: ExpressionEmbeddings | None,
        fusion: ExpressionFusion | None,
    ) -> None:
        # A bank without maps (a run without guidance) has no weights, hence no device either.
        guides = bank is not None and bank.map_names
        self.register_modules(
            guidance_encoder=bank if guides else None,
            action_units=units,
            expressions=expressions,
            fusion=fusion,
        )
        if units is not None:
            units.check_fits(self.unet)
        if expressions is not None:
            expressions.check_fits(self.unet.config.cross_attention_dim)
        if fusion is not None:
            fusion.check_fits(self.unet)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Self:
        """Load a pipeline folder, with what it holds beside diffusers' own parts.

        `options` are those of diffusers' `from_pretrained`.

        Raises:
            UserError: action units, expressions or fusion are of another base.
        """
        dtype = options.get("torch_dtype", torch.float32)
        bank_folder, units_folder, expressions, fusion = (
            Path(folder) / name for name in _OWN_PARTS
        )
        if GUIDANCE_FOLDER not in options:
            options[GUIDANCE_FOLDER] = (
                load_bank(bank_folder, dtype) if bank_folder.is_dir() else None
            )
        if UNITS_FOLDER not in options:
            options[UNITS_FOLDER] = (
                units_kind(units_folder).from_pretrained(units_folder, torch_dtype=dtype)
                if units_folder.is_dir()
                else None
            )
        if EXPRESSIONS_FOLDER not in options:
            options[EXPRESSIONS_FOLDER] = (
                load_embeddings(expressions, dtype) if expressions.is_dir() else None
            )
        if FUSION_FOLDER not in options:
            options[FUSION_FOLDER] = (
                ExpressionFusion.from_pretrained(fusion, torch_dtype=dtype)
                if fusion.is_dir()
                else None
            )
        return super().from_pretrained(folder, **{**cls.own_options, **options})

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write a plain pipeline folder, and beside it what diffusers knows nothing of."""
        parts = {name: part for name, part in self.components.items() if name not in _OWN_PARTS}
        kept = {name: self.config.get(name, value) for name, value in self.own_options.items()}
        self.plain(**{**kept, **parts}).save_pretrained(save_directory, **options)
        for name in _OWN_PARTS:
            if (part := getattr(self, name)) is not None:
                part.save_pretrained(Path(save_directory) / name)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        *arguments: Any,
        guidance_images: Mapping[str, GuidanceImages] | None = None,
        guidance_strengths: Mapping[str, float] | None = None,
        action_units: Asked | None = None,
        units_guidance_scale: float = 4.0,
        expressions: Asked | None = None,
        expression_guidance_scale: float | None = None,
        expression_prompt: str | Sequence[str] | None = None,
        expression_word: str | None = None,
        fusion_mask: GuidanceImages | None = None,
        fusion_strength: float = 1.0,
        **options: Any,
    ) -> Any:
        """Draw pictures; told of nothing beside the prompt exactly as diffusers' pipeline does.

        None changes from step to step, so they are encoded once. Of classifier-free
        guidance's pair, only the half with the prompt is guided: the unconditional half has neither
        prompt nor maps, as when both are dropped in training. Units are guided by a scale of their
        own, see `units_told`.

        Args:
            prompt: one or B prompts; `arguments` and `options` are those of diffusers' pipeline.
            guidance_images: name to [B, 3, H, W] (or [1, 3, H, W], for every prompt) in [0, 1], at
                the size of the picture; or to a PIL image or a list of them, of any size (16-bit
                depth as a corpus stores it included). Maps may be left out.
            guidance_strengths: name to factor, 1 where not named; all 0 is text alone.
            action_units: of every picture, or one for all: FACS name to intensity, as in
                `{"AU12": 3, "AU6L": 2}`; what is not named stays free. Or as a tensor, see
                `unit_conditions`. FineFace's token (`fineface`) takes what is not named for 0.
            units_guidance_scale: 0: as without units; 1: as they were learnt; more exaggerates.
            expressions: of every picture, or one for all: name to strength, 0 to 1.5, as in
                `{"happy": 0.6, "surprise": 0.4}`; `{}` is neutral. Or as a tensor, see
                `expression_weights`. None: the base as it stands, which is not quite neutral.
            expression_guidance_scale: None: as the text's; see `expressions_told`.
            expression_prompt: one or B, what shows the expression on anyone: the prompt with the
                person's token left out, "photo of a woman, happy". Where `expressions` are told,
                they stand behind it too. None: no fusion, see `expression_fused`.
            expression_word: which of its words is the expression, where that is not one of the
                emotions' names and no `expressions` are told.
            fusion_mask: [B or 1, 1, H, W] in [0, 1], or PIL images: where the expression shows, see
                `expression_mask`. None: where the UNet looks at the expression's words.
            fusion_strength: 0: as without fusion; 1: as it was learnt.

        Raises:
            UserError: the folder held no encoders, units, expressions or fusion, a name is unknown,
                or a shape does not fit.
        """
        features = self._encode_guidance(
            guidance_images,
            guidance_strengths,
            images=_image_count(prompt, options),
            size=(options.get("height"), options.get("width")),
        )
        units = self._encode_units(action_units, _image_count(prompt, options))
        told = self._encode_expressions(expressions, _image_count(prompt, options))
        fused = None
        if expression_prompt is not None and fusion_strength:
            images = _image_count(prompt, options)
            fused = self._encode_fusion(
                expression_prompt, expression_word, told and told[0], images, options
            )
            if fusion_mask is not None:
                mask = _per_picture("fusion_mask", _as_mask(fusion_mask), images)
                fused = replace(fused, mask=mask)
            fused = replace(fused, strength=fusion_strength)
        own = super().__call__
        called = inspect.signature(own).bind(prompt, *arguments, **options)
        called.apply_defaults()
        text_scale = called.arguments["guidance_scale"]
        with ExitStack() as stack:
            stack.enter_context(added_to_conv_in(self.unet, features))
            # Inside what is told beside the prompt: it calls the UNet more than once a step.
            if fused is not None:
                stack.enter_context(expression_fused(self.unet, self.fusion, fused))
            if told is not None:
                stack.enter_context(
                    expressions_told(self.unet, *told, expression_guidance_scale, text_scale)
                )
            if units is not None:
                stack.enter_context(units_told(self.unet, units, units_guidance_scale, text_scale))
            return own(prompt, *arguments, **options)

    def _encode_units(self, asked: Asked | None, images: int) -> UnitKeys | None:
        """What the UNet's layers find of the units, or None where nothing is said of any."""
        if asked is None:
            return None
        if self.action_units is None:
            raise UserError(
                "action_units", "this pipeline has no action_units/", "draw from text alone"
            )
        if not isinstance(asked, torch.Tensor):
            several = [asked] if isinstance(asked, Mapping) else asked
            asked = unit_conditions(self.action_units.units, several)
        told = _per_picture("action_units", asked, images)
        return self.action_units(told.to(self._execution_device))

    def _encode_expressions(
        self, asked: Asked | None, images: int
    ) -> tuple[ExpressionStates, ExpressionStates] | None:
        """What stands behind each text, and what neutral does; None where nothing is said."""
        if asked is None:
            return None
        if self.expressions is None:
            raise UserError(
                "expressions", "this pipeline has no expressions/", "put it into the prompt"
            )
        if not isinstance(asked, torch.Tensor):
            several = [asked] if isinstance(asked, Mapping) else asked
            asked = expression_weights(self.expressions.names, several)
        told = _per_picture("expressions", asked, images).to(self._execution_device)
        return self.expressions(told), self.expressions(torch.zeros_like(told))

    def _encode_fusion(
        self,
        prompts: str | Sequence[str],
        word: str | None,
        told: ExpressionStates | None,
        images: int,
        options: Mapping[str, Any],
    ) -> ExpressionPrompt:
        """What the pass with the expression alone reads, and which of its tokens name it."""
        if self.fusion is None:
            raise UserError(
                FUSION_FOLDER, "this pipeline has no fusion/", "leave expression_prompt out"
            )
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        encoded = self.encode_prompt(
            prompt=prompts,
            device=self._execution_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            clip_skip=options.get("clip_skip"),
        )
        states = _per_picture("expression_prompt", encoded[0], images)
        # The XL family's are states, their negatives, pooled texts and theirs.
        pooled = None
        if len(encoded) > 2:
            pooled = _per_picture("expression_prompt", encoded[2], images)
        if told is None:
            words = word_tokens(self.tokenizer, prompts, [word] if word else EMOTIONS)
            words = _per_picture("expression_prompt", words, images)
        else:
            words = torch.zeros(states.shape[:2])
            states, pooled = told.behind(states, pooled)
            words = functional.pad(words, (0, states.shape[1] - words.shape[1]), value=1.0)
        return ExpressionPrompt(states, pooled, words=words)

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
    """StableDiffusionPipeline that can follow face maps and action units, without a checker."""

    plain = StableDiffusionPipeline
    own_options: ClassVar = {"safety_checker": None, "requires_safety_checker": False}
    # The order in which they run, so that each leaves the GPU when the next one comes.
    model_cpu_offload_seq = "->".join((*_OWN_PARTS, StableDiffusionPipeline.model_cpu_offload_seq))
    _optional_components = [*StableDiffusionPipeline._optional_components, *_OWN_PARTS]  # noqa: RUF012

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
        action_units: UnitAttention | None = None,
        expressions: ExpressionEmbeddings | None = None,
        fusion: ExpressionFusion | None = None,
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
        self._register_own(guidance_encoder, action_units, expressions, fusion)


class GuidedStableDiffusionXLPipeline(GuidedPipeline, StableDiffusionXLPipeline):
    """StableDiffusionXLPipeline that follows face maps and action units, and puts no watermark.

    diffusers' own puts one where the package invisible-watermark happens to be installed, so that
    pictures would differ between machines.
    """

    plain = StableDiffusionXLPipeline
    own_options: ClassVar = {"add_watermarker": False}
    model_cpu_offload_seq = "->".join(
        (*_OWN_PARTS, StableDiffusionXLPipeline.model_cpu_offload_seq)
    )
    _optional_components = [*StableDiffusionXLPipeline._optional_components, *_OWN_PARTS]  # noqa: RUF012

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
        action_units: UnitAttention | None = None,
        expressions: ExpressionEmbeddings | None = None,
        fusion: ExpressionFusion | None = None,
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
        self._register_own(guidance_encoder, action_units, expressions, fusion)


def _per_picture(what: str, asked: torch.Tensor, images: int) -> torch.Tensor:
    """What is told, once for each picture that is drawn."""
    if images % len(asked):
        raise UserError(
            what,
            f"are told of {len(asked)} pictures, and {images} are drawn",
            "give them once, or once per prompt",
        )
    return asked.repeat_interleave(images // len(asked), dim=0)


def _as_map(pictures: Image.Image | Sequence[Image.Image], size: tuple[int, int]) -> torch.Tensor:
    """Pictures as maps [B, 3, H, W] in [0, 1], resized to `size` (height, width)."""
    several = [pictures] if isinstance(pictures, Image.Image) else list(pictures)
    return torch.stack([_one_map(picture, size) for picture in several])


def _as_mask(given: GuidanceImages) -> torch.Tensor:
    """A mask [B, 1, H, W] in [0, 1] out of pictures, at the size that they have."""
    if isinstance(given, torch.Tensor):
        if given.ndim != 4 or given.shape[1] != 1:
            raise UserError("fusion_mask", f"has shape {list(given.shape)}", "give [B, 1, H, W]")
        return given
    several = [given] if isinstance(given, Image.Image) else list(given)
    return _as_map(several, several[0].size[::-1])[:, :1]


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
