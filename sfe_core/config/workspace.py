"""A workspace: the folder with sfe.yaml, and where everything in it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfe_core.config.model import Config


@dataclass(frozen=True)
class Workspace:
    """A folder and its effective configuration."""

    root: Path
    config: Config

    @property
    def photos(self) -> Path:
        """Input images, any depth of sub-folders."""
        return self.root / self.config.photos.folder

    @property
    def corpus(self) -> Path:
        """What preprocess writes; `manifest.parquet` is its index."""
        return self.root / "corpus"

    @property
    def exported(self) -> Path:
        """Shards of the corpus for training from object storage."""
        return self.root / "exported"

    @property
    def cache(self) -> Path:
        """What can be computed again: latents and text embeddings, by content."""
        return self.root / "cache"

    @property
    def runs(self) -> Path:
        """One folder per training run."""
        return self.root / "runs"

    @property
    def packaged(self) -> Path:
        """One complete pipeline folder per packaged checkpoint."""
        return self.root / "packaged"

    @property
    def generated(self) -> Path:
        """Single drawn pictures, shared by triptych and evaluate."""
        return self.root / "generated"

    @property
    def triptychs(self) -> Path:
        """One folder of triptychs per split."""
        return self.root / "triptychs"

    @property
    def evaluation(self) -> Path:
        """One folder of numbers, plots and report per split."""
        return self.root / "evaluation"
