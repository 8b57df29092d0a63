"""What packaging says of a package it made or found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.errors import UserError
from sfe_core.packaging.listing import PROVENANCE
from sfe_core.packaging.selection import Weights

PLAIN_SAMPLE, GUIDED_SAMPLE = "sample.png", "sample_guided.png"


class PackageExists(UserError):
    """A package of that name stands already, and may not be replaced or is of other weights."""


@dataclass(frozen=True)
class PackageSummary:
    """What was packaged.

    Args:
        folder: the pipeline folder.
        origin: where its weights come from, in words.
        weights: ema or raw, as packaged.
        pictures: drawn by the package when it was checked, from text and, if it can, also by maps
            and action units.
        extras: other forms in the folder, each with a line about it.
        size_bytes: of all files.
        reused: it was there already and stands as it was.
    """

    folder: Path
    origin: str
    run: str
    step: int
    weights: Weights
    pictures: tuple[Path, ...]
    extras: dict[str, str]
    size_bytes: int
    reused: bool = False


def summarise(
    folder: Path, origin: str, run: str, step: int, weights: Weights, reused: bool
) -> PackageSummary:
    """The summary of a package that stands."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    pictures = [folder / name for name in (PLAIN_SAMPLE, GUIDED_SAMPLE)]
    return PackageSummary(
        folder=folder,
        origin=origin,
        run=run,
        step=step,
        weights=weights,
        pictures=tuple(path for path in pictures if path.is_file()),
        extras=provenance_of(folder).get("extras", {}),
        size_bytes=sum(path.stat().st_size for path in files),
        reused=reused,
    )


def provenance_of(folder: Path) -> dict[str, Any]:
    """What a package's provenance.json says; empty where it cannot be read."""
    try:
        return json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def is_made_of(folder: Path, origin: str, weights: Weights, form: Any, saved_at: str) -> bool:
    """Whether a package that stands is of this checkpoint, in this form.

    Args:
        folder: of the package.
        origin: where its weights are from.
        weights: which of the run's.
        form: of the options, as JSON.
        saved_at: when the checkpoint was saved.
    """
    said = provenance_of(folder)
    return (
        said.get("source") == origin
        and said.get("weights") == weights
        and said.get("form") == form
        and said.get("checkpoint_saved_at") == saved_at
    )
