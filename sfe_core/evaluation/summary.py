"""The schema of summary.json, and the evaluation's result as the command line shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "sfe.evaluation/1"
VARIANTS: dict[str, str] = {
    "base": "base",
    "text": "fine-tuned, text",
    "guided": "fine-tuned, guided",
    "real": "real photos",
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Record):
    """What a number means."""

    title: str = Field(description="for people")
    unit: Literal["", "share", "%"] = Field(description="share: 0 to 1, shown as percent")
    better: Literal["lower", "higher"]
    headline: bool = Field(description="stands in the short table")
    digits: int = Field(description="shown after the point")


class Score(_Record):
    """One number of one set of pictures, with all that is needed to compare it fairly."""

    value: float | None
    low: float | None = Field(description="lower end of the 95 % bootstrap interval")
    high: float | None = Field(description="upper end")
    n: int = Field(description="pictures behind it")
    reason: str = Field("", description="why the value or its interval is missing")
    backend: str = Field(description="network or detector that measured it")
    weights_sha256: str = Field(description="of its weights; empty where it keeps them to itself")
    resize: str = Field(description="how pictures were brought to its size")


class PairedTest(_Record):
    """McNemar's exact test on Top-1 of the same pictures."""

    gained: int = Field(description="right here, wrong in the base")
    lost: int = Field(description="wrong here, right in the base")
    p_value: float


class Delta(_Record):
    """A score minus the base's, over the pictures that both have, resampled together."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


class Reference(_Record):
    """The real photos that Fréchet and kernel distance are held against."""

    split: str
    n: int
    reason: str = Field("", description="why there is none")


class Provenance(_Record):
    """What was measured, by what."""

    sfe: str
    torch: str
    base: str
    package: str = Field(description="folder name below packaged/")
    weights_sha256: dict[str, str] = Field(description="variant: of the model that drew it")
    corpus_sha256: str
    loss_networks: list[str] = Field(description="networks the fine-tuning optimised against")
    settings: dict[str, Any] = Field(description="sections model, guidance, sampling, evaluate")


class EvaluationSummary(BaseModel):
    """All numbers of one split. `folder` and `report` are paths and not part of summary.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: str = Field(SCHEMA, description="name and version of this layout")
    split: str
    pictures: int = Field(description="keys in the split")
    resolution: int = Field(description="side at which everything was measured, pixels")
    emotions: dict[str, int] = Field(description="how often each was asked for")
    reference: Reference
    metrics: dict[str, Metric]
    scores: dict[str, dict[str, Score]] = Field(description="variant, then metric")
    deltas: dict[str, dict[str, Delta]] = Field(description="variant, then metric: minus base")
    tests: dict[str, PairedTest] = Field(description="variant: Top-1 against the base")
    confusion: dict[str, list[list[int]]] = Field(description="row asked, column seen")
    excluded: dict[str, dict[str, int]] = Field(description="variant, then fault: pictures")
    notes: list[str] = Field(description="what limits these numbers")
    provenance: Provenance
    folder: Path = Field(exclude=True)

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.folder / "report.html"

    @property
    def table(self) -> list[dict[str, str]]:
        """The short table as display strings: `metric`, then one column per variant."""
        return [
            {
                "metric": f"{metric.title} {'↑' if metric.better == 'higher' else '↓'}",
                **{
                    title: display(self.scores[variant].get(name), metric)
                    for variant, title in VARIANTS.items()
                    if variant in self.scores
                },
            }
            for name, metric in self.metrics.items()
            if metric.headline
        ]

    def as_json(self) -> dict[str, Any]:
        """What summary.json holds."""
        return self.model_dump(mode="json")


def display(score: Score | Delta | None, metric: Metric, signed: bool = False) -> str:
    """A score as `41.7 % [29.2, 54.2]`; `n/a` where there is none."""
    if score is None or score.value is None:
        return "n/a"
    text = number(score.value, metric, signed) + ("" if metric.unit == "" else " %")
    if score.low is None or score.high is None:
        return text
    return f"{text} [{number(score.low, metric, signed)}, {number(score.high, metric, signed)}]"


def number(value: float, metric: Metric, signed: bool = False) -> str:
    """A value in the metric's unit and digits, with a true minus sign."""
    scaled = value * 100.0 if metric.unit == "share" else value
    text = f"{scaled:{'+' if signed else ''}.{metric.digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def summary_schema() -> str:
    """The JSON Schema of summary.json, as text."""
    return json.dumps(EvaluationSummary.model_json_schema(mode="serialization"), indent=2)
