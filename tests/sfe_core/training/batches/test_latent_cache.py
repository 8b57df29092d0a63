"""Latents on disk: encoded once, found by content, made whole by several."""

from __future__ import annotations

import threading

import pytest
import torch

from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.errors import RunError
from sfe_core.reporting import Reporter
from sfe_core.training.batches import latent_cache, tensor_store
from sfe_core.training.batches.latent_cache import LatentCache
from sfe_core.training.batches.tensor_store import TensorStore
from tests.sfe_core.conftest import with_settings


class CountingEncoders(Encoders):
    """Counts what it is asked for."""

    photo_count = text_count = 0

    def photos(self, images):
        self.photo_count += len(images)
        return super().photos(images)

    def texts(self, captions):
        self.text_count += len(captions)
        return super().texts(captions)


def make_cache(workspace, folder, resolution=32, encoders=None, **settings) -> LatentCache:
    data = with_settings(workspace, data=settings).config.data
    dataset = FaceDataset(Corpus.open(workspace), "train", ("depth",), resolution, data)
    encoders = encoders or CountingEncoders(workspace.config.model.base)
    return LatentCache(folder, dataset, encoders, (4, 8, 8), (32, 32))


def test_what_is_there_is_not_encoded_again(workspace, tmp_path):
    first = CountingEncoders(workspace.config.model.base)
    make_cache(workspace, tmp_path, encoders=first).fill(Reporter())
    assert first.photo_count == 18 and first.text_count == 7  # six captions and the empty one
    again = CountingEncoders(workspace.config.model.base)
    cache = make_cache(workspace, tmp_path, encoders=again)
    assert cache.missing() == (0, 0) and cache.missing_bytes() == 0
    cache.fill(Reporter())
    assert not again.loaded  # neither network was read from disk
    assert next(cache.source(0, True).batches([[View(4)]])).latent_mean.shape == (1, 4, 8, 8)


def test_other_content_is_encoded_anew_and_the_rest_kept(workspace, tmp_path, tiny_base):
    make_cache(workspace, tmp_path).fill(Reporter())
    assert make_cache(workspace, tmp_path, resolution=16).missing() == (18, 0)
    assert make_cache(workspace, tmp_path, flip=0.5).missing() == (18, 0)
    assert make_cache(workspace, tmp_path, crop_least=0.8).missing() == (72, 0)
    assert make_cache(workspace, tmp_path, emotions=("sad",)).missing() == (0, 0)
    from tests.tiny import make_tiny_base

    other = Encoders(make_tiny_base(tmp_path / "other", seed=3))
    assert make_cache(workspace, tmp_path, encoders=other).missing() == (18, 7)


def test_an_interrupted_filling_goes_on_where_it_stopped(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_cache, "FILE_BYTES", 5 * 8 * 4 * 8 * 8)  # five latents a file
    monkeypatch.setattr(latent_cache, "ENCODE_BATCH", 2)

    class Tired(CountingEncoders):
        def photos(self, images):
            if self.photo_count >= 12:
                raise KeyboardInterrupt
            return super().photos(images)

    with pytest.raises(KeyboardInterrupt):
        make_cache(workspace, tmp_path, encoders=Tired(workspace.config.model.base)).fill(
            Reporter()
        )
    cache = make_cache(workspace, tmp_path)
    assert cache.missing() == (18 - 10, 0)
    cache.fill(Reporter())
    assert cache._encoders.photo_count == 8
    whole = make_cache(workspace, tmp_path / "whole")
    whole.fill(Reporter())
    wanted = [[View(place) for place in range(18)]]
    ours, theirs = (next(one.source(0, False).batches(wanted)) for one in (cache, whole))
    torch.testing.assert_close(ours.latent_mean, theirs.latent_mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.latent_std, theirs.latent_std, atol=1e-5, rtol=1e-5)


def test_processes_share_the_work_and_wait_for_each_other(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_cache, "_WAIT_S", 0.01)
    caches = [make_cache(workspace, tmp_path) for _ in range(2)]
    # Loaded here: transformers' loading swaps global functions, which threads must not do at once.
    for cache in caches:
        cache._encoders.texts([""])
        cache._encoders.photos(torch.zeros(1, 3, 32, 32))
        cache._encoders.photo_count = 0
    threads = [
        threading.Thread(target=cache.fill, args=(Reporter(), 0, number, 2))
        for number, cache in enumerate(caches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [cache._encoders.photo_count for cache in caches] == [9, 9]
    assert all(cache.missing() == (0, 0) for cache in caches)


def test_a_torn_file_is_named(tmp_path):
    store = TensorStore(tmp_path)
    store.add(["a", "b"], torch.arange(6.0).view(2, 3))
    assert store.missing(["b", "c", "c"]) == ["c"]
    reader = TensorStore(tmp_path).reader(["b", "a", "b"])
    assert len(reader) == 3
    assert reader.rows([0, 1]).tolist() == [[3, 4, 5], [0, 1, 2]]
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match="cannot be read.*delete it"):
        TensorStore(tmp_path)
    assert tensor_store.FILE_BYTES >= 10_000_000  # files small enough to lose, large enough to list
