"""A small summary made by hand, for tests of what is shown of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.summary import (
    Delta,
    EvaluationSummary,
    Metric,
    PairedTest,
    Provenance,
    Reference,
    Score,
    usual_set,
)

TOP1 = {"base": (0.31, 0.26, 0.36), "guided": (0.39, 0.34, 0.45), "real": (0.52, 0.46, 0.58)}
FRECHET = {"base": (106.0, 98.0, 117.0), "guided": (84.4, 79.0, 92.0), "real": (20.0, 18.0, 24.0)}


def metric(title: str, **changes: Any) -> Metric:
    """A headline metric in shares, higher is better, unless changed."""
    fields = {"unit": "share", "better": "higher", "headline": True, "digits": 1, **changes}
    return Metric(title=title, **fields)


def score(values: tuple[float, float, float] | None, backend: str, **changes: Any) -> Score:
    """A score with its interval, or a missing one."""
    value, low, high = values or (None, None, None)
    fields = {"n": 300, "weights_sha256": "ab" * 32, "resize": "none", **changes}
    return Score(value=value, low=low, high=high, backend=backend, **fields)


def make_summary(folder: Path, **changes: Any) -> EvaluationSummary:
    """Base, guided and real over two metrics, with a difference that is surely better."""
    scores = {
        name: {
            "top1": score(TOP1[name], "emonet_8"),
            "frechet_emonet_8": score(FRECHET[name], "emonet_8"),
        }
        for name in TOP1
    }
    fields: dict[str, Any] = {
        "split": "val300",
        "pictures": 300,
        "resolution": 512,
        "emotions": dict.fromkeys(EMOTIONS, 37),
        "reference": Reference(split="train", n=1000),
        "sets": {name: usual_set(name) for name in TOP1},
        "metrics": {
            "top1": metric("Emotion Top-1"),
            "frechet_emonet_8": metric(
                "Fréchet (emonet_8)", unit="", better="lower", group="distribution"
            ),
        },
        "scores": scores,
        "deltas": {
            "guided": {
                "top1": Delta(value=0.08, low=0.02, high=0.14, n=300),
                "frechet_emonet_8": Delta(value=-21.6, low=-30.0, high=2.0, n=300),
            }
        },
        "tests": {"guided": PairedTest(gained=40, lost=16, p_value=0.0019)},
        "confusion": {},
        "excluded": {},
        "notes": [],
        "provenance": Provenance(
            sfe="0.1.0",
            torch="2",
            base="Realistic_Vision_V6.0_B1_noVAE",
            package="run_7",
            weights_sha256={},
            corpus_sha256="cd" * 32,
            loss_networks=["lpips-vgg"],
            settings={"sampling": {"steps": 300}},
        ),
        "folder": folder,
    }
    return EvaluationSummary(**{**fields, **changes})
