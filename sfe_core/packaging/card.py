"""The model card of a package, from what its provenance says."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from sfe_core import __version__

_HUB = "https://huggingface.co/"
# Licences of base models, by the names that model hubs know them by.
_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "CreativeML Open RAIL-M": "creativeml-openrail-m",
    "CreativeML Open RAIL++-M": "openrail++",
}


@dataclass(frozen=True)
class CardFacts:
    """What the card tells.

    Args:
        origin: where the weights come from, in words.
        maps: guidance maps the package reads; empty = none.
        units: action units it may be told as intensities; empty = none.
        sides: whether they are left and right apart; FineFace's are not.
        expressions: that it may be told as embeddings; empty = none.
        fusion: whether it fuses a person with an expression.
        weights: ema or raw, of the run.
        base_licence: of the base model, as far as known.
        corpus_sha256: of the training corpus; "" when unknown.
        pipeline, guided_pipeline: names of the classes that draw with it, see `Family`.
        tags: of the family.
        prediction: what the UNet predicts, in words.
        precision: of the weight files.
        extras: file or folder beside the pipeline, to a line about it.
        metrics: last line of the run's log: figure to number.
        run_config: config.yaml of the run, as text; "" when lost.
    """

    name: str
    origin: str
    run: str
    step: int
    weights: str
    maps: tuple[str, ...]
    units: tuple[str, ...]
    base_name: str
    base_sha256: str
    base_licence: str
    base_page: str
    corpus_sha256: str
    packaged_at: str
    resolution: int
    steps_drawn: int
    prompt: str
    pipeline: str
    guided_pipeline: str
    tags: tuple[str, ...]
    prediction: str = "the noise (epsilon)"
    precision: str = "as stored"
    sides: bool = True
    expressions: tuple[str, ...] = ()
    fusion: bool = False
    extras: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    run_config: str = ""


def write_card(facts: CardFacts) -> str:
    """The text of README.md, with the front matter that model hubs read."""
    front = {
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": _LICENCES.get(facts.base_licence, "other"),
        "base_model": facts.base_page.removeprefix(_HUB)
        if facts.base_page.startswith(_HUB)
        else facts.base_name,
        "tags": [*facts.tags, "text-to-image", "facial-expression"],
    }
    # Plain Markdown: nothing is escaped, and a name that the template misspells is an error.
    environment = Environment(
        loader=PackageLoader("sfe_core.packaging", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    values = asdict(facts)
    values["metrics"] = {name: _readable(value) for name, value in facts.metrics.items()}
    return environment.get_template("README.md.j2").render(
        **values,
        sfe_version=__version__,
        front_matter=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
    )


def _readable(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value
