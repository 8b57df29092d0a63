"""The training split's latents and text embeddings on disk, so that no encoder stays in memory.

A latent is found by the hash of photo file, view, resolution and VAE, an embedding by that of
caption and text encoder: what was encoded once serves every later run, and what has changed since
is encoded anew. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.families.contract import Texts
from sfe_core.files import sha256_json
from sfe_core.reporting import Reporter
from sfe_core.training.batches.batch import (
    Batch,
    pack_image,
    pack_maps,
    pack_text,
    time_ids_of,
)
from sfe_core.training.batches.data import ENCODE_BATCH, open_loader
from sfe_core.training.batches.tensor_store import FILE_BYTES, TensorReader, TensorStore

_TEXT_BATCH = 64
_WAIT_S = 1.0


class LatentCache:
    """All stores for one data set.

    Args:
        folder: of all caches of a workspace.
        dataset: the training split.
        encoders: hashed, and used only for what is missing.
        latent_shape: [C, h, w] of a latent.
        text_shape: [L, D] of a caption's embedding.
        pooled_width: numbers of a caption's vector; 0 in a family without.
    """

    def __init__(
        self,
        folder: Path,
        dataset: FaceDataset,
        encoders: Encoders,
        latent_shape: Sequence[int],
        text_shape: Sequence[int],
        pooled_width: int = 0,
    ) -> None:
        self._dataset, self._encoders = dataset, encoders
        self._row_bytes = (
            8 * torch.Size(latent_shape).numel(),
            2 * (torch.Size(text_shape).numel() + pooled_width),
        )
        self._views = [
            view for place in range(len(dataset)) for view in dataset.variation.all_of(place)
        ]
        self._latent_keys = [self._latent_key(view) for view in self._views]
        self._captions = list(dict.fromkeys(["", *dataset.captions]))
        self._text_keys = [
            hashlib.sha256(text.encode()).hexdigest()[:32] for text in self._captions
        ]
        self._latents = TensorStore(folder / f"latents-{encoders.photo_hash()[:16]}")
        text_hash = encoders.text_hash()[:16]
        self._texts = TensorStore(folder / f"texts-{text_hash}")
        self._pooled = TensorStore(folder / f"pooled-{text_hash}") if pooled_width else None

    def missing(self) -> tuple[int, int]:
        """Latents and text embeddings that are not there yet."""
        return len(self._latents.missing(self._latent_keys)), len(self._missing_texts())

    def _missing_texts(self) -> list[str]:
        pooled = self._pooled.missing(self._text_keys) if self._pooled else []
        return list(dict.fromkeys([*self._texts.missing(self._text_keys), *pooled]))

    def missing_bytes(self) -> int:
        """What these will take."""
        return sum(n * size for n, size in zip(self.missing(), self._row_bytes, strict=True))

    def fill(
        self, reporter: Reporter, workers: int = 0, process: int = 0, processes: int = 1
    ) -> None:
        """Encode what is missing; of several processes each its share, until all is there.

        They wait for each other's files, not in a collective, whose watchdog would end long work.
        """
        share = slice(process, None, processes)
        self._fill_texts(self._missing_texts()[share])
        self._fill_latents(self._latents.missing(self._latent_keys)[share], reporter, workers)
        while any(self.missing()):
            time.sleep(_WAIT_S)
            self._latents.refresh()
            self._texts.refresh()
            if self._pooled:
                self._pooled.refresh()

    def source(self, workers: int, images: bool) -> DiskSource:
        """Batches out of the filled cache; see `DiskSource`."""
        rows = {caption: row for row, caption in enumerate(self._captions)}
        texts = self._texts.reader(self._text_keys)
        pooled = self._pooled.reader(self._text_keys) if self._pooled else None
        faces = _CachedFaces(
            self._dataset,
            self._latents.reader(self._latent_keys),
            texts,
            pooled,
            [rows[caption] for caption in self._dataset.captions],
            images,
            self._encoders.family.has_time_ids,
        )
        empty = self._encoders.unconditional(
            Texts(texts[0][None], None if pooled is None else pooled[0][None])
        )
        return DiskSource(faces, empty, workers)

    def _fill_texts(self, keys: list[str]) -> None:
        caption_of = dict(zip(self._text_keys, self._captions, strict=True))
        rows: list[Tensor] = []
        pooled: list[Tensor] = []
        for start in range(0, len(keys), _TEXT_BATCH):
            part = [caption_of[key] for key in keys[start : start + _TEXT_BATCH]]
            encoded = self._encoders.texts(part)
            rows += pack_text(encoded.states).cpu()
            pooled += [] if encoded.pooled is None else pack_text(encoded.pooled).cpu()
        _write(self._texts, keys, iter(rows), self._row_bytes[1])
        if self._pooled:
            _write(self._pooled, keys, iter(pooled), self._row_bytes[1])

    def _fill_latents(self, keys: list[str], reporter: Reporter, workers: int) -> None:
        if not keys:
            return
        view_of = dict(zip(self._latent_keys, self._views, strict=True))
        loader = DataLoader(
            _Photos(self._dataset),
            ENCODE_BATCH,
            sampler=[view_of[key] for key in keys],
            num_workers=workers,
        )

        def latents(advance: Callable[[int], None]) -> Iterator[Tensor]:
            for images in loader:
                yield from torch.cat(self._encoders.photos(images), dim=1).cpu()
                advance(len(images))

        with reporter.task("Encoding the training split", len(keys)) as task:
            _write(self._latents, keys, latents(task.advance), self._row_bytes[0])

    def _latent_key(self, view: View) -> str:
        frame = self._dataset.variation.frame(self._dataset.keys[view.place], view)
        photo = self._dataset.photo_hashes[view.place]
        return sha256_json([photo, self._dataset.resolution, list(map(repr, frame))])[:32]


def _write(store: TensorStore, keys: list[str], rows: Iterator[Tensor], row_bytes: int) -> None:
    """Hand rows to a store, some dozens of megabytes at a time."""
    count = max(1, FILE_BYTES // row_bytes)
    for start in range(0, len(keys), count):
        part = keys[start : start + count]
        store.add(part, torch.stack([next(rows) for _ in part]))


class _Photos(Dataset):
    """Photos alone, of which latents are made."""

    def __init__(self, dataset: FaceDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, view: View) -> Tensor:
        return self._dataset.image(view)


class _CachedFaces(Dataset):
    """A face's batch of one: latent and embedding from the cache, pictures from the corpus."""

    def __init__(
        self,
        dataset: FaceDataset,
        latents: TensorReader,
        texts: TensorReader,
        pooled: TensorReader | None,
        text_of: list[int],
        images: bool,
        time_ids: bool,
    ) -> None:
        self._dataset, self._latents = dataset, latents
        self._texts, self._pooled, self._text_of = texts, pooled, text_of
        self._images, self._time_ids = images, time_ids

    def __getitem__(self, view: View) -> Batch:
        variation = self._dataset.variation
        latent = self._latents[view.place * variation.per_face + variation.number(view)]
        mean, std = latent.chunk(2)
        text = self._text_of[view.place]
        return Batch(
            mean,
            std,
            self._texts[text],
            pack_maps(self._dataset.read_maps(view)),
            pack_image(self._dataset.image(view)) if self._images else None,
            self._dataset.area(view),
            None if self._pooled is None else self._pooled[text],
            time_ids_of(self._dataset, view) if self._time_ids else None,
        )


