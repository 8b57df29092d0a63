"""Saving a session and going on from it, bit for bit on the CPU.

Of what accelerate's `save_state` would write, the model's weights are left out: they stand in the
same checkpoint as plain diffusers folders, and are read back from there.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import torch
from accelerate.checkpointing import load_accelerator_state, save_accelerator_state
from accelerate.utils import DistributedType
from accelerate.utils.constants import SCALER_NAME
from torch import nn

from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK, atomic_path, write_json
from sfe_core.training.engine.checkpoints import META, CheckpointMeta, prune, read_meta
from sfe_core.training.engine.checksums import write_checksums
from sfe_core.training.engine.networks import load_networks, save_networks
from sfe_core.training.engine.nonfinite import not_finite_error
from sfe_core.training.engine.optimiser import give_settings, settings_of
from sfe_core.training.engine.resuming import BASE, OPTIMISER, STATE, require_form, require_match
from sfe_core.training.engine.room import make_room, needed_bytes
from sfe_core.training.engine.run_folder import write_config
from sfe_core.training.engine.runlog import Window
from sfe_core.training.engine.session import Session
from sfe_core.training.parallel.sharding import (
    gathered,
    gathered_state,
    is_sharded,
    scatter,
    scatter_state,
    to_local,
    without_weights,
)


def save_checkpoint(session: Session, metrics: dict[str, float] | None = None) -> Path:
    """Write `checkpoint-<step>/` atomically, then delete those beyond `train.keep_checkpoints`.

    Every process must call it: each has a random state of its own to save.

    Args:
        session: at the step to save.
        metrics: what was measured at this step; by `train.best_metric` the best one is kept.

    Raises:
        RunError: the disk is full; what was saved before is still there.
    """
    target = session.run / f"checkpoint-{session.step}"
    accelerator, metric = session.accelerator, session.config.train.best_metric
    if accelerator.is_main_process:
        averaged = session.ema is not None
        needed = needed_bytes(session.run, session.plan.parameters, averaged)
        make_room(session.run, needed, metric)
    accelerator.wait_for_everyone()
    # All processes write below one temporary name; the main one makes it final.
    shared = session.run / f"{TEMPORARY_MARK}{target.name}"
    _save_state(session, shared / STATE)
    for suffix, held in _held(session):
        model = gathered(session.recipe, held)
        if accelerator.is_main_process:
            save_networks(shared, model, session.recipe.networks, suffix)
    if accelerator.is_main_process:
        session.recipe.save_beside(shared)
        write_config(shared, session.config)
        write_json(shared / META, _meta(session, metrics or {}).to_json())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_checksums(shared)
        with atomic_path(target) as partial:
            shared.rename(partial)
        prune(session.run, session.config.train.keep_checkpoints, metric)
    accelerator.wait_for_everyone()
    return target


def require_finite_weights(session: Session) -> None:
    """Stop before weights that are none are saved as a checkpoint.

    Raises:
        RunError: a weight is NaN or infinite, in this or another process.
    """
    trained = [to_local(p) for p in session.model.parameters() if p.requires_grad]
    broken = torch.stack([(~weight.isfinite()).any() for weight in trained]).any().float()
    if session.accelerator.reduce(broken, reduction="sum").item():
        raise not_finite_error(session.run, session.step, "weights are NaN or infinite")


def leave_weights_out(session: Session) -> None:
    """Keep accelerate from writing and reading the model's weights itself."""
    session.accelerator.register_save_state_pre_hook(
        lambda models, weights, folder: weights.clear()
    )
    session.accelerator.register_load_state_pre_hook(lambda models, folder: models.clear())


def load_checkpoint(session: Session, checkpoint: Path) -> None:
    """Put a checkpoint's weights, optimiser, averages, step and running means in the session.

    Raises:
        UserError: the checkpoint is of another base or other networks, or by a strategy that keeps
            the optimiser in another form.
        RunError: it is torn.
    """
    meta = read_meta(checkpoint)
    for name, fingerprint in session.must_match.items():
        if fingerprint.binding:
            require_match(checkpoint, session.config, name, fingerprint)
    recipe = session.recipe
    try:
        for suffix, held in _held(session):
            model = without_weights(recipe, held)
            load_networks(checkpoint, model, recipe.networks, suffix if meta.has_ema else "")
            scatter(model, held)
        _load_state(session, checkpoint / STATE)
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            checkpoint, f"cannot be resumed ({error})", "choose an older checkpoint of the run"
        ) from error
    session.step = meta.step
    session.skips.total = meta.skipped
    session.window = Window(meta.window)


def _save_state(session: Session, folder: Path) -> None:
    accelerator = session.accelerator
    if not is_sharded(session.model):
        accelerator.save_state(str(folder))
        return
    # As DDP leaves it, so that either can go on from what the other saved.
    state = gathered_state(session.optimiser, accelerator.is_main_process)
    folder.mkdir(parents=True, exist_ok=True)
    save_accelerator_state(
        str(folder), [], [], [], [], accelerator.process_index, accelerator.step, accelerator.scaler
    )
    if accelerator.is_main_process:
        torch.save(state, folder / OPTIMISER)


def _load_state(session: Session, folder: Path) -> None:
    """Put the moments and what else changes from update to update into the session.

    Not the options of the optimiser's groups: those are the configuration's, of now.
    """
    accelerator, settings = session.accelerator, settings_of(session.optimiser)
    by_deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
    require_form(folder.parent, session.plan.topology.strategy, by_deepspeed)
    scaler = accelerator.scaler
    if scaler is not None and not (folder / SCALER_NAME).is_file():
        accelerator.scaler = None  # float16 from now on: it begins to scale here
    try:
        _load_gathered(session, folder)
    finally:
        accelerator.scaler = scaler
    give_settings(session.optimiser, settings)


def _load_gathered(session: Session, folder: Path) -> None:
    accelerator = session.accelerator
    if not is_sharded(session.model):
        accelerator.load_state(str(folder))
        return
    state = torch.load(folder / OPTIMISER, map_location="cpu", weights_only=True, mmap=True)
    scatter_state(state, session.optimiser)
    load_accelerator_state(
        str(folder), [], [], [], [], accelerator.process_index, accelerator.scaler
    )


def _held(session: Session) -> list[tuple[str, nn.Module]]:
    """The suffixes of a checkpoint's networks, and the models they are of."""
    averages = [("_ema", session.ema.model)] if session.ema is not None else []
    return [("", session.model), *averages]


def _meta(session: Session, metrics: dict[str, float]) -> CheckpointMeta:
    digests = {name: each.digest for name, each in session.must_match.items()}
    return CheckpointMeta(
        step=session.step,
        images_seen=session.plan.images_before(session.step),
        saved_at=datetime.now(timezone.utc).isoformat(),
        base=session.config.model.base,
        base_sha256=digests.get(BASE, ""),
        corpus_sha256=session.plan.data_sha256,
        has_ema=session.ema is not None,
        window=session.window.state(),
        skipped=session.skips.total,
        metrics=metrics,
        must_match=digests,
        higher_is_better=session.spec.higher_is_better,
    )
