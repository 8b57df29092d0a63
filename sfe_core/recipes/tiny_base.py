"""The recipe of the tiny base: a text encoder and a UNet from nothing, on captioned faces.

An ordinary text-to-image base without guidance, as small as it can be. Min-SNR weighted squared
error of the predicted noise (Hang et al. 2023, https://arxiv.org/abs/2303.09556, eq. 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from transformers import CLIPTextModel, CLIPTokenizer

from sfe_core.config.sections import Section
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.drawing import draw_batch, prompt_words
from sfe_core.diffusion.prediction import add_noise, signal_to_noise
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import derive_seed, sha256_file
from sfe_core.losses.composite import LossTerms
from sfe_core.losses.noise import min_snr_weight
from sfe_core.losses.perceptual import load_perceptual, require_perceptual
from sfe_core.reporting import Reporter
from sfe_core.synthesis.tiny.examples import (
    Examples,
    kernel_distance,
    perceptual_features,
    read_examples,
)
from sfe_core.synthesis.tiny.networks import (
    lay_out_unet,
    make_scheduler,
    make_text_encoder,
    make_unet,
    train_tokenizer,
)
from sfe_core.synthesis.tiny.settings import Settings, settings_of
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples, SamplingStopped
from sfe_core.training.network import Network

SNR_GAMMA = 5.0
# A look at the base: few steps and few pictures, so that it costs a twentieth of the time at most.
SAMPLE_STEPS, SAMPLE_PICTURES, SAMPLE_BATCH = 12, 96, 32
SAMPLE_GUIDANCE = 4.0


class Options(Section):
    """`recipe_options` of sfe.yaml.

    Attributes:
        examples: `.npz` file of `synthesis.tiny.examples` to learn from.
        unseen: another one, of people who are not in it, to compare with.
        vae: folder of the autoencoder.
        settings: fields of `synthesis.tiny.settings.Settings` that differ.
    """

    examples: str
    unseen: str
    vae: str
    settings: dict[str, Any] = Field({})

    def all_settings(self) -> Settings:
        """What the networks and captions are made by."""
        return settings_of(self.settings)


def _options(workspace: Workspace) -> Options:
    return Options(**workspace.config.recipe_options)


def check(workspace: Workspace) -> Checked:
    """See that the examples, the autoencoder and the measure are there.

    Raises:
        UserError: one is not.
    """
    options = _options(workspace)
    for place in (options.examples, options.unseen, options.vae):
        if not Path(place).exists():
            raise UserError(
                f"recipe_options: {place}",
                "does not exist",
                "make it with `python -m sfe_core.synthesis.tiny.build`",
            )
    require_perceptual("st-lpips")
    examples = read_examples(Path(options.examples))
    settings = options.all_settings()
    with torch.device("meta"):
        text = make_text_encoder(_tokenizer(examples, settings), settings)
        model = TextToImage(text, make_unet(settings))
    data = sha256_file(Path(options.examples))
    told = {"examples": options.examples}
    return Checked(model, len(examples.latents), data, told=told)


class TextToImage(nn.Module):
    """Both networks as one, for one wrapper."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """Noise in latents [B, C, h, w], of token ids [B, L]."""
        return self.unet(noisy, timesteps, self.text_encoder(ids)[0]).sample


@dataclass(frozen=True)
class Draw:
    """One face of an update: its place, whether mirrored, caption, timestep, the noise's seed."""

    face: int
    mirrored: int
    caption: str
    timestep: int
    seed: int


@dataclass
class Batch:
    """Scaled latents [B, C, h, w] and token ids [B, L]."""

    latents: Tensor
    ids: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.latents.to(device), self.ids.to(device))


