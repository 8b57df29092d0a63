"""The packages of a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sfe_core.config.layers import read_layer
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.guidance_files import (
    BANK_CONFIG,
    EXPRESSIONS_FOLDER,
    FUSION_FOLDER,
    GUIDANCE_FOLDER,
    ONE_TOKEN,
    UNITS_FOLDER,
    bank_maps,
)
from sfe_core.diffusion.physical.loading import RIG_FOLDER
from sfe_core.errors import RunError, SfeError, UserError

PROVENANCE, CARD, RUN_CONFIG = "provenance.json", "README.md", "train_config.yaml"


def list_packages(workspace: Workspace) -> list[Path]:
    """All packaged pipelines of the workspace, in the order they were packaged."""
    found = []
    for path in workspace.packaged.glob(f"*/{PROVENANCE}"):
        try:
            made = json.loads(path.read_text(encoding="utf-8"))["packaged_at"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not path.parent.name.startswith("."):
            found.append((str(made), path.parent.name, path.parent))
    return [folder for _, _, folder in sorted(found)]


def newest_package(workspace: Workspace) -> Path:
    """The pipeline folder packaged last.

    Raises:
        UserError: there is none.
    """
    packages = list_packages(workspace)
    if not packages:
        raise UserError(workspace.packaged, "holds no package", "run `sfe package-checkpoint`")
    return packages[-1]


def holds_rig(package: Path) -> bool:
    """Whether a package is of recipe physical."""
    return (package / RIG_FOLDER).is_dir()


def refuse_rig(package: Path, command: str) -> None:
    """Refuse a package that draws no caption.

    Args:
        package: its folder.
        command: what it was given to.

    Raises:
        UserError: it is of recipe physical.
    """
    if holds_rig(package):
        raise UserError(
            f"{command}: {package.name}",
            "is a rig of recipe physical, which draws faces of photos and no captions",
            f"run `sfe edit PHOTO --package {package.name}`",
        )


def of_package(workspace: Workspace, package: Path) -> Workspace:
    """The workspace as a package is to be asked in it: with its person's album alone, if any."""
    try:
        run = read_layer(package / RUN_CONFIG, RUN_CONFIG).values
    except SfeError:  # a package of anybody's
        return workspace
    return with_person(workspace, (run.get("data") or {}).get("person"))


def with_person(workspace: Workspace, person: str | None) -> Workspace:
    """The workspace with only a person's album in its corpus, unless it asks for one itself."""
    data = workspace.config.data
    if person is None or data.person is not None:
        return workspace
    changed = {"data": data.model_copy(update={"person": person})}
    return Workspace(workspace.root, workspace.config.model_copy(update=changed))


def guidance_maps(package: Path) -> tuple[str, ...]:
    """The maps that a package's guidance encoders read, in their order; empty without encoders.

    Raises:
        RunError: the encoders' config.json is torn.
    """
    folder = package / GUIDANCE_FOLDER
    try:
        return bank_maps(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            folder, f"config.json cannot be read ({error})", "package the checkpoint again"
        ) from error


def action_units(package: Path) -> tuple[str, ...]:
    """The action units that a package may be told as intensities, in its order; empty without.

    Raises:
        RunError: their config.json is torn.
    """
    return _own_config(package, UNITS_FOLDER, "units").get("units", ())


def can_guide(package: Path) -> bool:
    """Whether a package reads face maps, knows units, learnt expressions or fuses them."""
    told = guidance_maps(package) or action_units(package) or expressions(package)
    return bool(told) or has_fusion(package)


def knows_sides(package: Path) -> bool:
    """Whether the action units that a package may be told are left and right apart.

    Raises:
        RunError: their config.json is torn.
    """
    return _own_config(package, UNITS_FOLDER, "units").get("_class_name") != ONE_TOKEN


def expressions(package: Path) -> tuple[str, ...]:
    """The expressions that a package may be told as embeddings, in its order; empty without.

    Raises:
        RunError: their config.json is torn.
    """
    return _own_config(package, EXPRESSIONS_FOLDER, "names").get("names", ())


def has_fusion(package: Path) -> bool:
    """Whether a package holds what fuses a person's features with an expression's."""
    return (package / FUSION_FOLDER).is_dir()


def _own_config(package: Path, part: str, names: str) -> dict[str, Any]:
    """The configuration of a part, what it lists under `names` as a tuple; empty without."""
    folder = package / part
    if not folder.is_dir():
        return {}
    try:
        config = json.loads((folder / BANK_CONFIG).read_text(encoding="utf-8"))
        return {**config, names: tuple(config[names])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            folder, f"config.json cannot be read ({error})", "package the checkpoint again"
        ) from error
