"""Which package `--package` means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace


def find_package(workspace: Workspace, name: str | None) -> Path | None:
    """The folder called `name` below packaged/, or the path; None stays None (the newest).

    Raises:
        UserError: neither is a pipeline's folder; says what it is, lists the packages there are.
    """
    from sfe_core.diffusion.handed_over import require_pipeline
    from sfe_core.errors import UserError
    from sfe_core.packaging.listing import list_packages

    if name is None:
        return None
    known = ", ".join(path.name for path in list_packages(workspace))
    remedy = f"there are {known}" if known else "run `sfe package-checkpoint` first"
    # A run's name is often given for its package's.
    for path in (workspace.packaged / name, Path(name).expanduser(), workspace.runs / name):
        if os.path.lexists(path):  # False too where the name is none that a file can have
            require_pipeline(path, "--package", remedy)
            return path
    raise UserError("--package", f"{name!r} does not exist", remedy)
