"""Images, latents and text embeddings of the training split, ready for a step.

A small split is encoded once and kept in memory in half precision, so that a step costs the UNet
and little else; a large one is read and encoded batch by batch, with the same results to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sfe_core.corpus.dataset import FaceBatch, FaceDataset, collate
from sfe_core.diffusion.loading import BaseModels
from sfe_core.reporting import Reporter

CACHE_BYTES = 1_000_000_000
_ENCODE_BATCH = 16


@dataclass
class Batch:
    """What a step sees of B images.

    Attributes:
        latent_mean, latent_std: [B, C, h, w] float32, the VAE's posterior before its scaling
            factor; a step samples from it, as Stable Diffusion was trained.
        text: [B, L, D], the captions' embeddings.
        maps: name to [B, 3, R, R] in [0, 1].
        images: [B, 3, R, R] in [-1, 1].
    """

    latent_mean: Tensor
    latent_std: Tensor
    text: Tensor
    maps: dict[str, Tensor]
    images: Tensor

    def to(self, device: torch.device) -> Batch:
        """All of it, in float32, on a device."""
        return Batch(
            *(
                part.to(device, torch.float32, non_blocking=True)
                for part in (self.latent_mean, self.latent_std, self.text)
            ),
            maps={name: part.to(device, torch.float32) for name, part in self.maps.items()},
            images=self.images.to(device, torch.float32),
        )


class BatchSource(Protocol):
    """Gives the batches asked for, in order."""

    empty_text: Tensor  # [1, L, D], the embedding of the empty caption

    def batches(self, wanted: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """One batch per list of places in the data set."""
        ...


@torch.no_grad()
def encode(raw: FaceBatch, base: BaseModels) -> Batch:
    """Encode images by the VAE and captions by the text encoder, on their device."""
    device = base.vae.device
    images = raw["image"].to(device)
    posterior = base.vae.encode(images).latent_dist
    return Batch(
        latent_mean=posterior.mean,
        latent_std=posterior.std,
        text=base.encode_text(list(raw["caption"])),
        maps=raw["maps"],
        images=images,
    )


class CachedSource:
    """The whole split, encoded, in memory; latents in float32, the rest in half precision."""

    def __init__(self, dataset: FaceDataset, base: BaseModels, reporter: Reporter) -> None:
        self.empty_text = base.encode_text([""])
        places: dict[str, int] = {}  # caption to row of self._texts; captions repeat a lot
        texts: list[Tensor] = []
        parts: list[Batch] = []
        caption_of: list[int] = []
        loader = DataLoader(dataset, batch_size=_ENCODE_BATCH, collate_fn=collate)
        with reporter.task("Encoding the training split", len(dataset)) as task:
            for raw in loader:
                batch = encode(raw, base)
                for row, caption in enumerate(raw["caption"]):
                    if caption not in places:
                        places[caption] = len(texts)
                        texts.append(batch.text[row].cpu().half())
                    caption_of.append(places[caption])
                parts.append(batch)
                task.advance(len(raw["key"]))
        self._texts = torch.stack(texts)
        self._caption_of = torch.tensor(caption_of)
        self._mean = torch.cat([part.latent_mean.cpu() for part in parts])
        self._std = torch.cat([part.latent_std.cpu() for part in parts])
        self._images = torch.cat([part.images.cpu().half() for part in parts])
        self._maps = {
            name: torch.cat([part.maps[name].half() for part in parts]) for name in parts[0].maps
        }

    def batches(self, wanted: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """One batch per list of places in the data set."""
        for indices in wanted:
            rows = torch.tensor(indices)
            yield Batch(
                latent_mean=self._mean[rows],
                latent_std=self._std[rows],
                text=self._texts[self._caption_of[rows]],
                maps={name: stored[rows] for name, stored in self._maps.items()},
                images=self._images[rows],
            )


class StreamedSource:
    """A split too large for memory: read by worker processes, encoded batch by batch."""

    def __init__(self, dataset: FaceDataset, base: BaseModels, workers: int) -> None:
        self._dataset, self._base, self._workers = dataset, base, workers
        self.empty_text = base.encode_text([""])

    def batches(self, wanted: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """One batch per list of places in the data set."""
        loader = DataLoader(
            self._dataset,
            batch_sampler=wanted,  # type: ignore[arg-type]  # any iterable of index lists does
            num_workers=self._workers,
            collate_fn=collate,
        )
        for raw in loader:
            yield encode(raw, self._base)


def open_source(
    dataset: FaceDataset, base: BaseModels, workers: int, reporter: Reporter
) -> BatchSource:
    """Cache the split if it takes less than `CACHE_BYTES`, else stream it."""
    if cache_bytes(dataset, base) <= CACHE_BYTES:
        return CachedSource(dataset, base, reporter)
    return StreamedSource(dataset, base, workers)


def cache_bytes(dataset: FaceDataset, base: BaseModels) -> int:
    """Upper bound of what `CachedSource` would keep (as if no caption came twice)."""
    pixels = 3 * dataset.resolution**2 * (1 + len(dataset.maps))
    latents = 2 * base.vae.config.latent_channels * (dataset.resolution // base.vae_factor) ** 2
    text = base.tokenizer.model_max_length * base.text_encoder.config.hidden_size
    return len(dataset) * (2 * pixels + 4 * latents + 2 * text)
