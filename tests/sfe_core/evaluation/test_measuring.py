"""What is read off pictures: right on real faces, steady over batches, cached by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.evaluation.measuring import Meter, landmark_error, read_cached, weights_sha256
from sfe_core.evaluation.pictures import DrawnPictures, RealPictures
from sfe_core.evaluation.readings import Readings, load_readings
from sfe_core.reporting import Reporter


class Bench:
    """A corpus, a meter and a folder of drawn pictures that are the photos themselves."""

    def __init__(self, workspace: Workspace) -> None:
        self.corpus = Corpus.open(workspace)
        self.keys = self.corpus.split("val300")["key"].tolist()[:5]
        self.meter = Meter(workspace.config.evaluate, workspace.config.model.resolution)
        self.real = RealPictures(self.corpus)
        self.drawn = DrawnPictures(workspace.root / "drawn")
        for key in self.keys:
            levels = (self.corpus.image(key, 64) + 1) * 127.5
            self.save(key, levels.round().byte().permute(1, 2, 0).numpy())

    def save(self, key: str, levels: np.ndarray) -> None:
        path = self.drawn.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(path)

    def read(self, keys: list[str] | None = None) -> Readings:
        with Reporter().task("") as task:
            return self.meter.read(self.drawn, keys or self.keys, self.real, task)


@pytest.fixture
def bench(evaluable: Workspace) -> Bench:
    return Bench(evaluable)


def test_landmark_error_has_its_closed_form():
    asked = np.random.default_rng(0).uniform(size=(68, 2))
    asked[36], asked[45] = (0.2, 0.5), (0.6, 0.5)
    moved = asked + np.array([0.03, 0.04])
    assert landmark_error(moved, asked) == pytest.approx(100 * 0.05 / 0.4)
    assert landmark_error(moved * 7, asked * 7) == pytest.approx(12.5)
    assert np.isnan(landmark_error(moved, np.zeros((68, 2))))


def test_the_photo_drawn_again_is_perfect(bench: Bench):
    read = bench.read()
    assert read.valid.all()
    assert read.detected.tolist() == [1.0] * 5
    # The landmarks asked for were found on the full photo, these on a crop of 64 pixels.
    assert (read.landmark_error < 8).all()
    assert np.abs(read.perceptual).max() < 1e-4
    with Reporter().task("") as task:
        photo = bench.meter.read(bench.real, bench.keys, bench.real, task)
    np.testing.assert_allclose(read.logits, photo.logits, atol=1e-4)
    assert np.isnan(photo.perceptual).all()


def test_a_moved_face_is_off_by_as_much_as_it_moved(bench: Bench):
    before = bench.read()
    for key in bench.keys:
        levels = np.array(Image.open(bench.drawn.path(key)))
        bench.save(key, np.roll(levels, 6, axis=1))
    after = bench.read()
    found = after.detected == 1
    assert found.sum() >= 3
    asked = np.stack([bench.corpus.points(key).numpy() for key in bench.keys])
    inter_ocular = np.linalg.norm(asked[:, 36] - asked[:, 45], axis=1)
    expected = 100 * (6 / 64) / inter_ocular
    np.testing.assert_allclose(after.landmark_error[found], expected[found], rtol=0.35)
    assert (after.perceptual > before.perceptual + 0.01).all()


def test_batches_do_not_change_readings(bench: Bench):
    together = bench.read()
    bench.meter.settings = bench.meter.settings.model_copy(update={"batch_size": 1})
    alone = bench.read()
    for name in ("features", "logits", "valence", "arousal", "perceptual", "landmark_error"):
        np.testing.assert_allclose(getattr(alone, name), getattr(together, name), atol=2e-5)


def test_faulty_pictures_are_rows_of_nan_that_say_why(bench: Bench):
    missing, torn, blank, small, good = bench.keys
    bench.drawn.path(missing).unlink()
    bench.drawn.path(torn).write_bytes(bench.drawn.path(torn).read_bytes()[:400])
    bench.save(blank, np.zeros((64, 64, 3), np.uint8))
    bench.save(small, np.array(Image.open(bench.drawn.path(small)).convert("L").resize((48, 48))))
    read = bench.read()
    assert read.faults.tolist() == ["missing", "unreadable", "blank", "", ""]
    assert read.faulty() == {"missing": 1, "unreadable": 1, "blank": 1}
    assert np.isnan(read.logits[:3]).all() and np.isfinite(read.logits[3:]).all()
    assert np.isnan(read.detected[:3]).all() and np.isfinite(read.perceptual[3:]).all()
    # BatchNorm is in evaluation mode: the neighbours of a faulty picture read as ever.
    np.testing.assert_allclose(read.logits[4], bench.read([good]).logits[0], atol=2e-5)


def test_readings_are_kept_until_a_picture_or_an_instrument_changes(bench: Bench, tmp_path: Path):
    calls = []
    measure = bench.meter.read

    def counted(*arguments):
        calls.append(1)
        return measure(*arguments)

    bench.meter.read = counted

    def read() -> Readings:
        pictures = (bench.drawn, bench.keys, bench.real)
        return read_cached(bench.meter, *pictures, tmp_path / "cache", "base", Reporter())

    first, second = read(), read()
    assert len(calls) == 1
    np.testing.assert_array_equal(first.features, second.features)
    bench.save(bench.keys[0], np.array(Image.open(bench.drawn.path(bench.keys[1]))))
    read()
    assert len(calls) == 2
    torch.nn.init.zeros_(bench.meter.judge.head.bias)
    bench.meter.instruments["judge"] = type(bench.meter.instruments["judge"])(
        "judge", weights_sha256(bench.meter.judge), ""
    )
    read()
    assert len(calls) == 3
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    read()
    assert len(calls) == 4
    assert not list((tmp_path / "cache").glob(".sfe-partial*"))


def test_readings_of_other_keys_are_not_taken(bench: Bench, tmp_path: Path):
    with Reporter().task("") as task:
        bench.meter.read(bench.drawn, bench.keys, bench.real, task)
    path = tmp_path / "none.npz"
    assert load_readings(path, bench.keys) is None
    path.write_bytes(b"")
    assert load_readings(path, bench.keys) is None


def test_weights_hash_sees_every_value_and_name():
    layer = torch.nn.Linear(3, 2)
    before = weights_sha256(layer)
    assert weights_sha256(layer) == before
    with torch.no_grad():
        layer.bias[1] += 1e-6
    assert weights_sha256(layer) != before
    assert weights_sha256(torch.nn.Sequential(layer)) != weights_sha256(layer)
    assert len(weights_sha256(torch.nn.BatchNorm2d(2).bfloat16())) == 64


def test_a_missing_judge_is_the_users_error(evaluable: Workspace):
    settings = evaluable.config.evaluate.model_copy(update={"judge": "no-such-judge"})
    with pytest.raises(UserError, match="no-such-judge"):
        Meter(settings, 64)
