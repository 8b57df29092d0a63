"""Cached and streamed batches are the same batches."""

from __future__ import annotations

import pytest
import torch

from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.loading import load_base
from sfe_core.reporting import Reporter
from sfe_core.training import data
from sfe_core.training.data import CachedSource, StreamedSource, cache_bytes, open_source

WANTED = [[3, 0], [5, 5], [17, 2]]


@pytest.fixture
def parts(workspace):
    base = load_base(workspace.config.model.base)
    dataset = FaceDataset(Corpus.open(workspace), "train", ("depth", "mesh"), 32)
    return dataset, base


@pytest.mark.parametrize("workers", [0, 1])
def test_cached_equals_streamed_to_half_precision(parts, workers):
    dataset, base = parts
    cached = CachedSource(dataset, base, Reporter())
    streamed = StreamedSource(dataset, base, workers)
    assert torch.equal(cached.empty_text, streamed.empty_text)
    pairs = list(zip(cached.batches(WANTED), streamed.batches(WANTED), strict=True))
    assert len(pairs) == len(WANTED)
    for ours, theirs in pairs:
        ours, theirs = (batch.to(torch.device("cpu")) for batch in (ours, theirs))
        for name in ("latent_mean", "latent_std", "text", "images"):
            torch.testing.assert_close(
                getattr(ours, name), getattr(theirs, name), atol=2e-3, rtol=1e-3
            )
        assert set(ours.maps) == {"depth", "mesh"}
        for name, values in ours.maps.items():
            torch.testing.assert_close(values, theirs.maps[name], atol=1e-3, rtol=0)


def test_batches_hold_the_images_asked_for(parts):
    dataset, base = parts
    batch = next(CachedSource(dataset, base, Reporter()).batches([[7]]))
    torch.testing.assert_close(batch.images[0].float(), dataset[7]["image"], atol=1e-3, rtol=0)
    assert batch.latent_std.min() > 0


def test_a_split_too_large_for_memory_is_streamed(parts, monkeypatch):
    dataset, base = parts
    assert isinstance(open_source(dataset, base, 0, Reporter()), CachedSource)
    monkeypatch.setattr(data, "CACHE_BYTES", cache_bytes(dataset, base) - 1)
    assert isinstance(open_source(dataset, base, 0, Reporter()), StreamedSource)


def test_the_estimate_bounds_what_is_kept(parts):
    dataset, base = parts
    source = CachedSource(dataset, base, Reporter())
    stored = [source._mean, source._std, source._images, source._texts, *source._maps.values()]
    assert sum(part.nbytes for part in stored) <= cache_bytes(dataset, base)
