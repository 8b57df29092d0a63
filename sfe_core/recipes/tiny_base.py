"""The recipe of the tiny base: a text encoder and a UNet from nothing, on captioned faces.

An ordinary text-to-image base without guidance, as small as it can be. Min-SNR weighted squared
error of the predicted noise (Hang et al. 2023, https://arxiv.org/abs/2303.09556, eq. 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from pydantic import Field
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from sfe_core.config.sections import Section
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.drawing import draw_batch
from sfe_core.diffusion.prediction import add_noise, signal_to_noise
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import derive_seed, sha256_file, sha256_json
from sfe_core.losses.composite import LossTerms
from sfe_core.losses.noise import min_snr_weight
from sfe_core.reporting import Reporter
from sfe_core.synthesis.tiny.autoencoder import encode_all
from sfe_core.synthesis.tiny.faces import Faces, merge, read_faces
from sfe_core.synthesis.tiny.networks import (
    make_scheduler,
    make_text_encoder,
    make_unet,
    train_tokenizer,
)
from sfe_core.synthesis.tiny.recognition import as_tensor
from sfe_core.synthesis.tiny.settings import SETTINGS, Settings
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples, SamplingStopped
from sfe_core.training.network import Network

SNR_GAMMA = 5.0
SAMPLE_STEPS = 20


class Options(Section):
    """`recipe_options` of sfe.yaml.

    Attributes:
        faces: `.npz` files of `synthesis.tiny.faces`.
        vae: folder of the autoencoder.
        settings: fields of `synthesis.tiny.settings.Settings` that differ.
    """

    faces: tuple[str, ...]
    vae: str
    settings: dict[str, Any] = Field({})

    def all_settings(self) -> Settings:
        """What the networks and captions are made by."""
        return replace(SETTINGS, **self.settings)


def _options(workspace: Workspace) -> Options:
    return Options(**workspace.config.recipe_options)


def check(workspace: Workspace) -> Checked:
    """See that the faces and the autoencoder are there.

    Raises:
        UserError: one is not.
    """
    options = _options(workspace)
    for place in (*options.faces, options.vae):
        if not Path(place).exists():
            raise UserError(
                f"recipe_options: {place}",
                "does not exist",
                "make it with `python -m sfe_core.synthesis.tiny.build`",
            )
    faces = merge(*(read_faces(Path(place)) for place in options.faces))
    settings = options.all_settings()
    with torch.device("meta"):
        text = make_text_encoder(_tokenizer(faces, settings), settings)
        model = TextToImage(text, make_unet(settings))
    data = sha256_json([sha256_file(Path(place)) for place in options.faces])
    return Checked(model, len(faces.images), data, told={"faces": options.faces})


class TextToImage(nn.Module):
    """Both networks as one, for one wrapper."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """Noise in latents [B, 4, h, w], of token ids [B, L]."""
        # On so few tokens the plain attention is faster on CPUs than the flash kernel.
        with sdpa_kernel(SDPBackend.MATH):
            return self.unet(noisy, timesteps, self.text_encoder(ids)[0]).sample


@dataclass(frozen=True)
class Draw:
    """One face of an update: its place, its caption, its timestep and the seed of its noise."""

    face: int
    caption: str
    timestep: int
    seed: int


@dataclass
class Batch:
    """Scaled latents [B, 4, h, w] and token ids [B, L]."""

    latents: Tensor
    ids: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.latents.to(device), self.ids.to(device))


class TinyBase:
    """Fulfils `training.contract.Recipe`."""

    networks = (Network("text_encoder", "text_encoder", "text"), Network("unet", "unet", "unet"))
    must_match: Mapping[str, Fingerprint] = MappingProxyType({})

    def __init__(
        self, workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
    ) -> None:
        options = _options(workspace)
        self.settings, self.seed = options.all_settings(), workspace.config.train.seed
        faces = merge(*(read_faces(Path(place)) for place in options.faces))
        self.faces = faces.rows(np.arange(images))
        self.vae = AutoencoderKL.from_pretrained(options.vae).eval().requires_grad_(False)
        self.latents = encode_all(self.vae, as_tensor(self.faces.images))
        self.latents = self.latents * self.vae.config.scaling_factor
        self.tokenizer = _tokenizer(faces, self.settings)
        torch.manual_seed(self.seed)
        text = make_text_encoder(self.tokenizer, self.settings)
        self.model = TextToImage(text, make_unet(self.settings)).to(accelerator.device)
        self.model.to(memory_format=torch.channels_last).train()
        self.alphas = make_scheduler().alphas_cumprod.to(accelerator.device)

    def assemble(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        """A `TextToImage` out of its parts."""
        parts: dict[str, Any] = dict(networks)
        return TextToImage(**parts)

    def draw(self, step: int, first: int, count: int) -> list[Draw]:
        """Faces at random; the emotion is in their captions as often as the phase says."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.integers(len(self.latents), size=count)
        share = self.settings.emotion_caption_share(step)
        captions = draw_captions(self.faces.rows(chosen), share, self.settings, rng)
        times = rng.integers(len(self.alphas), size=count)
        return [
            Draw(int(face), caption, int(time), derive_seed(self.seed, step, place, "noise"))
            for place, (face, caption, time) in enumerate(zip(chosen, captions, times, strict=True))
        ]

    def batches(self, wanted: Iterable[Sequence[Draw]]) -> Iterator[Batch]:
        """Latents and token ids of the faces drawn."""
        for draws in wanted:
            ids = tokenize(self.tokenizer, [draw.caption for draw in draws])
            yield Batch(self.latents[[draw.face for draw in draws]], ids)

    def terms(self, update: Sequence[Draw]) -> tuple[str, ...]:
        """There is one."""
        return ("noise",)

    def loss(
        self, model: nn.Module, batch: Batch, draws: Sequence[Draw], update: Sequence[Draw]
    ) -> LossTerms:
        """Min-SNR weighted squared error of the noise."""
        device = batch.latents.device
        noise = torch.stack([_noise(draw.seed, batch.latents.shape[1:]) for draw in draws])
        noise, times = noise.to(device), torch.tensor([d.timestep for d in draws], device=device)
        noisy = add_noise(batch.latents, noise, self.alphas, times)
        predicted = model(noisy, times, batch.ids).float()
        errors = (predicted - noise).square().mean((1, 2, 3))
        weights = min_snr_weight(signal_to_noise(self.alphas, times), SNR_GAMMA, "epsilon")
        total = (weights * errors).sum() / len(update)
        raw = errors.detach().sum() / len(update)
        return LossTerms(total, {"noise": raw}, {"noise": total.detach()})

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples:
        """The first face's caption of each emotion, drawn side by side.

        Raises:
            SamplingStopped: `stopped` said so.
        """

        def look() -> None:
            if stopped():
                raise SamplingStopped

        firsts = [int(np.argmax(self.faces.emotion == place)) for place in range(len(EMOTIONS))]
        assert isinstance(model, TextToImage)
        pipeline = make_pipeline(model.text_encoder, model.unet, self.tokenizer, self.vae)
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        drawn = draw_batch(
            pipeline,
            {"prompt": [str(self.faces.named[face]) for face in firsts]},
            [derive_seed(self.seed, face, "sample") for face in firsts],
            resolution=self.settings.image_px,
            steps=SAMPLE_STEPS,
            guidance_scale=4.0,
            before_step=look,
        )
        row = torch.cat(list(drawn.float().cpu()), dim=2).permute(1, 2, 0)
        return Samples({}, (row * 255).round().clamp(0, 255).to(torch.uint8).numpy())

    def save_beside(self, folder: Path) -> None:
        """The tokenizer, which was learnt from these captions."""
        self.tokenizer.save_pretrained(folder / "tokenizer")


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """[N, tokens] ids, padded to the tokenizer's length."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def draw_captions(
    faces: Faces, share: float, settings: Settings, rng: np.random.Generator
) -> list[str]:
    """One caption a face: empty, naming the emotion (seldom), or silent about it."""
    named = rng.random(len(faces.named)) < share
    empty = rng.random(len(faces.named)) < settings.caption_dropout
    chosen = np.where(named, faces.named, faces.unnamed)
    return np.where(empty, "", chosen).tolist()


def pipeline_of(checkpoint: Path, vae: Path) -> StableDiffusionPipeline:
    """A checkpoint's averaged weights as a plain Stable Diffusion pipeline."""
    return make_pipeline(
        CLIPTextModel.from_pretrained(checkpoint / "text_encoder_ema"),
        UNet2DConditionModel.from_pretrained(checkpoint / "unet_ema"),
        CLIPTokenizer.from_pretrained(checkpoint / "tokenizer"),
        AutoencoderKL.from_pretrained(vae),
    )


def make_pipeline(
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
) -> StableDiffusionPipeline:
    """The parts as a pipeline over Stable Diffusion 1.5's schedule."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _tokenizer(faces: Faces, settings: Settings) -> CLIPTokenizer:
    return train_tokenizer([*faces.named, *faces.unnamed], settings)


def _noise(seed: int, shape: Sequence[int]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SPEC = RecipeSpec("tiny-base", check, TinyBase, Options)
