"""Photos that an expression is drawn into: where, which are kept, and what is told of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.reader import Corpus
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.expression_mask import expression_mask
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.recipes.personal import SPEC, Personal, by_origin
from sfe_core.recipes.shared import crafted_photos
from sfe_core.recipes.shared.drawn_corpus import SPLIT, DrawnCorpus
from tests.sfe_core.recipes.test_personal import album_workspace, expressions
from tests.tiny_runs import built, step

__all__ = ["expressions"]  # a fixture
READER = {"emotions_read_by": "tiny-emotion-loss"}


class Sees:
    """A recogniser that gives sadness a share and neutral the rest."""

    face_square = None

    def __init__(self, share: float) -> None:
        self.share, self.asked = share, 0

    def __call__(self, images: Tensor) -> EmotionReading:
        self.asked += len(images)
        shares = torch.full((len(images), len(EMOTIONS)), 1e-6)
        shares[:, EMOTIONS.index("sad")] = self.share
        shares[:, 0] = 1 - self.share
        nothing = torch.full((len(images),), float("nan"))
        return EmotionReading(shares.log(), nothing, nothing, torch.zeros(len(images), 1))


def made(root: Path, base: Path, count: int = 1, **options) -> Workspace:
    return album_workspace(
        root, base, {"crafted_photos": count, "prior_steps": 4, **options}, photos=READER
    )


def build(workspace: Workspace, seeing: Sees, monkeypatch) -> Personal:
    monkeypatch.setattr(crafted_photos, "load_recogniser", lambda name: seeing)
    return built(SPEC, workspace, 5, Personal)


def test_round_the_mask_a_photo_stays_as_it_is(tmp_path, tiny_base, monkeypatch):
    small = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.1
    monkeypatch.setattr(Corpus, "points", lambda self, key: small)
    workspace = made(tmp_path, tiny_base)
    recipe = build(workspace, Sees(0.9), monkeypatch)
    drawn = recipe.drawn["crafted"]
    assert drawn.dataset.keys == ["sad/0000"]  # the only one that its recogniser sees
    album = Corpus.open(workspace)
    photo = album.split("train")["key"].tolist()[0]
    before, after = album.image(photo, 32), drawn.dataset[0]["image"]
    mask = expression_mask(album.points(photo)[None], (32, 32), 0.1)[0]
    far, near = mask[0] < 1e-3, mask[0] > 0.9
    assert far.any() and near.any()
    assert (after - before).abs()[:, far].max() <= 2 / 255
    assert (after - before).abs()[:, near].mean() > 0.1


def test_what_shows_something_else_is_drawn_again_and_at_last_left_out(
    tmp_path, tiny_base, monkeypatch
):
    seeing = Sees(0.01)
    with pytest.raises(UserError, match="none of 7 crafted photos shows what was asked"):
        build(made(tmp_path, tiny_base), seeing, monkeypatch)
    assert seeing.asked == 7 * 5
    again = Sees(0.99)
    with pytest.raises(UserError, match="none of 7"):
        build(made(tmp_path, tiny_base), again, monkeypatch)
    assert again.asked == 0  # they are known to be no good


def test_they_are_drawn_once_and_a_run_cut_short_goes_on(tmp_path, tiny_base, monkeypatch):
    seeing = Sees(0.95)
    build(made(tmp_path, tiny_base, 2), seeing, monkeypatch)
    (folder,) = (tmp_path / "crafted_photos").iterdir()
    pictures = sorted((folder / "inputs").rglob("*.png"))
    assert [path.parent.name for path in pictures] == ["sad", "sad"]
    pictures[1].unlink()
    later = Sees(0.95)
    build(made(tmp_path, tiny_base, 2), later, monkeypatch)
    assert later.asked == 1 and pictures[1].exists()


def test_they_are_told_to_the_strength_that_was_seen(tmp_path, tiny_base, expressions, monkeypatch):
    workspace = made(tmp_path, tiny_base, 2, expressions=str(expressions))
    recipe = build(workspace, Sees(0.7), monkeypatch)
    draws, total = step(recipe, count=9)
    assert [slot.origin for slot in draws] == ["album", "class", "crafted"] * 3
    own = [slot for slot in draws if slot.origin == "crafted" and not slot.face.drop_caption]
    assert own
    told = recipe.told(own)
    assert told is not None
    assert np.allclose(told[:, EMOTIONS.index("sad")], 0.7, atol=1e-3)
    assert told.sum() == pytest.approx(0.7 * len(own), abs=1e-2)
    assert set(recipe.drawn["crafted"].dataset.captions) == {"photo of qxz woman"}
    total.backward()


def test_a_recogniser_must_be_named(tmp_path, tiny_base):
    workspace = album_workspace(tmp_path, tiny_base, {"crafted_photos": 1})
    with pytest.raises(UserError, match=r"photos\.emotions_read_by names none"):
        SPEC.check(workspace)


def test_pictures_tell_their_strength_themselves(tmp_path, tiny_base, monkeypatch):
    build(made(tmp_path, tiny_base), Sees(0.9), monkeypatch)
    (picture,) = (tmp_path / "crafted_photos").rglob("inputs/**/*.png")
    with Image.open(picture) as opened:
        assert float(opened.info["sfe:strength"]) == 1.0  # words tell no part of an expression


def test_what_a_picture_tells_of_itself_comes_back(tmp_path):
    points = np.random.default_rng(0).random((68, 2))
    drawn = DrawnCorpus(tmp_path, {}, {"sad/0": "sad", "sad/1": "sad"}, {"sad": "a sad face"}, 32)

    def paint(keys) -> None:
        drawn.save(keys[0], torch.rand(3, 32, 32), strength=0.25, points=points)
        drawn.save(keys[1], torch.rand(3, 32, 32))

    dataset = FaceDataset(drawn.open(Accelerator(cpu=True), paint), SPLIT, (), 32)
    assert np.allclose(dataset.points(0), points, atol=1e-4)
    assert [drawn.strength(key) for key in dataset.keys] == [0.25, 1.0]


def test_errors_count_more_where_a_photo_shows_its_expression(tmp_path, tiny_base, monkeypatch):
    """Of the album's photos and crafted ones, by 1 + emphasis of the square at a landmark."""
    recipe = build(made(tmp_path, tiny_base, emphasis=8.0), Sees(0.9), monkeypatch)
    draws = recipe.draw(0, 0, 9)
    batch = next(iter(recipe.batches([draws]))).to(torch.device("cpu"))
    factors = recipe._emphasis(by_origin(draws), *batch.latent_mean.shape[2:])
    origins = [slot.origin for slot in by_origin(draws)]
    assert factors is not None
    for origin, own in zip(origins, factors, strict=True):
        if origin == "class":
            assert torch.equal(own, torch.ones_like(own))
        else:
            assert 1.0 <= float(own.min()) < 2.0 < float(own.max()) <= 3.0
    more = recipe.loss(recipe.model, batch, draws, draws).total
    recipe.options = recipe.options.model_copy(update={"emphasis": 0.0})
    less = recipe.loss(recipe.model, batch, draws, draws).total
    assert float(more.detach()) > float(less.detach())
