"""Where a run goes on from, and what has changed since that checkpoint was saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from accelerate.utils.constants import OPTIMIZER_NAME

from sfe_core.config.loading import from_workspace
from sfe_core.config.model import Config
from sfe_core.config.sections import LearningSection, Meaning, fields_that
from sfe_core.errors import RunError, UserError
from sfe_core.training.contract import Fingerprint
from sfe_core.training.engine.checkpoints import (
    find_newest,
    list_checkpoints,
    newest_sound,
    read_meta,
    resolve_checkpoint,
    verify_checkpoint,
)
from sfe_core.wording import listed

CONFIG = "config.yaml"
_RESTORE = "restore it, or start a new run without --resume"
_MOST_NAMED = 6
STATE = "state"  # in a checkpoint
BASE = "model.base"  # what checkpoints name in fields of their own
OPTIMISER = f"{OPTIMIZER_NAME}.bin"  # accelerate's name for it, in STATE


@dataclass(frozen=True)
class Changes:
    """What differs from a checkpoint, each as `section.field: now, was before`.

    Attributes:
        learning: bears on what is learnt.
        harmless: does not.
    """

    learning: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()


def choose_checkpoint(
    runs: Path, resume: str | None, run: str | None, checked: bool = False
) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, its checksums compared, and complaints about newer ones.

    Args:
        runs: the workspace's runs folder.
        resume: None: none; "auto": the newest of `run`, or of the run that was saved last; else
            the path of a run or checkpoint, or a run's name.
        run: name of a run folder.
        checked: checksums were compared already.

    Raises:
        UserError: there is no checkpoint at the place given.
        RunError: the checkpoint given is torn, or every one of the run is.
    """
    if resume is None:
        return None, []
    if resume == "auto":
        newest = next(reversed(list_checkpoints(runs / run)), None) if run else find_newest(runs)
        if newest is None:
            return None, []
    else:
        newest = resolve_checkpoint(resume, runs)
        if newest in (Path(resume), Path(runs) / resume):
            if not checked:
                _require_sound(newest)
            return newest, []
    sound, complaints = newest_sound(newest.parent)
    if sound is None:
        raise RunError(
            newest.parent,
            f"none of its checkpoints is as it was written ({complaints[0]})",
            "start a new run without --resume",
        )
    return sound, [f"{complaint}; going on from {sound.name}" for complaint in complaints]


def changes_since(
    checkpoint: Path,
    config: Config,
    data_sha256: str,
    must_match: Mapping[str, Fingerprint],
    told: Collection[str] = (),
) -> Changes:
    """Where sfe.yaml, the corpus and the models now differ from what a checkpoint was trained with.

    A model is told by its hash, whatever its path, where the checkpoint holds one.

    Args:
        checkpoint: to go on from.
        config: of now.
        data_sha256: of the data.
        must_match: see `Checked`; of what is binding, `require_match` tells.
        told: fields of `train` that were asked for together with resuming, such as more steps.
    """
    before, meta = _config_of(checkpoint), read_meta(checkpoint)
    others = {
        field: not fingerprint.binding and not fingerprint.matches(meta.must_match[field])
        for field, fingerprint in must_match.items()
        if fingerprint.binding or field in meta.must_match
    }
    learning: list[str] = []
    harmless: list[str] = []
    for section, settings in _learning_sections(config):
        quiet = {*fields_that(type(settings), Meaning.OPERATIONAL)}
        if section == "train":
            quiet.update(told)
        models = fields_that(type(settings), Meaning.MODEL)
        for name, value in settings.model_dump(mode="json").items():
            field, was = f"{section}.{name}", before.get(section, {}).get(name, value)
            same = was == value or (name in models and _is_same_place(was, value, checkpoint))
            if others.get(field):
                what = "other weights than before" if same else f"was {was}"
                learning.append(f"{field}: {value}, {what}")
            elif not same:
                kind = harmless if name in quiet or field in others else learning
                kind.append(f"{field}: {value}, was {was}")
    if meta.corpus_sha256 != data_sha256:
        learning.append("the corpus: other images, maps, captions, labels or splits")
    return Changes(tuple(learning), tuple(harmless))


