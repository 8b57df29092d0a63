"""Where a face's picture is repeated border: by its square, in every view, from shards too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.config.training_sections import DataConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset, collate
from sfe_core.corpus.export import export_corpus
from sfe_core.corpus.manifest import crop_of
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import View
from sfe_core.corpus.webdataset import ShardStore
from sfe_core.losses.photo_area import photo_mask

R = 64
SQUARES = {
    "upright": {"crop_x": 20.0, "crop_y": 150.0, "crop_side": 120.0},
    "wider": {"crop_x": 100.0, "crop_y": 90.0, "crop_side": 300.0},
    "turned": {"crop_x": 30.0, "crop_y": 90.0, "crop_side": 140.0, "angle": 37.0},
}


def opened(workspace: Workspace, **changes: float) -> FaceDataset:
    """The training split's faces with another square, in all their views; maps none."""
    corpus = Corpus.open(workspace)
    for name, value in changes.items():
        corpus.rows[name] = value
    return FaceDataset(corpus, "train", (), R, DataConfig(flip=0.5, crop_least=0.6, crop_count=2))


def mask_of(dataset: FaceDataset, view: int | View) -> np.ndarray:
    return photo_mask(dataset.area(view)[None], R, R)[0, 0].numpy()


@pytest.mark.parametrize("square", SQUARES)
def test_the_mask_is_where_the_square_lies_in_the_photo(
    small_corpus: Workspace, square: str
) -> None:
    dataset = opened(small_corpus, **SQUARES[square])
    row = dataset.corpus.row(dataset.keys[0])
    for view in (0, *dataset.variation.all_of(0)):
        _, frame = dataset._look(view)
        places = (np.arange(R) + 0.5) / R * frame.side
        across = places + frame.left
        grid = np.meshgrid(across[::-1] if frame.mirrored else across, places + frame.top)
        x, y = np.moveaxis(crop_of(row).to_photo(np.stack(grid, axis=-1), 1), -1, 0)
        within = (x >= 0) & (x <= row["width"]) & (y >= 0) & (y <= row["height"])
        found = mask_of(dataset, view)
        assert (found == within).mean() > 0.999
        assert 0.02 < found.mean() < 0.98


def test_the_landmarks_of_a_view_lie_where_its_picture_shows_them(
    small_corpus: Workspace,
) -> None:
    dataset = opened(small_corpus)
    whole = dataset.corpus.points(dataset.keys[0])
    assert torch.equal(dataset.points(0), whole)
    for view in dataset.variation.all_of(0):
        _, frame = dataset._look(view)
        points = dataset.points(view)
        across = 1 - points[:, 0] if frame.mirrored else points[:, 0]
        back = torch.stack([across, points[:, 1]], dim=1) * frame.side
        back += torch.tensor([frame.left, frame.top])
        assert torch.allclose(back, whole, atol=1e-5)
        assert (points[:, 0] > 0).any()


def test_a_crop_within_its_photo_has_no_border(small_corpus: Workspace) -> None:
    for changes in ({}, {"width": np.nan}, {"crop_side": np.nan}):
        dataset = opened(small_corpus, **changes)
        for place in range(len(dataset)):
            for view in dataset.variation.all_of(place):
                assert mask_of(dataset, view).all()
    whole = {"width": 200, "height": 200, "crop_x": 100.0, "crop_y": 100.0, "crop_side": 200.0}
    assert mask_of(opened(small_corpus, **whole), 0).all()


def test_shards_and_batches_tell_the_same(small_corpus: Workspace, tmp_path: Path) -> None:
    dataset = opened(small_corpus, **SQUARES["turned"])
    export_corpus(dataset.corpus, tmp_path / "shards")
    shards = Corpus(tmp_path, ShardStore(str(tmp_path / "shards")))
    again = FaceDataset(shards, "train", (), R)
    items = [again[place] for place in range(len(again))]
    expected = torch.stack([dataset.area(place) for place in range(len(dataset))])
    assert torch.equal(collate(items)["area"], expected)
    assert not photo_mask(expected, R, R).all()
