"""The numbers published for StableFaceEmotion, beside the metrics here that come nearest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sfe_core.evaluation.summary import EvaluationSummary, PublishedScore

PICTURES = 300
RESOLUTION = 512
STEPS = 300
BASE = "Realistic_Vision_V6.0_B1_noVAE"
RECOGNISER = "emonet"


@dataclass(frozen=True)
class _Known:
    """A published pair of numbers, and the metrics that stand in for it, the truest first."""

    title: str
    base: float
    tuned: float
    unit: str
    digits: int
    own: str  # the metric that is measured alike; others are stand-ins
    metrics: tuple[str, ...]  # names, or beginnings of names that end in "_"


# Base against fine-tuned with its guidance encoders; 300 validation photos.
_PUBLISHED = (
    _Known("EmoNet Top-1", 0.31, 0.39, "share", 0, "top1_emonet", ("top1_emonet", "top1")),
    _Known("EmoNet Top-3", 0.62, 0.72, "share", 0, "top3_emonet", ("top3_emonet", "top3")),
    _Known("FID", 106.0, 84.4, "", 1, "fid", ("fid", "frechet_efficientnet-lite0", "frechet_")),
    _Known("DISTS", 0.329, 0.320, "", 3, "dists", ("dists", "perceptual_")),
)


def with_published(summary: EvaluationSummary) -> EvaluationSummary:
    """The summary with the published numbers that one of its metrics can be held against."""
    return summary.model_copy(update={"published": list(published_scores(summary))})


def published_scores(summary: EvaluationSummary) -> Iterator[PublishedScore]:
    """Each published number whose nearest metric was measured, and how the two differ."""
    for known in _PUBLISHED:
        metric = _nearest(summary, known)
        if metric:
            yield PublishedScore(
                metric=metric,
                title=known.title,
                base=known.base,
                tuned=known.tuned,
                unit=known.unit,
                digits=known.digits,
                n=PICTURES,
                differences=[*_measure(summary, known, metric), *_circumstances(summary)],
            )


def _nearest(summary: EvaluationSummary, known: _Known) -> str:
    measured = [
        name
        for name in summary.metrics
        if any(scores[name].value is not None for scores in summary.scores.values())
    ]
    for wanted in known.metrics:
        for name in measured:
            if name == wanted or (wanted.endswith("_") and name.startswith(wanted)):
                return name
    return ""


def _measure(summary: EvaluationSummary, known: _Known, metric: str) -> list[str]:
    """Whether the same thing was measured by the same network."""
    backend = next(iter(summary.scores.values()))[metric].backend
    if metric == known.own:
        return []
    if metric.startswith("top") and backend.lower().startswith(RECOGNISER):
        return []
    return [f"{summary.metrics[metric].title} by {backend} here, {known.title} there"]


def _circumstances(summary: EvaluationSummary) -> list[str]:
    """What was drawn unlike there; the photos themselves are never known to be the same."""
    found = ["photos of another data set"]
    if summary.pictures != PICTURES:
        found.append(f"{summary.pictures} pictures here, {PICTURES} there")
    if summary.resolution != RESOLUTION:
        found.append(f"{summary.resolution} px here, {RESOLUTION} there")
    base = summary.provenance.base
    if base != BASE:
        found.append(f"base model {base or 'unknown'} here, {BASE} there")
    steps = summary.provenance.settings.get("sampling", {}).get("steps")
    # Of pictures made elsewhere (no base named) the workspace's settings say nothing.
    if base and steps is not None and steps != STEPS:
        found.append(f"{steps} sampling steps here, {STEPS} there")
    return found
