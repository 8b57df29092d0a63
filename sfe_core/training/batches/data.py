"""Where a run's batches come from: memory, the cache on disk, or encoded as they are asked for.

A small split is encoded once and kept in memory, so that a step costs the UNet and little else; a
larger one is encoded once onto disk (`latent_cache`) or, without room for that, batch by batch.
The results are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sfe_core.corpus.dataset import FaceDataset, FaceItem, collate
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.reporting import Reporter
from sfe_core.training.batches.batch import (
    Batch,
    encode,
    pack_image,
    pack_maps,
    pack_text,
    time_ids_of,
)

CACHE_BYTES = 1_000_000_000
ENCODE_BATCH = 16
_PREFETCH = 4  # batches per loader process


class BatchSource(Protocol):
    """Gives the batches asked for, in order."""

    empty_text: Tensor  # [1, L, D], what stands where there is no caption
    empty_pooled: Tensor | None  # [1, P], the same as one vector; None in a family without

    def batches(self, wanted: Iterable[Sequence[View]]) -> Iterator[Batch]:
        """One batch per list of views of the data set's faces."""
        ...


class CachedSource:
    """Every view of the whole split, encoded, in memory.

    Latents are kept in float32, text embeddings and depth in half precision, pictures in bytes.

    Args:
        dataset: the training split.
        encoders: used, not kept.
        reporter: told of the progress.
        images: whether batches hold the photos.
    """

    def __init__(
        self, dataset: FaceDataset, encoders: Encoders, reporter: Reporter, images: bool = True
    ) -> None:
        empty = encoders.no_text()
        self.empty_text, self.empty_pooled = empty.states, empty.pooled
        self._variation = dataset.variation
        places: dict[str, int] = {}  # caption to row of self._texts; captions repeat a lot
        texts: list[Tensor] = []
        pooled: list[Tensor] = []
        parts: list[Batch] = []
        caption_of: list[int] = []
        views = [view for place in range(len(dataset)) for view in dataset.variation.all_of(place)]
        loader = DataLoader(
            dataset,
            ENCODE_BATCH,
            sampler=views,
            collate_fn=collate,
        )
        with reporter.task("Encoding the training split", len(views)) as task:
            for raw in loader:
                batch = encode(raw, encoders)
                for row, caption in enumerate(raw["caption"]):
                    if caption not in places:
                        places[caption] = len(texts)
                        texts.append(pack_text(batch.text[row].cpu()))
                        if batch.pooled is not None:
                            pooled.append(pack_text(batch.pooled[row].cpu()))
                    caption_of.append(places[caption])
                parts.append(_packed(batch, images))
                task.advance(len(raw["key"]))
        self._texts = torch.stack(texts)
        self._pooled = torch.stack(pooled) if pooled else None
        self._time_ids = None
        if encoders.family.has_time_ids:
            self._time_ids = torch.stack([time_ids_of(dataset, view) for view in views])
        self._caption_of = torch.tensor(caption_of)
        self._mean = torch.cat([part.latent_mean for part in parts])
        self._std = torch.cat([part.latent_std for part in parts])
        pictures = [part.images for part in parts if part.images is not None]
        self._images = torch.cat(pictures) if images else None
        self._areas = torch.cat([part.areas for part in parts if part.areas is not None])
        self._maps = {
            name: torch.cat([part.maps[name] for part in parts]) for name in parts[0].maps
        }

    def batches(self, wanted: Iterable[Sequence[View]]) -> Iterator[Batch]:
        """One batch per list of views."""
        per_face = self._variation.per_face
        for views in wanted:
            rows = torch.tensor(
                [view.place * per_face + self._variation.number(view) for view in views]
            )
            batch = Batch(
                latent_mean=self._mean[rows],
                latent_std=self._std[rows],
                text=self._texts[self._caption_of[rows]],
                maps={name: stored[rows] for name, stored in self._maps.items()},
                images=None if self._images is None else self._images[rows],
                areas=self._areas[rows],
                pooled=None if self._pooled is None else self._pooled[self._caption_of[rows]],
                time_ids=None if self._time_ids is None else self._time_ids[rows],
            )
            yield batch.pin_memory() if torch.cuda.is_available() else batch


