"""Build the shipped tiny weights: `python -m sfe_core.synthesis.tiny.build --work DIR`.

On the GPU where there is one, else on the CPU. Every stage keeps its result in DIR, goes on where
it was stopped and is skipped where it is done; `--stage` does one alone, and stages may run in
several processes at once. `--budget 25m` measures this device and fits everything into that time.
Renders and training are seeded; rounding differs between machines.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline
from joblib import cpu_count

from sfe_core.assets.store import EMBEDDED
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.drawing import draw_batch, prompt_words
from sfe_core.errors import UserError
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.files import atomic_path, write_json
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.recipes.tiny_base import pipeline_of
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.synthesis.tiny.autoencoder import VaeTraining, score_vae
from sfe_core.synthesis.tiny.budget import fit, measure, seconds_of
from sfe_core.synthesis.tiny.cards import write_cards
from sfe_core.synthesis.tiny.emotions import (
    make_embeddings,
    make_emotional_base,
    score_emotions,
    ship_emotions,
)
from sfe_core.synthesis.tiny.examples import make_examples
from sfe_core.synthesis.tiny.faces import Faces, make_faces
from sfe_core.synthesis.tiny.readers import READERS
from sfe_core.synthesis.tiny.recognition import ReaderBuild
from sfe_core.synthesis.tiny.rig import make_rig, ship_rig
from sfe_core.synthesis.tiny.settings import SETTINGS, FaceSet, Settings, settings_of
from sfe_core.training.options import TrainOptions

log = logging.getLogger(__name__)

STAGES = ("faces", "vae", "recognisers", "base", "score", "emotions", "rig", "ship")
# In the order in which the stages want them.
FACE_SETS = (
    "loss", "base", "validation", "unseen", "judge",
    "units_loss", "units_judge", "units_validation",
)  # fmt: skip


class Log(Reporter):
    """Tells of the base's training in the log, figures at most once a minute."""

    def __init__(self) -> None:
        self._told = 0.0

    def say(self, message: str) -> None:
        """A line of the log."""
        log.info("%s", message)

    def warn(self, message: str) -> None:
        """A line of the log that stands out."""
        log.warning("%s", message)

    def show(self, figures: Mapping[str, str]) -> None:
        """The latest figures, if a minute has passed since the last ones."""
        if time.monotonic() - self._told > 60:
            self._told = time.monotonic()
            log.info("base %s", ", ".join(f"{name} {value}" for name, value in figures.items()))


class Build:
    """The stages, each reading what the ones before it left in `work`.

    Args:
        work: folder for what the stages leave.
        settings: every number.
        workers: processes that render, and that train the base on the CPU.
        device: where networks train; "cpu" or "cuda".
    """

    def __init__(
        self, work: Path, settings: Settings = SETTINGS, workers: int = 2, device: str = "cpu"
    ) -> None:
        self.work, self.settings, self.workers = work, settings, workers
        self.device = torch.device(device)

    def _faces(self, name: str) -> Faces:
        chosen = getattr(self.settings, f"{name}_faces")
        return make_faces(chosen, self.settings, self.work / f"faces-{name}", self.workers)

    def faces(self) -> None:
        """Render all sets."""
        for name in FACE_SETS:
            self._faces(name)

    def vae(self) -> None:
        """Train the autoencoder on strong expressions and on the base's faces."""
        target = self.work / "vae"
        if target.exists():
            return
        sets = [self._faces(name).images for name in ("loss", "base")]
        perceptual = load_perceptual("st-lpips")
        state = self.work / "vae-state.pt"
        vae = VaeTraining(sets, self.settings, perceptual, self.device, state).run()
        write_json(self.work / "scores-vae.json", score_vae(vae, self._faces("validation").images))
        _save(vae, target)
        state.unlink(missing_ok=True)

    def recognisers(self) -> None:
        """Train the readers of emotion, action units and identity."""
        vae = AutoencoderKL.from_pretrained(self.work / "vae")
        readers = ReaderBuild(self.work, self.settings, self._faces, vae, self.device)
        for reader in READERS:
            readers.make(reader)

    def base(self) -> None:
        """Train text encoder and UNet on the base's latents; goes on where it stopped.

        What comes out is the checkpoint whose pictures came nearest to unseen people's photos.
        """
        self._examples("base")
        self._examples("unseen")
        trained = launch(
            base_workspace(self.work, self.settings, self.device),
            TrainOptions(
                run="base",
                resume="auto",
                gpus=1 if self.device.type == "cuda" else None,
                cpu_processes=self.workers if self.device.type == "cpu" else None,
                accept_changes=True,  # the length may be chosen late
            ),
            Log(),
        )
        pipeline = pipeline_of(trained.best or trained.checkpoint, self.work / "vae")
        _save(pipeline, self.work / "tiny-sd")

    def score(self) -> None:
        """Let the judge read what the base draws when its caption names an emotion."""
        pipeline = StableDiffusionPipeline.from_pretrained(
            self.work / "tiny-sd", safety_checker=None
        ).to(self.device)
        judge = load_recogniser(self.work / "tiny-emotion-judge")
        scores = score_base(pipeline, judge.to(self.device), self._faces("validation"))
        write_json(self.work / "scores-base.json", scores)

    def emotions(self) -> None:
        """Train the base that shows expressions by their words, and embeddings of them."""
        make_emotional_base(self.work, self.workers, Log())
        make_embeddings(self.work, self.workers, Log())
        score_emotions(self.work, load_recogniser(self.work / "tiny-emotion-judge"))

    def rig(self) -> None:
        """Train what draws photos from buffers; needs nothing of the other stages."""
        make_rig(self.work, self.workers, Log())

    def _examples(self, name: str) -> None:
        target = self.work / f"examples-{name}.npz"
        if target.exists():
            return
        faces = self._faces(name)
        vae = AutoencoderKL.from_pretrained(self.work / "vae").eval().to(self.device)
        network = load_perceptual("st-lpips").network.to(self.device) if name == "unseen" else None
        make_examples(faces, vae, target, network)

    def ship(self) -> None:
        """Write half-precision safetensors and the cards into the package's embedded assets."""
        write_cards(self.work, EMBEDDED, self.settings)
        ship_emotions(self.work, EMBEDDED)
        ship_rig(self.work, EMBEDDED)


