"""Build the shipped tiny weights: `python -m sfe_core.synthesis.tiny.build --work DIR`.

About three hours on two cores. Every stage keeps its result in DIR and is skipped where it stands;
`--stage` does one alone. Renders and training are seeded; rounding differs between machines.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from joblib import cpu_count

from sfe_core.assets.store import EMBEDDED
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.drawing import draw_batch, prompt_words
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet
from sfe_core.files import atomic_path, write_json
from sfe_core.recipes.tiny_base import pipeline_of
from sfe_core.reporting import Reporter
from sfe_core.runs.start import train
from sfe_core.synthesis.tiny.autoencoder import train_vae
from sfe_core.synthesis.tiny.cards import write_cards
from sfe_core.synthesis.tiny.faces import Faces, make_faces, merge
from sfe_core.synthesis.tiny.recognition import as_tensor, score_recogniser, train_recogniser
from sfe_core.synthesis.tiny.settings import SETTINGS, FaceSet, Settings
from sfe_core.training.options import TrainOptions

STAGES = ("faces", "vae", "recognisers", "base", "ship")


class Build:
    """The stages, each reading what the ones before it left in `work`."""

    def __init__(self, work: Path, settings: Settings = SETTINGS, workers: int = 2) -> None:
        self.work, self.settings, self.workers = work, settings, workers

    def _faces(self, name: str) -> Faces:
        chosen = getattr(self.settings, f"{name}_faces")
        return make_faces(chosen, self.settings, self.work / f"faces-{name}.npz", self.workers)

    def faces(self) -> None:
        """Render all three sets."""
        for name in ("loss", "judge", "validation"):
            self._faces(name)

    def vae(self) -> None:
        """Train the autoencoder on both training halves."""
        if not (self.work / "vae").exists():
            faces = merge(self._faces("loss"), self._faces("judge"))
            _save(train_vae(as_tensor(faces.images), self.settings), self.work / "vae")

    def recognisers(self) -> None:
        """Train the loss network and the judge, each on its own half."""
        validation = self._faces("validation")
        pairs = (("loss", TinyEmotionNet, 11), ("judge", TinyEmotionJudge, 22))
        for name, kind, seed in pairs:
            target = self.work / f"tiny-emotion-{name}"
            if target.exists():
                continue
            torch.manual_seed(seed)
            network = train_recogniser(kind(), self._faces(name), self.settings, seed)
            _save(network, target)
            scores = score_recogniser(network, validation)
            write_json(self.work / f"scores-{name}.json", scores)

    def base(self) -> None:
        """Train text encoder and UNet on the latents of both halves; goes on where it stopped."""
        for name in ("loss", "judge"):
            self._faces(name)
        trained = train(
            base_workspace(self.work, self.settings),
            TrainOptions(run="base", resume="auto"),
            Reporter(),
        )
        pipeline = pipeline_of(trained.checkpoint, self.work / "vae")
        _save(pipeline, self.work / "tiny-sd")
        judge = load_recogniser(self.work / "tiny-emotion-judge")
        scores = score_base(pipeline, judge, self._faces("validation"))
        write_json(self.work / "scores-base.json", scores)

    def ship(self) -> None:
        """Write half-precision safetensors and the cards into the package's embedded assets."""
        write_cards(self.work, EMBEDDED, self.settings)


def _save(network, target: Path) -> None:
    with atomic_path(target) as partial:
        network.save_pretrained(partial, safe_serialization=True)


def base_workspace(work: Path, settings: Settings) -> Workspace:
    """The workspace of the base's run, below `work`."""
    changed = {
        name: value
        for name, value in vars(settings).items()
        if value != getattr(SETTINGS, name) and not isinstance(value, FaceSet)
    }
    config = {
        "recipe": "tiny-base",
        "recipe_options": {
            "faces": [str(work / f"faces-{name}.npz") for name in ("loss", "judge")],
            "vae": str(work / "vae"),
            "settings": changed,
        },
        "train": {
            "steps": settings.base_steps,
            "batch_size": settings.base_batch,
            "effective_batch": settings.base_batch,
            "learning_rate": settings.base_learning_rate,
            "schedule": "cosine",
            "warmup_steps": settings.base_warmup,
            "ema_decay": settings.base_ema,
            "mixed_precision": "bf16",
            "seed": settings.seed,
            "checkpoint_every": 500,
            "best_metric": "loss",
        },
    }
    return Workspace(work / "base", Config.model_validate(config))


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
        drawn = draw_batch(
            pipeline,
            prompt_words(captions),
            range(start, start + len(captions)),
            resolution=faces.images.shape[1],
            steps=20,
            guidance_scale=4.0,
        )
        truth = torch.from_numpy(faces.emotion[start : start + 16])
        correct += (judge(drawn.mul(2).sub(1)).logits.argmax(1) == truth).sum().item()
    return {"captions": count, "top1_of_drawn_pictures": correct / count}


def main() -> None:
    """Run the chosen stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what stages leave")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this; repeatable")
    parser.add_argument("--workers", type=int, default=cpu_count())
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    build = Build(options.work, SETTINGS, options.workers)
    for stage in options.stage or STAGES:
        getattr(build, stage)()


if __name__ == "__main__":
    main()
