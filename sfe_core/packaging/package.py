"""From a training checkpoint to a complete pipeline folder that was seen to work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from sfe_core import __version__
from sfe_core.assets.registry import registry
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.captions import template_caption
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import SfeError, UserError
from sfe_core.files import TEMPORARY_MARK, atomic_path, check_key, write_json, write_text
from sfe_core.packaging.assembly import assemble, file_hashes, find_base
from sfe_core.packaging.card import CardFacts, write_card
from sfe_core.packaging.history import RunHistory, read_history
from sfe_core.packaging.listing import PROVENANCE, guidance_maps, newest_package
from sfe_core.packaging.selection import Checkpoint, Weights, choose_checkpoint, weight_folders
from sfe_core.packaging.trial import TrialOrder, try_guided, try_plain
from sfe_core.reporting import Reporter

__all__ = ["PackageSummary", "newest_package", "package_checkpoint"]

_TRIAL_STEPS = 20  # enough of DPM-Solver++ for a clear picture


@dataclass(frozen=True)
class PackageSummary:
    """What was packaged.

    Args:
        folder: the pipeline folder.
        weights: ema or raw, as packaged.
        pictures: drawn by the package when it was checked, from text and (if it can) from maps.
        size_bytes: of all files.
    """

    folder: Path
    run: str
    step: int
    weights: Weights
    pictures: tuple[Path, ...]
    size_bytes: int


@dataclass(frozen=True)
class _Plan:
    """What is packaged, found and checked before anything is written."""

    name: str
    checkpoint: Checkpoint
    weights: Weights
    folders: dict[str, Path]
    history: RunHistory
    base_name: str
    base: Path


def package_checkpoint(
    workspace: Workspace,
    run: str | None = None,
    step: int | None = None,
    name: str | None = None,
    weights: Weights = "ema",
    force: bool = False,
    reporter: Reporter | None = None,
) -> PackageSummary:
    """Make `packaged/<name>/` from a checkpoint, and see it load and draw before it gets its name.

    Args:
        run: name of a run; None = the one trained last.
        step: of its checkpoint; None = its last.
        name: of the package; None = `<run>-<step>`, with `-raw` for raw weights.
        weights: ema (exponential moving average; raw where the run kept none) or raw.
        force: replace a package of that name.

    Raises:
        UserError: no checkpoint as asked for, a package of that name, a missing base model.
        RunError: a torn checkpoint, or a package that does not load or draws blank pictures.
    """
    reporter = reporter or Reporter()
    plan = _plan(workspace, run, step, name, weights, reporter)
    target = workspace.packaged / plan.name
    if target.exists() and not force:
        raise UserError(target, "exists", "replace it with --force, or give another --name")
    with (
        reporter.task(f"packaging {plan.name}", 4) as task,
        atomic_path(target) as partial,
    ):
        assemble(plan.base, plan.folders, partial)
        task.advance(note="copied")
        order = _trial_order(workspace, plan, partial, reporter)
        pictures = {"sample.png": try_plain(partial, order)}
        task.advance(note="draws from text")
        if order.maps:
            pictures["sample_guided.png"] = try_guided(partial, order)
        task.advance(note="draws from maps" if order.maps else "")
        for file_name, picture in pictures.items():
            picture.save(partial / file_name)
        _write_papers(partial, plan, _facts(plan, order))
        task.advance(note="described")
    files = [path for path in target.rglob("*") if path.is_file()]
    return PackageSummary(
        folder=target,
        run=plan.checkpoint.run,
        step=plan.checkpoint.step,
        weights=plan.weights,
        pictures=tuple(target / file_name for file_name in pictures),
        size_bytes=sum(path.stat().st_size for path in files),
    )


def _plan(
    workspace: Workspace,
    run: str | None,
    step: int | None,
    name: str | None,
    weights: Weights,
    reporter: Reporter,
) -> _Plan:
    checkpoint = choose_checkpoint(workspace.runs, run, step)
    if weights == "ema" and not checkpoint.has_ema:
        reporter.say(f"run {checkpoint.run} kept no moving average: packaging its raw weights")
        weights = "raw"
    history = read_history(checkpoint)
    base_name, base = find_base(workspace.config.model.base, history.meta)
    return _Plan(
        name=_name(checkpoint, name, weights),
        checkpoint=checkpoint,
        weights=weights,
        folders=weight_folders(checkpoint, weights),
        history=history,
        base_name=base_name,
        base=base,
    )


def _name(checkpoint: Checkpoint, name: str | None, weights: Weights) -> str:
    if name is None:
        return f"{checkpoint.run}-{checkpoint.step}" + ("-raw" if weights == "raw" else "")
    plain = check_key(name, "--name")
    if "/" in plain or "\\" in plain or plain.startswith((".", TEMPORARY_MARK)):
        raise UserError("--name", f"{name!r} is no folder name", "use letters, digits, - and _")
    return plain


def _trial_order(
    workspace: Workspace, plan: _Plan, package: Path, reporter: Reporter
) -> TrialOrder:
    """What to draw: the first held-out face of the corpus, or a plain request without one."""
    config = workspace.config
    resolution = plan.history.resolution(config.model.resolution)
    names = guidance_maps(package) if "guidance_encoder" in plan.folders else ()
    prompt = template_caption(config.preprocess.caption_template, {"emotion": "happy"})
    maps = {name: torch.zeros(3, resolution, resolution) for name in names}
    try:
        corpus = Corpus.open(workspace)
        row = corpus.split(config.split.validation_name).iloc[0]
        maps = corpus.maps(row["key"], resolution, names) if names else {}
        prompt = str(row["caption"] or prompt)
    except SfeError as error:
        reporter.say(f"checking the package without the corpus ({error})")
    return TrialOrder(
        name=plan.name,
        prompt=prompt,
        maps=maps,
        resolution=resolution,
        steps=min(_TRIAL_STEPS, config.sampling.steps),
        guidance_scale=config.sampling.guidance_scale,
        seed=config.sampling.seed,
    )


def _facts(plan: _Plan, order: TrialOrder) -> CardFacts:
    asset = registry().get(plan.base_name)
    return CardFacts(
        name=plan.name,
        run=plan.checkpoint.run,
        step=plan.checkpoint.step,
        weights=plan.weights,
        maps=tuple(order.maps),
        base_name=plan.base_name if asset else plan.base.name,
        base_sha256=plan.history.meta.base_sha256,
        base_licence=asset.licence if asset else "as its publisher states",
        base_page=asset.page if asset else "",
        corpus_sha256=plan.history.meta.corpus_sha256,
        packaged_at=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        resolution=order.resolution,
        steps_drawn=order.steps,
        prompt=order.prompt,
        metrics=plan.history.metrics,
        run_config=plan.history.config_text,
    )


def _write_papers(partial: Path, plan: _Plan, facts: CardFacts) -> None:
    """README.md, the run's configuration and, last, the provenance with every file's hash."""
    write_text(partial / "README.md", write_card(facts))
    if facts.run_config:
        write_text(partial / "train_config.yaml", facts.run_config)
    provenance: dict[str, Any] = {
        "sfe_version": __version__,
        "packaged_at": facts.packaged_at,
        "run": facts.run,
        "step": facts.step,
        "weights": facts.weights,
        "maps": list(facts.maps),
        "resolution": facts.resolution,
        "base": {"name": facts.base_name, "sha256": facts.base_sha256},
        "corpus_sha256": facts.corpus_sha256,
        "checkpoint_saved_at": plan.history.meta.saved_at,
        "images_seen": plan.history.meta.images_seen,
        "metrics": facts.metrics,
        "files": file_hashes(partial),
    }
    write_json(partial / PROVENANCE, provenance)
