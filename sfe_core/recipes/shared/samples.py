"""Samples of a run: validation faces of each emotion as photo, from text alone, and by their maps.

Always the same faces, captions and noise, so that grids of one run show what training changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor, nn

from sfe_core.config.model import Config
from sfe_core.config.picture_sections import EvaluateConfig
from sfe_core.corpus.dataset import FaceBatch, FaceDataset, collate
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.drawing import draw_batch, embedded_words
from sfe_core.diffusion.expression_embeddings import ExpressiveUNet
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.loading import BaseModels
from sfe_core.diffusion.pipeline import GuidedPipeline
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.drawn_faces import DrawnFaceFinder, landmark_error
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.files import derive_seed
from sfe_core.reporting import Reporter
from sfe_core.training.contract import SamplingStopped

SAMPLE_STEPS = 20


@dataclass(frozen=True)
class Drawn:
    """Pictures of n faces, each [n, 3, R, R] in [-1, 1].

    Attributes:
        faces: the photos, captions, maps and labels.
        text: drawn from the captions alone.
        guided: drawn from captions and maps; None where the model has no maps.
    """

    faces: FaceBatch
    text: Tensor
    guided: Tensor | None


def pick_faces(emotions: Tensor, per_emotion: int) -> list[int]:
    """Places of faces to draw: of each emotion in turn, evenly spaced over the split.

    A split without labels gives as many faces as if it had all eight emotions.

    Args:
        emotions: [N], places in EMOTIONS, -1 where unknown.
        per_emotion: faces of each, fewer where there are not so many.
    """
    groups = [torch.nonzero(emotions == place).flatten() for place in range(len(EMOTIONS))]
    if not any(len(group) for group in groups):
        groups, per_emotion = [torch.arange(len(emotions))], per_emotion * len(EMOTIONS)
    return [
        int(group[number * len(group) // count])
        for group in groups
        for count in [min(per_emotion, len(group))]
        for number in range(count)
    ]


@torch.no_grad()
def draw_samples(
    model: GuidedUNet,
    base: BaseModels,
    dataset: FaceDataset,
    places: Sequence[int],
    config: Config,
    stopped: Callable[[], bool] = lambda: False,
    units: Mapping[str, Tensor] | None = None,
    expressions: Mapping[str, Tensor] | None = None,
    fused: Callable[[Sequence[str]], AbstractContextManager[Any]] | None = None,
) -> Drawn:
    """Draw faces of a data set with and without their maps.

    Always by DPM-Solver++ in 20 steps: samples are for a glance, and comparable between runs.
    Noise depends on the run's seed and the key only.

    Args:
        model: what to draw with.
        base: the frozen parts.
        dataset: of the validation split.
        places: of the faces to draw.
        config: gives the seed, the guidance scale and the batch size.
        stopped: asked before each denoising step.
        units: key to what the guided pictures are told of action units, see `unit_conditions`.
        expressions: key to what they are told of expressions, see `expression_weights`.
        fused: of keys, a context in which the model fuses those guided pictures' features.

    Raises:
        SamplingStopped: `stopped` said so.
    """
    faces = collate([dataset[place] for place in places])
    pipeline = _open_pipeline(model, base)
    if model.text_encoder is not None:
        base = replace(base, text_encoders={"text_encoder": model.text_encoder})
    captions = base.encode_text(faces["caption"]).to(model.unet.device)
    empty = base.no_text().to(model.unet.device)

    def look() -> None:
        if stopped():
            raise SamplingStopped

    def told(what: Mapping[str, Tensor] | None, rows: slice, guided: bool) -> Tensor | None:
        return torch.stack([what[key] for key in faces["key"][rows]]) if guided and what else None

    def draw(maps: dict[str, Tensor], rows: slice, guided: bool) -> Tensor:
        seeds = [derive_seed(config.train.seed, key, "sample") for key in faces["key"][rows]]
        with fused(faces["key"][rows]) if guided and fused else nullcontext():
            drawn = draw_batch(
                pipeline,
                embedded_words(captions.rows(rows), empty.repeated(len(seeds))),
                seeds,
                resolution=dataset.resolution,
                steps=SAMPLE_STEPS,
                guidance_scale=config.sampling.guidance_scale,
                maps={name: stored[rows] for name, stored in maps.items()},
                units=told(units, rows, guided),
                units_guidance_scale=config.sampling.units_guidance_scale,
                expressions=told(expressions, rows, guided),
                expression_guidance_scale=config.sampling.expression_guidance_scale,
                before_step=look,
            )
        return drawn.float().cpu() * 2 - 1

    def draw_all(maps: dict[str, Tensor], guided: bool) -> Tensor:
        size = config.sampling.batch_size
        rows = [slice(start, start + size) for start in range(0, len(places), size)]
        return torch.cat([draw(maps, part, guided) for part in rows])

    maps = faces["maps"]
    guides = bool(maps or units or expressions or fused)
    guided = draw_all(maps, guided=True) if guides else None
    return Drawn(faces, draw_all({}, guided=False), guided)


def _open_pipeline(model: GuidedUNet, base: BaseModels) -> GuidedPipeline:
    # Training goes on without the text encoders once all captions are encoded.
    texts = dict.fromkeys(base.family.text_encoders) | base.tokenizers
    pipeline = base.family.guided_pipeline(
        **texts,
        vae=base.vae,
        unet=model.unet,
        scheduler=DPMSolverMultistepScheduler.from_config(base.scheduler.config),
        guidance_encoder=model.bank,
        action_units=model.units,
        expressions=model.expressions if isinstance(model, ExpressiveUNet) else None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_grid(drawn: Drawn) -> np.ndarray:
    """Rows photo, text alone and (if there are maps) guided, a column per face; uint8 [H, W, 3]."""
    rows = [drawn.faces["image"], drawn.text]
    if drawn.guided is not None:
        rows.append(drawn.guided)
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).permute(1, 2, 0)
    return ((grid + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


class SampleMeter:
    """Judge and face detector, loaded at their first use; one that is missing is told of once.

    Few faces give rough numbers: they are curves to watch, `sfe evaluate` gives the ones to report.

    Args:
        settings: section `evaluate`; names judge and detector.
        resolution: side of the samples, pixels.
        reporter: is told what is missing.
    """

    def __init__(self, settings: EvaluateConfig, resolution: int, reporter: Reporter) -> None:
        self._settings, self._resolution, self._reporter = settings, resolution, reporter
        self._judge: nn.Module | None = None
        self._finder: DrawnFaceFinder | None = None
        self._loaded = False

    def measure(self, drawn: Drawn, corpus: Corpus) -> dict[str, float]:
        """The numbers of these samples; those that cannot be told are left out.

        Returns:
            "top1", share of guided pictures (text ones where there are no maps) in which the judge
            sees the label; "top1_text", the same of pictures from text alone; "guidance_error",
            mean distance of the landmarks from those asked for, % of the inter-ocular distance;
            "face_found", share of guided pictures in which the detector finds a face.
        """
        self._load()
        numbers: dict[str, float] = {}
        best = drawn.text if drawn.guided is None else drawn.guided
        if self._judge is not None:
            labels = drawn.faces["emotion"]
            for name, pictures in (("top1", best), ("top1_text", drawn.text)):
                numbers |= _named(name, top1(self._judge, pictures, labels))
        if self._finder is not None and drawn.guided is not None:
            asked = [corpus.points(key).numpy().astype(float) for key in drawn.faces["key"]]
            errors = [self._error(*pair) for pair in zip(drawn.guided, asked, strict=True)]
            found = [error for error in errors if np.isfinite(error)]
            numbers["face_found"] = len(found) / len(errors)
            numbers |= _named("guidance_error", float(np.mean(found)) if found else None)
        return numbers

    def _error(self, image: Tensor, asked: np.ndarray) -> float:
        assert self._finder is not None
        face = self._finder.find(self._finder.levels(image))
        if face is None:
            return float("nan")
        return landmark_error(np.asarray(face.landmarks, float) / self._finder.side, asked)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            self._judge = load_recogniser(self._settings.judge)
        except UserError as error:
            self._reporter.warn(f"samples are not judged: {error}")
        try:
            self._finder = DrawnFaceFinder(self._settings.detector, self._resolution)
        except UserError as error:
            self._reporter.warn(f"samples are not held against their maps: {error}")


@torch.no_grad()
def top1(judge: nn.Module, pictures: Tensor, labels: Tensor) -> float | None:
    """Share of pictures in which the judge sees the label; None if no label is one it knows.

    Args:
        judge: a recogniser.
        pictures: [n, 3, R, R] in [-1, 1].
        labels: [n], places in EMOTIONS, -1 where unknown.
    """
    seen = judge(pictures).logits
    known = (labels >= 0) & (labels < seen.shape[1])
    if not known.any():
        return None
    return (seen.argmax(dim=1) == labels)[known].float().mean().item()


def _named(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {name: value}
