"""Where model files lie: shipped inside the package, or below the assets folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import platformdirs

from sfe_core.assets.registry import Asset, registry
from sfe_core.errors import UserError

EMBEDDED = Path(__file__).parent / "embedded"


def assets_root() -> Path:
    """The folder of fetched model files: $SFE_ASSETS, or the user's data folder."""
    chosen = os.environ.get("SFE_ASSETS", "").strip()
    if chosen:
        return Path(chosen).expanduser().resolve()
    return Path(platformdirs.user_data_dir("sfe", appauthor=False))


def folder_of(asset: Asset) -> Path:
    """The folder that holds (or will hold) the files of `asset`."""
    return EMBEDDED / asset.name if asset.embedded else assets_root() / asset.folder


def path_of(asset: Asset) -> Path:
    """What `locate` returns for `asset`: its one file, or its folder when it has several."""
    folder = folder_of(asset)
    return folder / asset.files[0].path if asset.is_single_file else folder


def missing_files(asset: Asset) -> list[Path]:
    """The files of `asset` that are not on this machine, as paths. Empty: it is present."""
    folder = folder_of(asset)
    if asset.embedded and not asset.files:
        return [] if folder.is_dir() and any(folder.iterdir()) else [folder]
    return [folder / file.path for file in asset.files if not (folder / file.path).is_file()]


def how_to_get(asset: Asset) -> str:
    """The next step towards `asset`, as half a sentence."""
    if asset.embedded:
        return "it is part of the package: install sfe again"
    if asset.fetchable:
        return f"run `sfe assets fetch {asset.name}`"
    target = missing_files(asset)
    place = target[0] if target else path_of(asset)
    return f"accept the licence and download it at {asset.page}, then put it at {place}"


def locate(name_or_path: str | Path) -> Path:
    """The existing path of a model file or folder; never downloads.

    Args:
        name_or_path: the name of an asset (`sfe assets list`), or a path. Names win over paths, so
            write `./tiny-sd` for a folder of that name.

    Raises:
        UserError: the asset is not on this machine (names its licence page and how to get it), or
            it is neither a known name nor an existing path.
    """
    asset = registry().get(str(name_or_path))
    if asset is not None:
        missing = missing_files(asset)
        if not missing:
            return path_of(asset)
        raise UserError(
            f"asset {asset.name}",
            f"{missing[0]} does not exist ({asset.licence}, {asset.page})",
            how_to_get(asset),
        )
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    close = difflib.get_close_matches(str(name_or_path), registry(), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(
        f"asset {name_or_path}",
        "neither a known asset nor an existing path",
        f"{hint}`sfe assets list` shows the names",
    )
