"""What a package says about where it came from: card, provenance.json and safetensors headers."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sfe_core import __version__
from sfe_core.assets.registry import registry
from sfe_core.files import sha256_json, write_json, write_text
from sfe_core.packaging.assembly import file_hashes
from sfe_core.packaging.card import CardFacts, write_card
from sfe_core.packaging.listing import (
    CARD,
    PROVENANCE,
    RUN_CONFIG,
    action_units,
    expressions,
    has_fusion,
    knows_sides,
)
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.plan import PackagePlan
from sfe_core.packaging.prediction_marks import Schedule, header_marks, read_schedule
from sfe_core.packaging.trial import TrialOrder


def header_metadata(plan: PackagePlan) -> dict[str, str]:
    """Provenance for the header of every weight file that the run made.

    The same checkpoint gives the same text, hence the same files: nothing is dated. Keys that begin
    with `modelspec.` are Stability AI's Model Metadata Standard 1.0.1, which user interfaces show
    (https://github.com/Stability-AI/ModelSpec).
    """
    meta = plan.history.meta
    licence = _base_asset(plan).get("base_licence", "")
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": plan.family.publishing.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": plan.name,
        "modelspec.license": licence,
        **header_marks(_schedule(plan)),
        "modelspec.resolution": f"{plan.resolution}x{plan.resolution}",
        "sfe.version": __version__,
        "sfe.source": plan.origin,
        "sfe.run": plan.run,
        "sfe.step": str(plan.step),
        "sfe.weights": plan.weights,
        "sfe.base": _base_asset(plan)["base_name"],
        "sfe.base_sha256": meta.base_sha256,
        "sfe.corpus_sha256": meta.corpus_sha256,
        "sfe.config": plan.history.config_text,
    }


def card_facts(
    package: Path,
    plan: PackagePlan,
    order: TrialOrder,
    options: PackageOptions,
    extras: dict[str, str],
) -> CardFacts:
    """All that the card tells.

    Args:
        package: its folder.
        extras: file or folder beside the pipeline to one line about it.
    """
    meta = plan.history.meta
    return CardFacts(
        name=plan.name,
        origin=plan.origin,
        run=plan.run,
        step=plan.step,
        weights=plan.weights,
        maps=tuple(order.maps),
        units=action_units(package),
        sides=knows_sides(package),
        expressions=expressions(package),
        fusion=has_fusion(package),
        **_base_asset(plan),
        pipeline=plan.family.pipeline.__name__,
        guided_pipeline=plan.family.guided_pipeline.__name__,
        tags=plan.family.publishing.tags,
        base_sha256=meta.base_sha256,
        corpus_sha256=meta.corpus_sha256,
        packaged_at=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        resolution=order.resolution,
        steps_drawn=order.steps,
        prompt=order.prompt,
        prediction=_schedule(plan).words,
        precision=options.precision or "as stored",
        extras=extras,
        metrics=plan.history.metrics,
        run_config=plan.history.config_text,
    )


def write_papers(
    folder: Path, plan: PackagePlan, facts: CardFacts, options: PackageOptions
) -> None:
    """Write README.md, the run's configuration and, last, the provenance with all files' hashes."""
    write_text(folder / CARD, write_card(facts))
    if facts.run_config:
        write_text(folder / RUN_CONFIG, facts.run_config)
    provenance: dict[str, Any] = {
        "sfe_version": __version__,
        "packaged_at": facts.packaged_at,
        "source": facts.origin,
        "run": facts.run,
        "step": facts.step,
        "weights": facts.weights,
        "maps": list(facts.maps),
        "action_units": list(facts.units),
        "expressions": list(facts.expressions),
        "fusion": facts.fusion,
        "resolution": facts.resolution,
        "form": options.to_json(),
        "base": {"name": facts.base_name, "sha256": facts.base_sha256},
        "models": plan.history.meta.must_match,
        "corpus_sha256": facts.corpus_sha256,
        "config_sha256": sha256_json(plan.history.config) if plan.history.config else "",
        "checkpoint_saved_at": plan.history.meta.saved_at,
        "images_seen": plan.history.meta.images_seen,
        "metrics": facts.metrics,
        "extras": facts.extras,
        "files": file_hashes(folder),
    }
    write_json(folder / PROVENANCE, provenance)


def _schedule(plan: PackagePlan) -> Schedule:
    return read_schedule(plan.folders.get("scheduler", plan.base / "scheduler"))


def _base_asset(plan: PackagePlan) -> dict[str, str]:
    asset = registry().get(plan.base_name)
    return {
        "base_name": plan.base_name if asset else plan.base.name,
        "base_licence": asset.licence if asset else "as its publisher states",
        "base_page": asset.page if asset else "",
    }
