"""Which rig draws an edit, and what it learnt: whose album, and with which shape."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.assets import locate
from sfe_core.config.layers import read_layer
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.physical.loading import rig_place
from sfe_core.errors import SfeError, UserError
from sfe_core.files import sha256_file
from sfe_core.packaging.album_shape import AlbumShape, read_album_shape
from sfe_core.packaging.listing import RUN_CONFIG, holds_rig, list_packages
from sfe_core.reporting import Reporter
from sfe_core.sampling.settings import weights_sha256

PHYSICAL = "physical"  # the recipe


@dataclass(frozen=True)
class Rig:
    """A rig on disk.

    Args:
        place: a package, the folder of a network, or published weights.
        sha256: of its weights.
        person: whose album it learnt; None: many people's.
        mean_shape: whether it learnt buffers with the album's mean shape.
        shape: that shape, where it came with the package.
    """

    place: Path
    sha256: str
    person: str | None = None
    mean_shape: bool = False
    shape: AlbumShape | None = None


def find_rig(workspace: Workspace, name: str | None, reporter: Reporter) -> Rig:
    """The rig of a name, or else the newest package that holds one, or else the base.

    Args:
        name: of a package, a path, or an asset.
        reporter: told where the base is used.

    Raises:
        UserError: there is none.
    """
    place = _named(workspace, name) if name is not None else _newest(workspace, reporter)
    found = rig_place(place, "--package")
    cache = workspace.generated / "weights.json"
    sha256 = (
        sha256_file(found)
        if found.is_file()
        else weights_sha256(found.parent, (found.name,), cache)
    )
    run = _run_config(place)
    options = run.get("recipe_options") or {}
    return Rig(
        place,
        sha256,
        (run.get("data") or {}).get("person"),
        bool(options.get("mean_shape", False)),
        read_album_shape(place),
    )


def _named(workspace: Workspace, name: str) -> Path:
    for path in (workspace.packaged / name, Path(name).expanduser()):
        if os.path.lexists(path):
            return path
    try:
        return locate(name)
    except UserError as error:
        known = [path.name for path in _rigs(workspace)]
        remedy = f"there are {', '.join(known)}" if known else "train recipe physical, and package"
        raise UserError("--package", f"{name!r} does not exist", remedy) from error


def _newest(workspace: Workspace, reporter: Reporter) -> Path:
    rigs = _rigs(workspace)
    if rigs:
        return rigs[-1]
    if workspace.config.recipe == PHYSICAL:
        try:
            base = locate(workspace.config.model.base)
            rig_place(base, "model.base")
        except UserError:
            pass
        else:
            reporter.say(f"no package yet: drawn by the base, {workspace.config.model.base}")
            return base
    raise UserError(
        workspace.packaged,
        "holds no package of recipe physical",
        "train with `--preset physical` and run `sfe package-checkpoint`, or give --package",
    )


def _rigs(workspace: Workspace) -> list[Path]:
    return [path for path in list_packages(workspace) if holds_rig(path)]


def _run_config(package: Path) -> dict[str, Any]:
    try:
        return read_layer(package / RUN_CONFIG, RUN_CONFIG).values
    except SfeError:  # a package of anybody's, or weights alone
        return {}
