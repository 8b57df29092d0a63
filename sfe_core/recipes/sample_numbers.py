"""Numbers read off a run's samples: does a judge see the emotion asked for, do maps hold."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sfe_core.config.picture_sections import EvaluateConfig
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.faces.drawn_faces import DrawnFaceFinder, landmark_error
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.recipes.samples import Samples
from sfe_core.reporting import Reporter


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

    def measure(self, samples: Samples, corpus: Corpus) -> dict[str, float]:
        """The numbers of these samples; those that cannot be told are left out.

        Returns:
            "top1", share of guided pictures (text ones where there are no maps) in which the judge
            sees the label; "top1_text", the same of pictures from text alone; "guidance_error",
            mean distance of the landmarks from those asked for, % of the inter-ocular distance;
            "face_found", share of guided pictures in which the detector finds a face.
        """
        self._load()
        numbers: dict[str, float] = {}
        best = samples.text if samples.guided is None else samples.guided
        if self._judge is not None:
            labels = samples.faces["emotion"]
            for name, pictures in (("top1", best), ("top1_text", samples.text)):
                numbers |= _named(name, top1(self._judge, pictures, labels))
        if self._finder is not None and samples.guided is not None:
            asked = [corpus.points(key).numpy().astype(float) for key in samples.faces["key"]]
            errors = [self._error(*pair) for pair in zip(samples.guided, asked, strict=True)]
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