class DiskSource:
    """Batches out of a filled cache; needs no encoder."""

    def __init__(self, faces: _CachedFaces, empty: Texts, workers: int) -> None:
        self._faces, self._workers = faces, workers
        self.empty_text, self.empty_pooled = empty.states, empty.pooled

    def batches(self, wanted: Iterable[Sequence[View]]) -> Iterator[Batch]:
        """One batch per list of views."""
        yield from open_loader(self._faces, wanted, self._workers, _stack)


def _stack(items: Sequence[Batch]) -> Batch:
    def stacked(part: Callable[[Batch], Tensor]) -> Tensor:
        return torch.stack([part(item) for item in items])

    def stacked_if_any(part: Callable[[Batch], Tensor | None]) -> Tensor | None:
        found = [one for one in map(part, items) if one is not None]
        return torch.stack(found) if found else None

    return Batch(
        stacked(lambda item: item.latent_mean),
        stacked(lambda item: item.latent_std),
        stacked(lambda item: item.text),
        {name: torch.stack([item.maps[name] for item in items]) for name in items[0].maps},
        stacked_if_any(lambda item: item.images),
        stacked_if_any(lambda item: item.areas),
        stacked_if_any(lambda item: item.pooled),
        stacked_if_any(lambda item: item.time_ids),
    )