class TinyBase:
    """Fulfils `training.contract.Recipe`."""

    networks = (
        Network("text_encoder", "text_encoder", "text"),
        Network("unet", "unet", "unet", compile=True),
    )
    must_match: Mapping[str, Fingerprint] = MappingProxyType({})

    def __init__(
        self, workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
    ) -> None:
        options = _options(workspace)
        self.settings, self.seed = options.all_settings(), workspace.config.train.seed
        examples = read_examples(Path(options.examples))
        self.examples = examples.rows(np.arange(images))
        self.unseen = read_examples(Path(options.unseen))
        self.tokenizer = _tokenizer(examples, self.settings)
        torch.manual_seed(self.seed)
        text = make_text_encoder(self.tokenizer, self.settings)
        self.model = TextToImage(text, make_unet(self.settings)).to(accelerator.device)
        self.model.train()
        lay_out_unet(self.model.unet, accelerator.device)
        vae = AutoencoderKL.from_pretrained(options.vae).eval().requires_grad_(False)
        self.vae = vae.to(accelerator.device)
        self.perceptual = load_perceptual("st-lpips").network.to(accelerator.device)
        self.alphas = make_scheduler().alphas_cumprod.to(accelerator.device)
        self.chances = timestep_chances(self.alphas.cpu())

    def assemble(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        """A `TextToImage` out of its parts."""
        parts: dict[str, Any] = dict(networks)
        return TextToImage(**parts)

    def draw(self, step: int, first: int, count: int) -> list[Draw]:
        """Faces at random; the emotion is in their captions as often as the phase says."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.integers(len(self.examples.latents), size=count)
        mirrored = rng.integers(2, size=count)
        share = self.settings.emotion_caption_share(step)
        captions = draw_captions(self.examples.rows(chosen), share, self.settings, rng)
        times = draw_timesteps(self.chances, count, rng)
        return [
            Draw(int(face), int(turned), caption, int(time), derive_seed(self.seed, step, place))
            for place, (face, turned, caption, time) in enumerate(
                zip(chosen, mirrored, captions, times, strict=True)
            )
        ]

    def batches(self, wanted: Iterable[Sequence[Draw]]) -> Iterator[Batch]:
        """Latents and token ids of the faces drawn."""
        for draws in wanted:
            ids = tokenize(self.tokenizer, [draw.caption for draw in draws])
            rows = self.examples.latents[[d.face for d in draws], [d.mirrored for d in draws]]
            yield Batch(torch.from_numpy(rows).float(), ids)

    def terms(self, update: Sequence[Draw]) -> tuple[str, ...]:
        """There is one."""
        return ("noise",)

    def loss(
        self, model: nn.Module, batch: Batch, draws: Sequence[Draw], update: Sequence[Draw]
    ) -> LossTerms:
        """Squared error of the noise; its min-SNR weight is in how often a timestep is drawn."""
        times = torch.tensor([draw.timestep for draw in draws], device=batch.latents.device)
        errors = self._errors(model, batch, times, [draw.seed for draw in draws])
        total = errors.sum() / len(update)
        return LossTerms(total, {"noise": total.detach()}, {"noise": total.detach()})

    def _errors(
        self, model: nn.Module, batch: Batch, times: Tensor, seeds: Sequence[int]
    ) -> Tensor:
        noise = torch.stack([_noise(seed, batch.latents.shape[1:]) for seed in seeds])
        noise = noise.to(batch.latents.device)
        noisy = add_noise(batch.latents, noise, self.alphas, times)
        return (model(noisy, times, batch.ids).float() - noise).square().mean((1, 2, 3))

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples:
        """How near pictures drawn from unseen people's captions come to their photos.

        Numbers: `kernel_distance` of the pictures to the photos (see `examples`), `unseen_noise`,
        the training's loss on unseen faces. The picture shows the eight emotions by name, and
        below them pictures that were measured.

        Raises:
            SamplingStopped: `stopped` said so.
        """

        def look() -> None:
            if stopped():
                raise SamplingStopped

        assert isinstance(model, TextToImage)
        count = min(SAMPLE_PICTURES, len(self.unseen.unnamed))
        drawn = self._drawn(model, self.unseen.unnamed[:count].tolist(), look)
        features = torch.cat(
            [perceptual_features(self.perceptual, some * 2 - 1) for some in drawn.split(32)]
        ).cpu()
        numbers = {
            "kernel_distance": kernel_distance(features, torch.from_numpy(self.unseen.features)),
            "unseen_noise": self._unseen_noise(model, look),
        }
        firsts = [int(np.argmax(self.unseen.emotion == place)) for place in range(len(EMOTIONS))]
        named = self._drawn(model, self.unseen.named[firsts].tolist(), look)
        shown = torch.cat([named, drawn[: min(16, len(drawn) // 8 * 8)]])
        rows = [torch.cat(list(row), dim=2) for row in shown.float().cpu().split(8)]
        grid = torch.cat(rows, dim=1).permute(1, 2, 0)
        return Samples(numbers, (grid * 255).round().clamp(0, 255).to(torch.uint8).numpy())

    def _drawn(
        self, model: TextToImage, captions: Sequence[str], look: Callable[[], None]
    ) -> Tensor:
        pipeline = make_pipeline(model.text_encoder, model.unet, self.tokenizer, self.vae)
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        parts = []
        for start in range(0, len(captions), SAMPLE_BATCH):
            some = list(captions[start : start + SAMPLE_BATCH])
            part = draw_batch(
                pipeline,
                prompt_words(some),
                [derive_seed(self.seed, start + place, "sample") for place in range(len(some))],
                resolution=self.settings.image_px,
                steps=SAMPLE_STEPS,
                guidance_scale=SAMPLE_GUIDANCE,
                before_step=look,
            )
            parts.append(part)
        return torch.cat(parts)

    @torch.no_grad()
    def _unseen_noise(self, model: TextToImage, look: Callable[[], None]) -> float:
        latents = torch.from_numpy(self.unseen.latents[:, 0]).float()
        always = np.random.default_rng(self.seed)  # every look sees the same noise
        times = torch.from_numpy(draw_timesteps(self.chances, len(latents), always))
        errors = []
        for start in range(0, len(latents), 64):
            look()
            rows = slice(start, start + 64)
            ids = tokenize(self.tokenizer, self.unseen.unnamed[rows].tolist())
            batch = Batch(latents[rows], ids).to(self.alphas.device)
            seeds = [derive_seed(self.seed, start + row, "unseen") for row in range(len(ids))]
            errors.append(self._errors(model, batch, times[rows].to(self.alphas.device), seeds))
        return torch.cat(errors).mean().item()

    def save_beside(self, folder: Path) -> None:
        """The tokenizer, which was learnt from these captions."""
        self.tokenizer.save_pretrained(folder / "tokenizer")


def timestep_chances(alphas_cumprod: Tensor) -> np.ndarray:
    """Chance of each timestep [T], in proportion to its min-SNR weight.

    Drawn so, every draw counts alike: the expected gradient is that of the weighted loss under
    uniform draws, without the draws at nearly clean latents that would hardly count (importance
    sampling, as in Nichol & Dhariwal 2021, https://arxiv.org/abs/2102.09672, sec. 3.3).

    Args:
        alphas_cumprod: [T].
    """
    times = torch.arange(len(alphas_cumprod))
    weights = min_snr_weight(signal_to_noise(alphas_cumprod, times), SNR_GAMMA, "epsilon").double()
    return (weights / weights.sum()).numpy()


def draw_timesteps(chances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count] timesteps, spread evenly over `chances` and in random order.

    One uniform draw, repeated at equal distances, goes through the inverse of the distribution
    (Kingma et al. 2021, https://arxiv.org/abs/2107.00630, app. I.1): less variance per update.

    Args:
        chances: [T], sum 1.
        count: how many.
        rng: shifts and shuffles them.
    """
    places = (np.arange(count) + rng.random()) / count
    times = np.searchsorted(np.cumsum(chances), places).clip(max=len(chances) - 1)
    return rng.permutation(times)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """[N, tokens] ids, padded to the tokenizer's length."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def draw_captions(
    faces: Examples, share: float, settings: Settings, rng: np.random.Generator
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


def _tokenizer(examples: Examples, settings: Settings) -> CLIPTokenizer:
    return train_tokenizer([*examples.named, *examples.unnamed], settings)


def _noise(seed: int, shape: Sequence[int]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SPEC = RecipeSpec(
    "tiny-base",
    check,
    TinyBase,
    Options,
    best={"kernel_distance": False, "unseen_noise": False},
)