def require_unchanged(checkpoint: Path, changes: Changes) -> None:
    """Stop before a run silently turns into another one.

    Raises:
        UserError: something that bears on learning has changed.
    """
    if changes.learning:
        raise UserError(
            f"--resume {checkpoint.parent.name}",
            f"changed since {checkpoint.name}: " + listed(changes.learning, _MOST_NAMED, "; "),
            "restore that, or add --accept-changes, or start a new run without --resume",
        )


def require_same_form(
    checkpoint: Path,
    config: Config,
    strategy: str,
    must_match: Mapping[str, Fingerprint],
) -> None:
    """Stop where what a checkpoint holds does not fit into the run, whatever was accepted.

    Args:
        checkpoint: to go on from.
        config: of now.
        strategy: a name of `STRATEGY_FILES`.
        must_match: see `Checked`.

    Raises:
        UserError: a `Structural` setting is another one, or a model, or the strategy keeps the
            optimiser in another form.
    """
    before = _config_of(checkpoint)
    for section, settings in _learning_sections(config):
        now = settings.model_dump(mode="json")
        for name in fields_that(type(settings), Meaning.STRUCTURAL):
            was = before.get(section, {}).get(name, now[name])
            if was != now[name]:
                raise UserError(
                    f"{section}.{name}",
                    f"{now[name]}, but {checkpoint.parent.name} was trained with {was}",
                    _RESTORE,
                )
    for field, fingerprint in must_match.items():
        # Hashing takes a while, and a model under the same name is mostly the same.
        renamed = _value(before, field) != _value(config.model_dump(mode="json"), field)
        if fingerprint.binding and renamed:
            require_match(checkpoint, config, field, fingerprint)
    require_form(checkpoint, strategy, strategy.startswith("zero2"))


def require_match(checkpoint: Path, config: Config, field: str, fingerprint: Fingerprint) -> None:
    """Raise a UserError if a checkpoint was trained with another model than a field names now.

    Checkpoints that kept no hash of it are taken at their word.
    """
    meta = read_meta(checkpoint)
    before = meta.must_match.get(field) or (meta.base_sha256 if field == BASE else "")
    if before and not fingerprint.matches(before):
        was = meta.base if field == BASE else _value(_config_of(checkpoint), field)
        raise UserError(
            field,
            f"{_value(config.model_dump(mode='json'), field)} is not what "
            f"{checkpoint.parent.name} started from ({was})",
            _RESTORE,
        )


def _value(settings: Mapping[str, Any], field: str) -> Any:
    section, _, name = field.partition(".")
    return settings.get(section, {}).get(name)


def require_form(checkpoint: Path, strategy: str, by_deepspeed: bool) -> None:
    """Raise a UserError if only one of this run and a checkpoint's is DeepSpeed's."""
    was_deepspeed = not (checkpoint / STATE / OPTIMISER).is_file()
    if was_deepspeed != by_deepspeed:
        raise UserError(
            f"--strategy {strategy}",
            f"{checkpoint.name} was saved {'by' if was_deepspeed else 'without'} DeepSpeed",
            f"go on with --strategy {'zero2' if was_deepspeed else 'ddp or fsdp'}",
        )


def _require_sound(checkpoint: Path) -> None:
    problem = verify_checkpoint(checkpoint)
    if problem is None:
        return
    sound, _ = newest_sound(checkpoint.parent)
    other = f"--resume {sound}" if sound else "start a new run without --resume"
    raise RunError(checkpoint, problem, other)


def _is_same_place(was: str, now: str, checkpoint: Path) -> bool:
    """Whether two names are of one model: older runs kept some paths as they were written."""
    workspace = checkpoint.resolve().parent.parent.parent
    places = [Path(from_workspace(value, workspace)) for value in (was, now)]
    return len({(place.is_absolute(), place.resolve()) for place in places}) == 1


def _learning_sections(config: Config) -> list[tuple[str, LearningSection]]:
    return [(name, section) for name, section in config if isinstance(section, LearningSection)]


def _config_of(checkpoint: Path) -> dict:
    for path in (checkpoint / CONFIG, checkpoint.parent / CONFIG):
        if path.is_file():
            return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {}
