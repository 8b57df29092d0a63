"""Sample grids: a few validation faces as photo, from text alone, and guided by their maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from sfe_core.config.model import Config
from sfe_core.corpus.dataset import FaceDataset, collate
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.loading import BaseModels
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.files import atomic_path, derive_seed

SAMPLE_STEPS = 20


@torch.no_grad()
def draw_grid(
    model: GuidedUNet, base: BaseModels, dataset: FaceDataset, places: Sequence[int], config: Config
) -> np.ndarray:
    """Three rows (photo, text alone, guided), a column per face; uint8 [3 R, n R, 3].

    Drawn with DPM-Solver++ in 20 steps whatever sfe.yaml's sampler: grids are for a glance, and
    comparable between runs. Noise depends on the run's seed and the key only.
    """
    faces = collate([dataset[place] for place in places])
    pipeline = GuidedStableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=model.unet,
        scheduler=DPMSolverMultistepScheduler.from_config(base.scheduler.config),
        guidance_encoder=model.bank,
    )
    pipeline.set_progress_bar_config(disable=True)

    def draw(maps: dict[str, torch.Tensor]) -> torch.Tensor:
        seeds = [derive_seed(config.train.seed, key, "sample") for key in faces["key"]]
        return pipeline(
            list(faces["caption"]),
            height=dataset.resolution,
            width=dataset.resolution,
            num_inference_steps=SAMPLE_STEPS,
            guidance_scale=config.sampling.guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            guidance_images=maps,
            output_type="pt",
        ).images.cpu()

    rows = [faces["image"] / 2 + 0.5, draw({})]
    if faces["maps"]:
        rows.append(draw(faces["maps"]))
    columns = torch.stack([torch.cat(list(row), dim=2) for row in rows])
    grid = torch.cat(list(columns), dim=1).permute(1, 2, 0)
    return (grid * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def save_grid(grid: np.ndarray, path: Path) -> None:
    """Write a grid as PNG, atomically."""
    with atomic_path(path) as partial:
        Image.fromarray(grid).save(partial)