def _save(network, target: Path) -> None:
    with atomic_path(target) as partial:
        network.save_pretrained(partial, safe_serialization=True)


def base_workspace(work: Path, settings: Settings, device: torch.device) -> Workspace:
    """The workspace of the base's run, below `work`."""
    changed = {
        name: value
        for name, value in asdict(settings).items()
        if value != asdict(SETTINGS)[name] and not isinstance(getattr(settings, name), FaceSet)
    }
    config = {
        "recipe": "tiny-base",
        "recipe_options": {
            "examples": str(work / "examples-base.npz"),
            "unseen": str(work / "examples-unseen.npz"),
            "vae": str(work / "vae"),
            "settings": changed,
        },
        "train": {
            "steps": settings.base_steps,
            "batch_size": settings.base_batch,
            "effective_batch": settings.base_batch,
            "learning_rate": settings.base_learning_rate,
            "schedule": "wsd",
            "warmup_steps": settings.base_warmup,
            "ema_decay": settings.base_ema,
            "mixed_precision": "bf16",
            "compile": device.type == "cuda",
            "seed": settings.seed,
            "checkpoint_every": settings.base_checkpoint_every,
            "sample_every": settings.base_score_every,
            "best_metric": "kernel_distance",
        },
    }
    return Workspace(work / "base", Config.model_validate(config))


def score_base(
    pipeline: StableDiffusionPipeline, judge: torch.nn.Module, faces: Faces, count: int = 96
) -> dict[str, float]:
    """Share of pictures in which the judge reads the emotion their caption names.

    Args:
        pipeline: what is scored; 20 steps of DPM-Solver++, guidance scale 4.
        judge: reads [B, 3, S, S] in [-1, 1].
        faces: whose captions are drawn, the first `count` of them.
    """
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    correct, count = 0, min(count, len(faces.named))
    for start in range(0, count, 16):
        captions = faces.named[start : min(start + 16, count)].tolist()
        drawn = draw_batch(
            pipeline,
            prompt_words(captions),
            range(start, start + len(captions)),
            resolution=faces.images.shape[1],
            steps=20,
            guidance_scale=4.0,
        )
        truth = torch.from_numpy(faces.emotion[start : start + len(captions)])
        correct += (judge(drawn.mul(2).sub(1)).logits.argmax(1).cpu() == truth).sum().item()
    return {"captions": count, "top1_of_drawn_pictures": correct / count}


def chosen_settings(work: Path, budget: str | None, workers: int, device: torch.device) -> Settings:
    """The full settings, or those that fit into a budget; once fitted, they are kept in `work`.

    Raises:
        UserError: the budget is no length of time, or not the one that the work was begun with.
    """
    kept = work / "settings.json"
    if not kept.exists() and budget is None:
        return SETTINGS
    if not kept.exists():
        assert budget is not None
        seconds = seconds_of(budget)
        speeds = measure(SETTINGS, workers, device, load_perceptual("st-lpips"))
        log.info("measured, per second: %s", speeds)
        write_json(kept, {"budget": budget, "settings": asdict(fit(SETTINGS, seconds, speeds))})
    stored = json.loads(kept.read_text(encoding="utf-8"))
    if budget not in (None, stored["budget"]):
        raise UserError(
            f"--budget {budget}",
            f"{kept} was fitted to {stored['budget']}",
            "leave the option out to go on, or choose another folder",
        )
    return settings_of(stored["settings"])


def tell_settings(settings: Settings) -> None:
    """Log what differs from the full settings."""
    for name, value in vars(settings).items():
        if value != getattr(SETTINGS, name):
            log.info("%s: %s instead of %s", name, value, getattr(SETTINGS, name))


def tell_scores(work: Path) -> None:
    """Log the scores of every stage that has some, without their details."""
    for path in sorted(work.glob("scores-*.json")):
        scores = json.loads(path.read_text(encoding="utf-8"))
        photographed = scores.get("pictures", {}).get("as photographed", {})
        plain = {name: value for name, value in scores.items() if not isinstance(value, dict)}
        log.info("%s: %s", path.stem, plain | photographed)


def main() -> None:
    """Run the chosen stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what stages leave")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this; repeatable")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="processes on the CPU")
    parser.add_argument("--budget", help="time for all stages, such as 25m or 3h")
    parser.add_argument(
        "--base-steps",
        type=int,
        help="updates of the base instead; may be lowered or raised while four fifths are not done",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where networks train; the default is what there is",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    device = torch.device(options.device)
    try:
        settings = chosen_settings(options.work, options.budget, options.workers, device)
        if options.base_steps is not None:
            settings = replace(settings, base_steps=options.base_steps)
        tell_settings(settings)
        build = Build(options.work, settings, options.workers, options.device)
        for stage in options.stage or STAGES:
            getattr(build, stage)()
    except UserError as error:
        parser.exit(2, f"{error}\n")
    tell_scores(options.work)


if __name__ == "__main__":
    main()
