"""Where the measured pictures come from: models, settings, and what their loss has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import yaml

import sfe_core
from sfe_core.assets.needs import EMOTION_NETWORK
from sfe_core.assets.reference import ModelReference
from sfe_core.config.model import Config
from sfe_core.config.portable import without_places
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.evaluation.instruments.probes import Instrument
from sfe_core.evaluation.instruments.unit_files import is_filed, tool_of
from sfe_core.evaluation.summary import DRAWING_SECTIONS, Provenance
from sfe_core.packaging.listing import PROVENANCE
from sfe_core.sampling.pictures import Series

RUN_CONFIG = "train_config.yaml"  # of a package: the run's configuration


def provenance(
    workspace: Workspace,
    corpus: Corpus,
    package: Path | None,
    series: Mapping[str, Series],
    images: Mapping[str, Path],
) -> Provenance:
    """What was measured; of pictures made elsewhere only the names of their folders are known.

    How those were drawn the workspace's settings do not say, so that they are left out.
    """
    config = workspace.config
    try:
        released = version("sfe")
    except PackageNotFoundError:
        released = sfe_core.__version__
    known = {"evaluate"} if images else {"evaluate", *DRAWING_SECTIONS}
    return Provenance(
        sfe=released,
        torch=torch.__version__,
        base="" if package is None else ModelReference(config.model.base).name,
        package=", ".join(images) if package is None else package.name,
        weights_sha256={name: drawn.settings.weights_sha256 for name, drawn in series.items()},
        corpus_sha256=corpus.sha256,
        loss_networks=list(loss_networks(config, package)),
        settings=without_places(config.model_dump(mode="json", include=known)),
    )


def loss_networks(config: Config, package: Path | None) -> tuple[str, ...]:
    """The networks that a package's fine-tuning optimised against; () where that is not known.

    The package's own record of its run counts; only where it has none, the workspace's settings do.
    """
    if package is None:
        return ()
    loss = _recorded(package, "loss") or config.loss.model_dump(mode="json")
    emotion = ("valence", "arousal", "expression", "features", "crafting_expression")
    used = []
    if any(loss.get(name) for name in emotion):
        used.append(ModelReference(str(loss.get("emotion_network", ""))).name)
    if loss.get("units"):
        used.append(ModelReference(str(loss.get("units_network", ""))).name)
    if loss.get("identity"):
        used.append(ModelReference(str(loss.get("identity_network", ""))).name)
    if loss.get("perceptual"):
        used.append(str(loss.get("perceptual_network", "")))
    return tuple(name for name in used if name)


def labels_read_by(config: Config, package: Path | None) -> list[str]:
    """The networks that read labels which the package or the workspace learnt by, by name."""
    recorded = _recorded(package, "photos").get("labels_read_by", []) if package else []
    read = [*(recorded if isinstance(recorded, list) else []), *config.photos.labels_read_by]
    return list(dict.fromkeys(tool_of(str(name)) for name in read))


def require_apart(config: Config, package: Path | None) -> None:
    """See that the judge of units neither labelled nor steered what a package says it learnt by.

    Raises:
        UserError: it did; of networks that read the workspace's own labels, or that its loss uses,
            the `Meter` sees to it.
    """
    judge = config.evaluate.units_judge
    if not judge:
        return
    reader, filed = tool_of(judge), is_filed(judge)
    if package is not None and reader in loss_networks(config, package):
        problem = f"steered the training of {package.name}"
    elif (package is not None or filed) and reader in labels_read_by(config, package):
        learnt = "the labels" if package is None else f"the labels that {package.name} learnt by"
        problem = f"{reader} read {learnt}" if filed else f"read {learnt}"
    else:
        return
    raise UserError(
        f"evaluate.units_judge: {judge}",
        problem,
        "name a reader that neither labelled nor steered the training",
    )


def seen_by_loss(
    tool: Instrument, model: ModelReference | None, config: Config, package: Path | None
) -> bool:
    """Whether a package's fine-tuning optimised against an instrument's network.

    Args:
        tool: the instrument.
        model: of a recogniser: told by its weights where the package recorded the hash of the
            loss's network or where that is still here, else by its name; None of networks that
            there is only one of by their name.
        config: of the workspace.
        package: what drew the pictures; None of pictures made elsewhere.
    """
    names = loss_networks(config, package)
    if model is None:
        return tool.backend in names
    recorded = _recorded_hash(package)
    used = ModelReference(config.loss.emotion_network)
    with suppress(UserError):  # one of both is gone
        if recorded:
            return model.sha256 == recorded
        if used.name in names:
            return model.is_same_as(used)
    return model.name in names


def _recorded_hash(package: Path | None) -> str:
    """Of the loss's recogniser, as a package has it from its checkpoint; empty without."""
    if package is None:
        return ""
    try:
        record = json.loads((package / PROVENANCE).read_text(encoding="utf-8"))
        return str(record["models"][EMOTION_NETWORK])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _recorded(package: Path, section: str) -> dict[str, object]:
    """A section of the configuration that a package's run was trained by; empty without."""
    try:
        recorded = yaml.safe_load((package / RUN_CONFIG).read_text(encoding="utf-8"))
        found = recorded[section]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
