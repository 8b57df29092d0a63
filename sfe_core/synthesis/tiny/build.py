"""Build the shipped tiny weights: `python -m sfe_core.synthesis.tiny.build --work DIR`.

About three hours on two cores. Every stage keeps its result in DIR and is skipped where it stands;
`--stage` does one alone. Renders and training are seeded; rounding differs between machines.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from joblib import cpu_count

from sfe_core.assets.store import EMBEDDED
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet
from sfe_core.files import atomic_path, write_json
from sfe_core.synthesis.tiny.autoencoder import train_vae
from sfe_core.synthesis.tiny.cards import write_cards
from sfe_core.synthesis.tiny.diffusion import BaseTrainer, score_base
from sfe_core.synthesis.tiny.faces import Faces, make_faces, merge
from sfe_core.synthesis.tiny.recipe import RECIPE, Recipe
from sfe_core.synthesis.tiny.recognition import as_tensor, score_recogniser, train_recogniser

STAGES = ("faces", "vae", "recognisers", "base", "ship")


class Build:
    """The stages, each reading what the ones before it left in `work`."""

    def __init__(self, work: Path, recipe: Recipe = RECIPE, workers: int = 2) -> None:
        self.work, self.recipe, self.workers = work, recipe, workers

    def _faces(self, name: str) -> Faces:
        chosen = getattr(self.recipe, f"{name}_faces")
        return make_faces(chosen, self.recipe, self.work / f"faces-{name}.npz", self.workers)

    def faces(self) -> None:
        """Render all three sets."""
        for name in ("loss", "judge", "validation"):
            self._faces(name)

    def vae(self) -> None:
        """Train the autoencoder on both training halves."""
        if not (self.work / "vae").exists():
            faces = merge(self._faces("loss"), self._faces("judge"))
            _save(train_vae(as_tensor(faces.images), self.recipe), self.work / "vae")

    def recognisers(self) -> None:
        """Train the loss network and the judge, each on its own half."""
        validation = self._faces("validation")
        pairs = (("loss", TinyEmotionNet, 11), ("judge", TinyEmotionJudge, 22))
        for name, kind, seed in pairs:
            target = self.work / f"tiny-emotion-{name}"
            if target.exists():
                continue
            torch.manual_seed(seed)
            network = train_recogniser(kind(), self._faces(name), self.recipe, seed)
            _save(network, target)
            scores = score_recogniser(network, validation)
            write_json(self.work / f"scores-{name}.json", scores)

    def base(self) -> None:
        """Train text encoder and UNet on the latents of both halves."""
        faces = merge(self._faces("loss"), self._faces("judge"))
        vae = AutoencoderKL.from_pretrained(self.work / "vae")
        trainer = BaseTrainer(vae, faces, self.recipe, self.work)
        trainer.load_state()
        trainer.train()
        pipeline = trainer.pipeline()
        _save(pipeline, self.work / "tiny-sd")
        judge = load_recogniser(self.work / "tiny-emotion-judge")
        scores = score_base(pipeline, judge, self._faces("validation"))
        write_json(self.work / "scores-base.json", scores)

    def ship(self) -> None:
        """Write half-precision safetensors and the cards into the package's embedded assets."""
        write_cards(self.work, EMBEDDED, self.recipe)


def _save(network, target: Path) -> None:
    with atomic_path(target) as partial:
        network.save_pretrained(partial, safe_serialization=True)


def main() -> None:
    """Run the chosen stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what stages leave")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this; repeatable")
    parser.add_argument("--workers", type=int, default=cpu_count())
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    build = Build(options.work, RECIPE, options.workers)
    for stage in options.stage or STAGES:
        getattr(build, stage)()


if __name__ == "__main__":
    main()
