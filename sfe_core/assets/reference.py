"""A model that a key of sfe.yaml names: where it lies, what to call it, and whether two are one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sfe_core.assets.registry import registry
from sfe_core.assets.store import locate
from sfe_core.files import sha256_file, sha256_json

# What networks, their bases and FLAME are published in; the rest of a folder explains them.
WEIGHT_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".dat", ".npy", ".npz", ".pkl", ".pt", ".pth", ".safetensors", ".tar"}
)


@dataclass(frozen=True)
class ModelReference:
    """A model by the name of an asset, or by a path.

    `load_workspace` has made a path absolute, as it is meant from the workspace.
    """

    given: str

    @property
    def name(self) -> str:
        """To show: the asset's name, or the last part of the path."""
        return self.given if self.given in registry() else Path(self.given).name

    @property
    def path(self) -> Path:
        """The existing file or folder.

        Raises:
            UserError: see `locate`.
        """
        return locate(self.given)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the weights, whatever their files are called and wherever they lie.

        Raises:
            UserError: see `locate`.
        """
        digests = [_digest(file, *_stamp(file)) for file in self._weights()]
        return digests[0] if len(digests) == 1 else sha256_json(sorted(digests))

    def is_same_as(self, other: ModelReference) -> bool:
        """Whether both are the same weights; reads them only where their sizes are equal.

        Raises:
            UserError: see `locate`.
        """
        if self.path.resolve() == other.path.resolve():
            return True
        sizes = [sorted(file.stat().st_size for file in one._weights()) for one in (self, other)]
        return sizes[0] == sizes[1] and self.sha256 == other.sha256

    def _weights(self) -> list[Path]:
        path = self.path
        if path.is_file():
            return [path]
        files = [file for file in path.rglob("*") if file.is_file()]
        return [file for file in files if file.suffix in WEIGHT_SUFFIXES] or files


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, modified_ns: int) -> str:
    """The stamp makes a file that was replaced meanwhile be read again."""
    del size, modified_ns
    return sha256_file(file)
