"""Views of a face: photo and maps cut alike, left and right swapped where they are mirrored."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.training_sections import DataConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset, require_mirrorable
from sfe_core.corpus.layout import artefact
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import WHOLE, Frame, Variation, View
from sfe_core.errors import UserError
from sfe_core.faces.landmark_drawing import MIRROR, PARTS, draw_landmarks

MIRRORED = Frame(mirrored=True)


@pytest.fixture(scope="module")
def corpus(small_corpus: Workspace) -> Corpus:
    return Corpus.open(small_corpus)


def test_the_order_of_mirrored_landmarks_swaps_the_parts() -> None:
    assert sorted(MIRROR) == list(range(68)) and list(MIRROR[MIRROR]) == list(range(68))
    for name, (first, last, *_) in PARTS.items():
        side, _, what = name.partition("_")
        other = {"right": f"left_{what}", "left": f"right_{what}"}.get(side, name)
        assert sorted(MIRROR[first : last + 1]) == list(range(PARTS[other][0], PARTS[other][1] + 1))


def test_pictures_are_turned_and_landmarks_drawn_for_the_mirrored_face(corpus: Corpus) -> None:
    assert torch.equal(corpus.image("a", 64, MIRRORED), corpus.image("a", 64).flip(2))
    plain, turned = corpus.maps("a", 64), corpus.maps("a", 64, frame=MIRRORED)
    for name in ("depth", "mesh"):
        assert torch.equal(turned[name], plain[name].flip(2))
    # By hand: the mirrored points, each called by its mirror image's number.
    points = corpus.points("a").numpy().astype(float)
    points[:, 0] = 1 - points[:, 0]
    by_hand = draw_landmarks(points[MIRROR] * 64, 64)
    ours = (turned["landmarks"] * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(ours - by_hand).mean() < 0.1
    # Turning the drawn map would have given the left eye the right eye's colour.
    naive = plain["landmarks"].flip(2)
    assert (turned["landmarks"] - naive).abs().max() > 0.4
    for drawn in (plain["landmarks"], turned["landmarks"]):
        red, green, blue = drawn
        eye = (green > 0.3) & (blue < 0.5 * green)
        right, left = eye & (red < 0.1 * green), eye & (red > 0.5 * green) & (red < 0.8 * green)
        columns = [float(which.nonzero()[:, 1].float().mean()) for which in (right, left)]
        assert columns[0] < columns[1]  # the right eye is on the picture's left


def test_mirroring_landmarks_of_a_mirrored_photo_gives_its_own_map(corpus: Corpus) -> None:
    # b/flipped is photo a turned; its own landmarks were detected, so they agree to a few pixels.
    # Compared where the parts have sides: brows and eyes, in the upper half.
    detected = corpus.maps("b/flipped", 64, ["landmarks"])["landmarks"]
    derived = corpus.maps("a", 64, ["landmarks"], MIRRORED)["landmarks"]
    naive = corpus.maps("a", 64, ["landmarks"])["landmarks"].flip(2)

    def blurred(picture: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(picture[:, :36], 6)

    right = (blurred(derived) - blurred(detected)).abs().mean()
    assert right < 0.5 * (blurred(naive) - blurred(detected)).abs().mean()


def test_all_pictures_of_a_crop_are_cut_alike(corpus: Corpus) -> None:
    quarter = Frame(0.25, 0.5, 0.5)
    image = corpus.image("a", 32, quarter)
    assert torch.allclose(image, corpus.image("a", 64)[:, 32:64, 16:48], atol=1e-6)
    cut, whole = corpus.maps("a", 32, frame=quarter), corpus.maps("a", 64)
    for name, value in whole.items():
        assert torch.allclose(cut[name], value[:, 32:64, 16:48], atol=1e-6), name
    turned = corpus.maps("a", 32, frame=quarter._replace(mirrored=True))
    assert torch.equal(turned["mesh"], cut["mesh"].flip(2))
    assert torch.equal(corpus.image("a", 48, WHOLE), corpus.image("a", 48))


def test_frames_lie_inside_and_depend_on_key_and_crop_alone() -> None:
    variation = Variation(flip=0.5, crop_least=0.8, crop_count=3)
    frames = [
        variation.frame(key, View(0, crop=crop)) for key in map(str, range(99)) for crop in range(3)
    ]
    assert len(set(frames)) == len(frames)
    for frame in frames:
        assert 0.8 <= frame.side <= 1
        assert min(frame.left, frame.top) >= 0 and max(frame.left, frame.top) + frame.side <= 1
    assert variation.frame("a", View(7, crop=1)) == variation.frame("a", View(3, crop=1))
    assert Variation().frame("a", View(0)) == WHOLE


def test_views_are_drawn_as_often_as_asked_and_numbered_in_order() -> None:
    variation = Variation(flip=0.25, crop_least=0.8, crop_count=3)
    keys = [f"face{number}" for number in range(50)]
    drawn = variation.draw([number % 50 for number in range(4000)], keys, seed=1, step=2)
    assert [view.place for view in drawn[:3]] == [0, 1, 2]
    assert np.mean([view.mirrored for view in drawn]) == pytest.approx(0.25, abs=0.03)
    crops = Counter(view.crop for view in drawn)
    assert all(abs(crops[number] / 4000 - 1 / 3) < 0.03 for number in range(3))
    assert drawn == variation.draw([number % 50 for number in range(4000)], keys, 1, 2)
    assert drawn[:50] != variation.draw(list(range(50)), keys, 1, 3)
    every = variation.all_of(4)
    assert (
        [variation.number(view) for view in every] == list(range(variation.per_face)) == [*range(6)]
    )
    assert Variation().draw([3, 1], keys, 0, 0) == [View(3), View(1)]


def test_a_data_set_gives_views(corpus: Corpus) -> None:
    data = DataConfig(flip=0.5, crop_least=0.7, crop_count=2)
    dataset = FaceDataset(corpus, "train", ("mesh", "landmarks"), 32, data)
    view = View(0, mirrored=True, crop=1)
    frame = dataset.variation.frame(dataset.keys[0], view)
    assert frame.mirrored and frame.side < 1
    item = dataset[view]
    assert torch.equal(item["image"], corpus.image(dataset.keys[0], 32, frame))
    assert torch.equal(
        item["maps"]["landmarks"], corpus.maps(dataset.keys[0], 32, frame=frame)["landmarks"]
    )
    assert item["caption"] == dataset[0]["caption"]


def test_size_and_crop_are_those_of_the_photo_resized_before_it_is_cut(corpus: Corpus) -> None:
    data = DataConfig(flip=0.5, crop_least=0.7, crop_count=2)
    dataset = FaceDataset(corpus, "train", ("mesh",), 32, data)
    (side,) = corpus.rows.loc[corpus.rows["key"] == dataset.keys[0], "crop_side"]
    whole = FaceDataset(corpus, "train", ("mesh",), 32)
    assert whole.size_and_crop(0).tolist() == [round(side), round(side), 0, 0]
    view = View(0, crop=1)
    height, width, top, left = dataset.size_and_crop(view).tolist()
    # Cut there out of the resized picture, it is the view, to the pixel that rounding costs.
    frame = dataset.variation.frame(dataset.keys[0], view)
    large = round(32 / frame.side)
    shown = corpus.image(dataset.keys[0], large)[:, int(top) :, int(left) :][:, :32, :32]
    assert (shown - dataset.image(view)).abs().mean() < 0.1
    assert (height, width) == (round(side), round(side)) and top + 32 <= large
    # A mirrored view is cut out of the mirrored picture.
    *_, turned = dataset.size_and_crop(view._replace(mirrored=True)).tolist()
    assert abs(turned + left + 32 - large) <= 1


def test_maps_that_cannot_be_drawn_anew_are_refused(corpus: Corpus, tmp_path) -> None:
    rows = corpus.rows.copy()
    require_mirrorable(corpus, rows)
    rows.at[1, "landmarks"] = None
    with pytest.raises(UserError, match=r"data.flip: 1 faces have no landmarks .*set it to 0"):
        require_mirrorable(corpus, rows)
    path = artefact(corpus.folder, "landmarks", rows["key"][0])
    before = path.read_bytes()
    try:
        Image.new("RGB", (64, 64), "red").save(path)
        with pytest.raises(UserError, match="data.flip: the map of landmarks of a is not as"):
            require_mirrorable(corpus, corpus.rows)
    finally:
        path.write_bytes(before)
