"""What SDXL is told beside the text, through every source of batches."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from sfe_core.config.training_sections import DataConfig
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.loading import load_base
from sfe_core.reporting import Reporter
from sfe_core.training.batches.latent_cache import LatentCache
from sfe_core.training.batches.sources import SourceOptions, open_source
from tests.tiny import make_tiny_workspace
from tests.tiny_sdxl import POOLED_WIDTH, WIDTHS

WANTED = [[View(3), View(0, True, 1)], [View(5, False, 1), View(2, True)]]
HALF = {"atol": 2e-3, "rtol": 1e-3}  # texts are kept in half precision


@pytest.fixture
def dataset(tmp_path, tiny_sdxl) -> FaceDataset:
    """Of which every fourth face was larger in its photo."""
    workspace = make_tiny_workspace(tmp_path / "work", tiny_sdxl, images=12)
    path = workspace.corpus / MANIFEST
    frame = read_manifest(path)
    frame.loc[1::4, "crop_side"] = 99.6
    write_manifest(path, frame)
    data = DataConfig(flip=0.5, crop_least=0.75, crop_count=2)
    return FaceDataset(Corpus.open(workspace), "train", ("mesh",), 32, data)


def opened(cache, dataset, base, folder):
    options = SourceOptions(cache, folder, workers=1 if cache == "disk" else 0)
    return open_source(
        dataset, load_base(base, encoders=False), Encoders(base), options, Reporter()
    )


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_every_source_tells_what_diffusers_would_be_told(cache, dataset, tiny_sdxl, tmp_path):
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    source = opened(cache, dataset, tiny_sdxl, tmp_path / "cache")
    batches = [batch.to(torch.device("cpu")) for batch in source.batches(WANTED)]
    for views, batch in zip(WANTED, batches, strict=True):
        captions = [dataset.captions[view.place] for view in views]
        states, no_states, pooled, no_pooled = pipeline.encode_prompt(captions)
        torch.testing.assert_close(batch.text, states, **HALF)
        torch.testing.assert_close(batch.pooled, pooled, **HALF)
        # A dropped caption is to SDXL what a prompt that was not given is.
        assert torch.equal(source.empty_text.float(), no_states[:1])
        assert torch.equal(source.empty_pooled.float(), no_pooled[:1])
        ids = [[*dataset.size_and_crop(view).tolist(), 32, 32] for view in views]
        assert batch.time_ids.tolist() == ids
    sizes = torch.cat([batch.time_ids for batch in batches])
    assert set(sizes[:, 0].tolist()) == {100.0, 32.0} and sizes[:, 2:4].max() > 0


def test_a_filled_cache_needs_no_encoder_and_a_lost_vector_is_made_again(
    dataset, tiny_sdxl, tmp_path
):
    shapes = ((4, 8, 8), (32, sum(WIDTHS)), POOLED_WIDTH)
    LatentCache(tmp_path, dataset, Encoders(tiny_sdxl), *shapes).fill(Reporter())
    encoders = Encoders(tiny_sdxl)
    again = LatentCache(tmp_path, dataset, encoders, *shapes)
    assert again.missing() == (0, 0) and again.missing_bytes() == 0
    again.fill(Reporter())
    next(again.source(0, True).batches(WANTED))
    assert not encoders.loaded
    (pooled,) = tmp_path.glob("pooled-*")
    for path in pooled.iterdir():
        path.unlink()
    torn = LatentCache(tmp_path, dataset, encoders, *shapes)
    captions = len({"", *dataset.captions})
    assert torn.missing() == (0, captions)
    torn.fill(Reporter())
    assert torn.missing() == (0, 0)


def test_stable_diffusion_1_is_told_nothing_more(tiny_base, tmp_path):
    workspace = make_tiny_workspace(tmp_path / "work", tiny_base, images=12)
    dataset = FaceDataset(Corpus.open(workspace), "train", ("mesh",), 32)
    for cache in ("memory", "disk", "none"):
        source = opened(cache, dataset, tiny_base, tmp_path / "cache")
        batch = next(source.batches([[View(0), View(1)]]))
        assert batch.pooled is None and batch.time_ids is None and source.empty_pooled is None
    assert not list((tmp_path / "cache").glob("pooled-*"))
