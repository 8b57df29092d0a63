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
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.files import sha256_json
from sfe_core.reporting import Reporter
from sfe_core.training.batches.batch import Batch, pack_image, pack_maps, pack_text
from sfe_core.training.batches.data import ENCODE_BATCH, open_loader
from sfe_core.training.batches.tensor_store import FILE_BYTES, TensorReader, TensorStore

_TEXT_BATCH = 64
_WAIT_S = 1.0


class LatentCache:
    """Both stores for one data set.

    Args:
        folder: of all caches of a workspace.
        dataset: the training split.
        encoders: hashed, and used only for what is missing.
        latent_shape: [C, h, w] of a latent.
        text_shape: [L, D] of a caption's embedding.
    """

    def __init__(
        self,
        folder: Path,
        dataset: FaceDataset,
        encoders: Encoders,
        latent_shape: Sequence[int],
        text_shape: Sequence[int],
    ) -> None:
        self._dataset, self._encoders = dataset, encoders
        self._row_bytes = (
            8 * torch.Size(latent_shape).numel(),
            2 * torch.Size(text_shape).numel(),
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
        self._texts = TensorStore(folder / f"texts-{encoders.text_hash()[:16]}")

    def missing(self) -> tuple[int, int]:
        """Latents and text embeddings that are not there yet."""
        return len(self._latents.missing(self._latent_keys)), len(
            self._texts.missing(self._text_keys)
        )

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
        self._fill_texts(self._texts.missing(self._text_keys)[share])
        self._fill_latents(self._latents.missing(self._latent_keys)[share], reporter, workers)
        while any(self.missing()):
            time.sleep(_WAIT_S)
            self._latents.refresh()
            self._texts.refresh()

    def source(self, workers: int, images: bool) -> DiskSource:
        """Batches out of the filled cache; see `DiskSource`."""
        rows = {caption: row for row, caption in enumerate(self._captions)}
        texts = [rows[caption] for caption in self._dataset.captions]
        faces = _CachedFaces(
            self._dataset,
            self._latents.reader(self._latent_keys),
            self._texts.reader(self._text_keys),
            texts,
            images,
        )
        return DiskSource(faces, workers)

    def _fill_texts(self, keys: list[str]) -> None:
        caption_of = dict(zip(self._text_keys, self._captions, strict=True))
        rows: list[Tensor] = []
        for start in range(0, len(keys), _TEXT_BATCH):
            part = [caption_of[key] for key in keys[start : start + _TEXT_BATCH]]
            rows += pack_text(self._encoders.texts(part).states).cpu()
        _write(self._texts, keys, iter(rows), self._row_bytes[1])

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


def _text_key(caption: str) -> str:
    return hashlib.sha256(caption.encode()).hexdigest()[:32]


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
        text_of: list[int],
        images: bool,
    ) -> None:
        self._dataset, self._latents, self._texts = dataset, latents, texts
        self._text_of, self._images = text_of, images
        self.empty_text = texts[0][None]

    def __getitem__(self, view: View) -> Batch:
        variation = self._dataset.variation
        latent = self._latents[view.place * variation.per_face + variation.number(view)]
        mean, std = latent.chunk(2)
        return Batch(
            mean,
            std,
            self._texts[self._text_of[view.place]],
            pack_maps(self._dataset.read_maps(view)),
            pack_image(self._dataset.image(view)) if self._images else None,
            self._dataset.area(view),
        )


class DiskSource:
    """Batches out of a filled cache; needs no encoder."""

    def __init__(self, faces: _CachedFaces, workers: int) -> None:
        self._faces, self._workers = faces, workers
        self.empty_text = faces.empty_text

    def batches(self, wanted: Iterable[Sequence[View]]) -> Iterator[Batch]:
        """One batch per list of views."""
        yield from open_loader(self._faces, wanted, self._workers, _stack)


def _stack(items: Sequence[Batch]) -> Batch:
    def stacked(part: Callable[[Batch], Any]) -> Tensor:
        return torch.stack([part(item) for item in items])

    return Batch(
        stacked(lambda item: item.latent_mean),
        stacked(lambda item: item.latent_std),
        stacked(lambda item: item.text),
        {name: stacked(lambda item, name=name: item.maps[name]) for name in items[0].maps},
        None if items[0].images is None else stacked(lambda item: item.images),
        stacked(lambda item: item.areas),
    )
