"""Saving a session and going on from it, bit for bit on the CPU.

Of what accelerate's `save_state` would write, the model's weights are left out: they stand in the
same checkpoint as plain diffusers folders, and are read back from there.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import yaml

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.errors import RunError, UserError
from sfe_core.files import TEMPORARY_MARK, atomic_path, write_json
from sfe_core.training.build import CONFIG, Session
from sfe_core.training.checkpoints import META, CheckpointMeta, prune, read_meta
from sfe_core.training.networks import GUIDANCE, load_networks, save_networks
from sfe_core.training.runlog import Window

STATE = "state"


def save_checkpoint(session: Session) -> Path:
    """Write `checkpoint-<step>/` atomically, then delete those beyond `train.keep_checkpoints`.

    Every process must call it: each has a random state of its own to save.
    """
    target = session.run / f"checkpoint-{session.step}"
    accelerator = session.accelerator
    # All processes write below one temporary name; the main one makes it final.
    shared = session.run / f"{TEMPORARY_MARK}{target.name}"
    accelerator.save_state(str(shared / STATE))
    if accelerator.is_main_process:
        save_networks(shared, session.model, "")
        if session.ema is not None:
            save_networks(shared, session.ema.model, "_ema")
        write_json(shared / META, _meta(session).to_json())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with atomic_path(target) as partial:
            shared.rename(partial)
        prune(session.run, session.config.train.keep_checkpoints)
    accelerator.wait_for_everyone()
    return target


def leave_weights_out(session: Session) -> None:
    """Keep accelerate from writing and reading the model's weights itself."""
    session.accelerator.register_save_state_pre_hook(
        lambda models, weights, folder: weights.clear()
    )
    session.accelerator.register_load_state_pre_hook(lambda models, folder: models.clear())


def load_checkpoint(session: Session, checkpoint: Path) -> None:
    """Put a checkpoint's weights, optimiser, averages, step and running means in the session.

    Raises:
        UserError: the checkpoint is of another base model or other guidance encoders.
        RunError: it is torn.
    """
    meta = read_meta(checkpoint)
    _check_same_model(session, checkpoint, meta)
    try:
        load_networks(checkpoint, session.model, "")
        if session.ema is not None:
            load_networks(checkpoint, session.ema.model, "_ema" if meta.has_ema else "")
        session.accelerator.load_state(str(checkpoint / STATE))
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            checkpoint, f"cannot be resumed ({error})", "choose an older checkpoint of the run"
        ) from error
    if session.hashes and meta.corpus_sha256 != session.hashes["corpus"]:
        session.reporter.warn(f"the corpus has changed since {checkpoint.name} was saved")
    session.step = meta.step
    session.window = Window(meta.window)


def changed_fields(session: Session) -> list[str]:
    """Where sfe.yaml now differs from the run's config.yaml, as `section.field: now, was before`.

    Only the sections that bear on learning are compared. The present values hold.
    """
    path = session.run / CONFIG
    if not path.is_file():
        return []
    before = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    now = session.config.model_dump(mode="json")
    return [
        f"{section}.{name}: {value}, was {before[section][name]}"
        for section in ("model", "guidance", "train", "data", "loss")
        for name, value in now[section].items()
        if name in before.get(section, {}) and before[section][name] != value
    ]


def _meta(session: Session) -> CheckpointMeta:
    return CheckpointMeta(
        step=session.step,
        images_seen=session.step * session.plan.effective_batch,
        saved_at=datetime.now(timezone.utc).isoformat(),
        base=session.config.model.base,
        base_sha256=session.hashes["base"],
        corpus_sha256=session.hashes["corpus"],
        has_ema=session.ema is not None,
        window=session.window.state(),
    )


def _check_same_model(session: Session, checkpoint: Path, meta: CheckpointMeta) -> None:
    config = GuidanceBank.load_config(checkpoint / GUIDANCE)
    now = session.model.bank.config
    for name in ("maps", "block_channels"):
        if list(config[name]) != list(now[name]):
            raise UserError(
                f"guidance.{name}",
                f"{list(now[name])}, but {checkpoint.parent.name} was trained with "
                f"{list(config[name])}",
                "restore it, or start a new run without --resume",
            )
    if session.hashes and meta.base_sha256 != session.hashes["base"]:
        raise UserError(
            "model.base",
            f"{session.config.model.base} is not what {checkpoint.parent.name} started from "
            f"({meta.base})",
            "restore it, or start a new run without --resume",
        )
