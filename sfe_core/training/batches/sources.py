"""Which source a run's batches come from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sfe_core.corpus.dataset import FaceDataset
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.loading import BaseModels
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from sfe_core.training.batches import data
from sfe_core.training.batches.data import BatchSource, CachedSource, StreamedSource, cache_bytes
from sfe_core.training.batches.latent_cache import LatentCache
from sfe_core.wording import bytes_told

_SPARE_BYTES = 2_000_000_000  # left on the disk for checkpoints and pictures; half of a fuller disk


@dataclass(frozen=True)
class SourceOptions:
    """How batches are asked for.

    Attributes:
        cache: `data.cache` of sfe.yaml.
        folder: of the caches on disk.
        workers: loader processes.
        images: whether batches hold the photos.
        process, processes: this one of how many.
    """

    cache: str
    folder: Path
    workers: int = 0
    images: bool = True
    process: int = 0
    processes: int = 1


def open_source(
    dataset: FaceDataset,
    base: BaseModels,
    encoders: Encoders,
    options: SourceOptions,
    reporter: Reporter,
) -> BatchSource:
    """Open the source that `options.cache` names; only a streamed one keeps the encoders.

    "auto" is memory if the split fits in `data.CACHE_BYTES`, else disk if there is room, else none.

    Raises:
        UserError: "disk" is asked for, and there is no room.
    """
    side = dataset.resolution // base.vae_factor
    latent = (base.vae.config.latent_channels, side, side)
    lengths = [tokenizer.model_max_length for tokenizer in base.tokenizers.values()]
    # A token's id takes as much as two numbers of its embedding.
    text = (sum(lengths), 2)
    pooled = 0
    if not encoders.tokens:
        text = (lengths[0], base.unet.config.cross_attention_dim)
        pooled = encoders.pooled_width
    kind = options.cache
    if kind == "auto" and cache_bytes(dataset, latent, text, pooled) <= data.CACHE_BYTES:
        kind = "memory"
    if kind == "memory":
        source: BatchSource = CachedSource(dataset, encoders, reporter, options.images)
        encoders.release()
        return source
    if kind in ("auto", "disk"):
        cache = LatentCache(options.folder, dataset, encoders, latent, text, pooled)
        problem = _no_room(cache, options)
        if problem is None:
            cache.fill(reporter, options.workers, options.process, options.processes)
            encoders.release()
            return cache.source(options.workers, options.images)
        if kind == "disk":
            raise problem
        reporter.warn(f"{problem.problem}: latents are computed again in every update")
    return StreamedSource(dataset, encoders, options.workers, options.images)


def _no_room(cache: LatentCache, options: SourceOptions) -> UserError | None:
    wanted = cache.missing_bytes()
    if not wanted:
        return None
    place = next(folder for folder in options.folder.parents if folder.is_dir())
    free = shutil.disk_usage(place).free
    if wanted <= free - min(_SPARE_BYTES, free // 2):
        return None
    return UserError(
        "data.cache: disk",
        f"the latents and texts take {bytes_told(wanted)} in {options.folder}, and "
        f"{bytes_told(free)} are free",
        "free space, lower data.crop_count, or choose none",
    )
