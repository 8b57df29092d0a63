"""Which package `--package` means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace


def find_package(workspace: Workspace, name: str | None) -> Path | None:
    """The folder called `name` below packaged/, or the path; None stays None (the newest).

    Raises:
        UserError: neither exists; lists the packages there are.
    """
    from sfe_core.errors import UserError
    from sfe_core.packaging.listing import list_packages

    if name is None:
        return None
    for path in (workspace.packaged / name, Path(name).expanduser()):
        if path.is_dir():
            return path
    known = ", ".join(path.name for path in list_packages(workspace))
    remedy = f"there are {known}" if known else "run `sfe package-checkpoint` first"
    raise UserError("--package", f"{name!r} does not exist", remedy)
