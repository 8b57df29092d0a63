"""Training of the tiny text encoder and UNet: an ordinary text-to-image base, no guidance."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.training_utils import EMAModel, compute_snr
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from sfe_core.files import atomic_path
from sfe_core.synthesis.tiny.autoencoder import encode_all
from sfe_core.synthesis.tiny.faces import Faces
from sfe_core.synthesis.tiny.networks import (
    make_scheduler,
    make_text_encoder,
    make_unet,
    train_tokenizer,
)
from sfe_core.synthesis.tiny.recipe import Phase, Recipe
from sfe_core.synthesis.tiny.recognition import as_tensor

log = logging.getLogger(__name__)

SNR_GAMMA = 5.0


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """[N, tokens] ids, padded to the tokenizer's length."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def draw_captions(
    faces: Faces, share: float, recipe: Recipe, rng: np.random.Generator
) -> list[str]:
    """One caption a face: empty, naming the emotion (seldom), or silent about it."""
    named = rng.random(len(faces.named)) < share
    empty = rng.random(len(faces.named)) < recipe.caption_dropout
    chosen = np.where(named, faces.named, faces.unnamed)
    return np.where(empty, "", chosen).tolist()


class BaseTrainer:
    """The base model while it learns; its state is kept on disk, so that a build can go on."""

    def __init__(self, vae: AutoencoderKL, faces: Faces, recipe: Recipe, work: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.faces, self.work = recipe, faces, work
        self.vae = vae.eval()
        self.tokenizer = train_tokenizer([*faces.named, *faces.unnamed], recipe)
        self.text_encoder = make_text_encoder(self.tokenizer, recipe)
        self.unet = make_unet(recipe).to(memory_format=torch.channels_last)
        self.scheduler = make_scheduler()
        self.networks = torch.nn.ModuleList([self.text_encoder, self.unet])
        self.ema = EMAModel(self.networks.parameters(), decay=recipe.base_ema)
        self.optimizer = torch.optim.AdamW(
            self.networks.parameters(),
            lr=recipe.base_phases[0].learning_rate,
            weight_decay=0.01,
            fused=True,
        )
        self.schedule = self._cycle(recipe.base_phases[0])
        self.step = 0

    def _cycle(self, phase: Phase) -> torch.optim.lr_scheduler.OneCycleLR:
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            phase.learning_rate,
            total_steps=phase.cycle or phase.steps,
            pct_start=0.03,
        )

    def loss(self, latents: Tensor, ids: Tensor, generator: torch.Generator) -> Tensor:
        """Min-SNR weighted squared error of the predicted noise (Hang et al. 2023, eq. 5)."""
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (len(latents),), generator=generator)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        # On so few tokens the plain attention is faster on CPUs than the flash kernel.
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            text = self.text_encoder(ids)[0]
            predicted = self.unet(noisy, timesteps, text).sample
        snr = compute_snr(self.scheduler, timesteps)
        weight = snr.clamp(max=SNR_GAMMA) / snr
        error = F.mse_loss(predicted.float(), noise, reduction="none").mean((1, 2, 3))
        return (weight * error).mean()

    def train(self) -> None:
        """Go through the phases from where the state stands, saving it every 500 updates."""
        latents = encode_all(self.vae, as_tensor(self.faces.images))
        latents = latents * self.vae.config.scaling_factor
        self.networks.train()
        end = 0
        for phase in self.recipe.base_phases:
            begin, end = end, end + phase.steps
            if self.step == begin:
                self.schedule = self._cycle(phase)
            while self.step < end:
                self._update(latents, phase)
        self.save_state()

    def _update(self, latents: Tensor, phase: Phase) -> None:
        rng = np.random.default_rng([self.recipe.seed, self.step])
        chosen = rng.integers(len(latents), size=self.recipe.base_batch)
        captions = draw_captions(
            self.faces.rows(chosen), phase.emotion_caption_share, self.recipe, rng
        )
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        loss = self.loss(latents[chosen], tokenize(self.tokenizer, captions), generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.ema.step(self.networks.parameters())
        self.step += 1
        if self.step % 50 == 0:
            log.info("base %d loss %.4f", self.step, loss.item())
        if self.step % 500 == 0:
            self.save_state()

    def save_state(self) -> None:
        """Keep everything that decides what comes next."""
        state = {
            "step": self.step,
            "networks": self.networks.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with atomic_path(self.work / "base-state.pt") as partial:
            torch.save(state, partial)

    def load_state(self) -> bool:
        """Take up a kept state; False where there is none."""
        path = self.work / "base-state.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.step = state["step"]
        self.networks.load_state_dict(state["networks"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return True

    def pipeline(self) -> StableDiffusionPipeline:
        """The averaged weights as a plain Stable Diffusion pipeline."""
        self.ema.store(self.networks.parameters())
        self.ema.copy_to(self.networks.parameters())
        text_encoder = make_text_encoder(self.tokenizer, self.recipe)
        text_encoder.load_state_dict(self.text_encoder.state_dict())
        unet = make_unet(self.recipe)
        unet.load_state_dict(self.unet.state_dict())
        self.ema.restore(self.networks.parameters())
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=text_encoder.eval(),
            tokenizer=self.tokenizer,
            unet=unet.eval(),
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def score_base(
    pipeline: StableDiffusionPipeline, judge: torch.nn.Module, faces: Faces, count: int = 96
) -> dict[str, float]:
    """Share of pictures in which the judge reads the emotion their caption names.

    Args:
        pipeline: what is scored; 20 steps of DPM-Solver++, guidance scale 4.
        judge: reads [B, 3, 64, 64] in [-1, 1].
        faces: whose captions are drawn, the first `count` of them.
    """
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    correct = 0
    for start in range(0, count, 16):
        captions = faces.named[start : start + 16].tolist()
        seeds = [torch.Generator().manual_seed(start + i) for i in range(len(captions))]
        drawn = pipeline(
            captions,
            num_inference_steps=20,
            guidance_scale=4.0,
            generator=seeds,
            output_type="pt",
        ).images
        truth = torch.from_numpy(faces.emotion[start : start + 16])
        correct += (judge(drawn.mul(2).sub(1)).logits.argmax(1) == truth).sum().item()
    return {"captions": count, "top1_of_drawn_pictures": correct / count}
