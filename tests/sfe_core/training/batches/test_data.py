"""Cached, streamed and on disk: the same batches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sfe_core.config.training_sections import DataConfig
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.loading import load_base
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from sfe_core.training.batches import data, sources
from sfe_core.training.batches.data import CachedSource, StreamedSource, cache_bytes
from sfe_core.training.batches.latent_cache import DiskSource
from sfe_core.training.batches.sources import SourceOptions, open_source

VARIED = DataConfig(flip=0.5, crop_least=0.75, crop_count=2)
WANTED = [
    [View(3), View(0, True, 1)],
    [View(5, False, 1), View(5, True)],
    [View(17), View(2, True)],
]
LATENT, TEXT = (4, 8, 8), (32, 32)


@pytest.fixture
def dataset(workspace) -> FaceDataset:
    """Of which every other face reaches beyond its photo."""
    path = workspace.corpus / MANIFEST
    frame = read_manifest(path)
    frame.loc[::2, "crop_x"] += 8.0
    write_manifest(path, frame)
    return FaceDataset(Corpus.open(workspace), "train", ("depth", "mesh"), 32, VARIED)


@pytest.fixture
def encoders(workspace) -> Encoders:
    return Encoders(workspace.config.model.base)


@pytest.fixture
def opened(workspace, dataset, encoders, tmp_path):
    """Opens a source by the name of a cache."""
    base = load_base(workspace.config.model.base, encoders=False)

    def open_one(cache: str, workers: int = 0, images: bool = True):
        options = SourceOptions(cache, tmp_path / "cache", workers, images)
        return open_source(dataset, base, encoders, options, Reporter())

    return open_one


@pytest.mark.slow
def test_every_source_gives_the_same_batches(opened, dataset, encoders):
    expected = {
        view: (dataset[view], encoders.photos(dataset.image(view)[None])[0][0])
        for views in WANTED
        for view in views
    }
    for cache, workers in (("memory", 0), ("disk", 1), ("none", 0)):
        source = opened(cache, workers)
        torch.testing.assert_close(
            source.empty_text.float(), encoders.texts([""]).states, atol=2e-3, rtol=1e-3
        )
        batches = [batch.to(torch.device("cpu")) for batch in source.batches(WANTED)]
        assert len(batches) == len(WANTED)
        for views, batch in zip(WANTED, batches, strict=True):
            for row, view in enumerate(views):
                item, latent = expected[view]
                # Photos and maps come back from bytes bit for bit.
                assert torch.equal(batch.images[row], item["image"]), cache
                assert torch.equal(batch.maps["mesh"][row], item["maps"]["mesh"]), cache
                depth = item["maps"]["depth"]
                torch.testing.assert_close(batch.maps["depth"][row], depth, atol=5e-4, rtol=0)
                torch.testing.assert_close(batch.latent_mean[row], latent, atol=1e-5, rtol=1e-5)
            text = encoders.texts([dataset.captions[view.place] for view in views]).states
            torch.testing.assert_close(batch.text, text, atol=2e-3, rtol=1e-3)
            assert torch.equal(batch.areas, torch.stack([dataset.area(view) for view in views]))
            assert batch.latent_std.min() > 0


def test_only_a_streamed_source_keeps_the_encoders(opened, encoders):
    for cache, kept in (("memory", False), ("disk", False), ("none", True)):
        opened(cache)
        assert encoders.loaded is kept


def test_photos_are_left_out_where_no_loss_looks_at_them(opened):
    for cache in ("memory", "disk", "none"):
        batch = next(opened(cache, images=False).batches(WANTED))
        assert batch.images is None and batch.to(torch.device("cpu")).images is None


def test_auto_is_memory_then_disk_then_none(opened, dataset, monkeypatch):
    assert isinstance(opened("auto"), CachedSource)
    monkeypatch.setattr(data, "CACHE_BYTES", cache_bytes(dataset, LATENT, TEXT) - 1)
    assert isinstance(opened("auto"), DiskSource)
    _leave_free(monkeypatch, 0)
    assert isinstance(opened("auto"), DiskSource)  # nothing is missing there any more


def _leave_free(monkeypatch, free):
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda place: SimpleNamespace(free=free))


@pytest.mark.parametrize("free", [0, 40_000])  # 40 kB would hold them, and nothing beside
def test_without_room_on_the_disk(free, opened, monkeypatch):
    _leave_free(monkeypatch, free)
    with pytest.raises(UserError, match="data.cache: disk: the latents and texts take \\d+"):
        opened("disk")
    monkeypatch.setattr(data, "CACHE_BYTES", 0)
    assert isinstance(opened("auto"), StreamedSource)


def test_a_small_cache_is_kept_on_a_disk_that_is_nearly_full(opened, monkeypatch):
    _leave_free(monkeypatch, 1_000_000)
    assert isinstance(opened("disk"), DiskSource)


def test_the_estimate_bounds_what_is_kept(opened, dataset):
    source = opened("memory")
    stored = [source._mean, source._std, source._images, source._texts, *source._maps.values()]
    assert sum(part.nbytes for part in stored) <= cache_bytes(dataset, LATENT, TEXT)