class StreamedSource:
    """Photos read by loader processes and encoded batch by batch; keeps the encoders."""

    def __init__(
        self, dataset: FaceDataset, encoders: Encoders, workers: int, images: bool = True
    ) -> None:
        self._dataset, self._encoders, self._workers = dataset, encoders, workers
        self._images = images
        empty = encoders.no_text()
        self.empty_text, self.empty_pooled = empty.states, empty.pooled

    def batches(self, wanted: Iterable[Sequence[View]]) -> Iterator[Batch]:
        """One batch per list of views."""
        faces = _PackedFaces(self._dataset, self._encoders.family.has_time_ids)
        for raw in open_loader(faces, wanted, self._workers, _collate_packed):
            unpacked = Batch(*(torch.empty(0),) * 3, raw["maps"], raw["image"]).to(
                self._encoders.device
            )
            assert unpacked.images is not None
            mean, std = self._encoders.photos(unpacked.images)
            text = self._encoders.texts(raw["caption"])
            images = unpacked.images if self._images else None
            ids = raw.get("time_ids")
            yield Batch(
                mean, std, text.states, unpacked.maps, images, raw["area"], text.pooled, ids
            )


class _PackedFaces(Dataset):
    """The data set with its pictures packed, as loader processes hand them over."""

    def __init__(self, dataset: FaceDataset, time_ids: bool) -> None:
        self._dataset, self._time_ids = dataset, time_ids

    def __getitem__(self, view: View) -> tuple[FaceItem, Tensor | None]:
        item = self._dataset[view]
        item |= {"image": pack_image(item["image"]), "maps": pack_maps(item["maps"])}
        return item, time_ids_of(self._dataset, view) if self._time_ids else None


def _collate_packed(items: Sequence[tuple[FaceItem, Tensor | None]]) -> dict[str, Any]:
    batch = collate([face for face, _ in items])
    ids = [one for _, one in items if one is not None]
    told = {"time_ids": torch.stack(ids)} if ids else {}
    return {name: batch[name] for name in ("image", "maps", "caption", "area")} | told


def _packed(batch: Batch, images: bool) -> Batch:
    return Batch(
        batch.latent_mean.cpu(),
        batch.latent_std.cpu(),
        torch.empty(0),
        pack_maps(batch.maps),
        pack_image(batch.images.cpu()) if images and batch.images is not None else None,
        batch.areas,
    )


def open_loader(
    dataset: Dataset, wanted: Iterable[Sequence[View]], workers: int, collate_fn
) -> DataLoader:
    """A loader that stays some batches ahead, and hands them to GPUs from page-locked memory."""
    return DataLoader(
        dataset,
        batch_sampler=wanted,  # type: ignore[arg-type]  # any iterable of lists does
        num_workers=workers,
        collate_fn=collate_fn,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=_PREFETCH if workers else None,
    )


def cache_bytes(
    dataset: FaceDataset,
    latent_shape: Sequence[int],
    text_shape: Sequence[int],
    pooled_width: int = 0,
) -> int:
    """Upper bound of what `CachedSource` would keep (as if no caption came twice).

    Args:
        dataset: the training split.
        latent_shape: [C, h, w] of a latent.
        text_shape: [L, D] of a caption's embedding.
        pooled_width: numbers of a caption's vector; 0 in a family without.
    """
    side = dataset.resolution**2
    pixels = side * sum(2 if name == "depth" else 3 for name in ("image", *dataset.maps))
    latents = 2 * 4 * torch.Size(latent_shape).numel()
    views = len(dataset) * dataset.variation.per_face
    texts = 2 * (torch.Size(text_shape).numel() + pooled_width)
    return views * (pixels + latents) + len(dataset) * texts
