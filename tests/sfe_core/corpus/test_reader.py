"""Reading a corpus: ranges, shapes, splits, errors, batches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset, collate
from sfe_core.corpus.layout import artefact
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError, UserError
from tests.sfe_core.corpus.conftest import make_workspace


@pytest.fixture(scope="module")
def corpus(small_corpus: Workspace) -> Corpus:
    return Corpus.open(small_corpus)


def test_image_is_the_crop_in_minus_one_to_one(corpus: Corpus) -> None:
    with Image.open(artefact(corpus.folder, "inputs", "a")) as picture:
        stored = np.asarray(picture).astype(np.float32)
    image = corpus.image("a", 64)
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32
    assert np.allclose(image.permute(1, 2, 0).numpy(), stored / 127.5 - 1, atol=1e-6)
    small = corpus.image("a", 32)
    assert small.shape == (3, 32, 32) and small.abs().max() <= 1
    assert torch.allclose(small.mean(), image.mean(), atol=0.02)


def test_maps_are_in_zero_to_one_and_depth_keeps_its_bits(corpus: Corpus) -> None:
    maps = corpus.maps("a", 64)
    assert list(maps) == ["landmarks", "depth", "mesh"]
    for value in maps.values():
        assert value.shape == (3, 64, 64) and value.min() >= 0 and value.max() <= 1
    with Image.open(artefact(corpus.folder, "depth", "a")) as picture:
        stored = np.asarray(picture).astype(np.float64) / 65535
    assert np.allclose(maps["depth"][1].numpy(), stored, atol=1e-6)
    assert len(torch.unique(maps["depth"])) > 256
    # The mesh covers the face: its middle is lit, and as near as the eyes' plane or nearer.
    assert maps["mesh"][:, 36, 32].min() > 0.1 and maps["depth"][0, 36, 32] > 0.5
    assert list(corpus.maps("a", 32, ["depth"])) == ["depth"]
    with pytest.raises(UserError, match="landmarks, depth, mesh"):
        corpus.maps("a", 32, ["normals"])


def test_points_lie_where_the_map_is_drawn(corpus: Corpus) -> None:
    points = corpus.points("a")
    assert points.shape == (68, 2) and points.min() > 0 and points.max() < 1
    drawn = corpus.maps("a", 64, ["landmarks"])["landmarks"].amax(0)
    columns, rows = (points * 64).long().T
    assert (drawn[rows, columns] > 0.2).float().mean() > 0.95


def test_splits(corpus: Corpus) -> None:
    train, held = corpus.split("train"), corpus.split("val300")
    assert len(train) + len(held) == 4 == len(corpus.rows)
    assert list(train["key"]) == sorted(train["key"])
    with pytest.raises(UserError, match=r"'test' holds no picture.*train \(\d\).*val300"):
        corpus.split("test")


def test_hash_follows_what_is_learnt_from(small_corpus: Workspace, corpus: Corpus) -> None:
    again = Corpus.open(small_corpus)
    assert again.sha256 == corpus.sha256
    again.rows.loc[0, "caption"] = "another"
    del again.__dict__["sha256"]
    assert again.sha256 != corpus.sha256


def test_dataset_and_batches(corpus: Corpus) -> None:
    dataset = FaceDataset(corpus, "train", ("depth", "landmarks"), 32)
    item = dataset[0]
    assert item["key"] == dataset.keys[0] and list(item["maps"]) == ["depth", "landmarks"]
    both = {
        entry["key"]: entry
        for split in ("train", "val300")
        for entry in FaceDataset(corpus, split, (), 32)
    }
    assert (
        both["a"]["emotion"] == 1 and both["b/grey"]["emotion"] == 2 and both["c"]["emotion"] == -1
    )
    assert both["a"]["valence"] == 0.8 and math.isnan(both["b/flipped"]["arousal"])
    batch = collate([dataset[n] for n in range(2)])
    assert batch["image"].shape == (2, 3, 32, 32)
    assert batch["maps"]["depth"].shape == (2, 3, 32, 32)
    assert batch["emotion"].dtype == torch.int64 and batch["valence"].dtype == torch.float32
    assert torch.equal(batch["emotion"], dataset.emotions[:2])


def test_errors_say_what_to_run(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(UserError, match="sfe preprocess"):
        Corpus.open(make_workspace(tmp_path))
    with pytest.raises(UserError, match="no picture 'lawn'"):
        corpus.points("lawn")
    with pytest.raises(RunError, match=r"gone\.png.*sfe preprocess"):
        corpus.image("gone", 32)


def test_corpus_without_a_usable_photo_is_an_error(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    Image.new("RGB", (60, 60)).save(workspace.photos / "a.png")
    summary = preprocess(workspace)
    assert summary.preview is None and summary.mean_fit_error is None
    with pytest.raises(UserError, match="none of 1 photos has status ok"):
        Corpus.open(workspace)
