"""What is read off pictures: right on real faces, steady over batches, cached by content."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.choices import choose
from sfe_core.evaluation.instruments.measuring import Meter, read_cached
from sfe_core.evaluation.instruments.probes import Batch, weights_sha256
from sfe_core.evaluation.pictures import DrawnPictures, RealPictures
from sfe_core.evaluation.readings import Measured, Readings, load_measured, save_measured
from sfe_core.evaluation.statistics.recognition import UNSEEN_LOGIT
from sfe_core.faces.recognition.reading import cut_faces
from sfe_core.reporting import Reporter
from tests.listening import Listener
from tests.outside_judge import put_outside_judge
from tests.sfe_core.conftest import with_settings


class Bench:
    """A corpus, a meter and a folder of drawn pictures that are the photos themselves."""

    def __init__(self, workspace: Workspace) -> None:
        self.corpus = Corpus.open(workspace)
        self.keys = self.corpus.split("val300")["key"].tolist()[:5]
        self.meter = Meter(choose(workspace).workspace.config)
        self.judge = self.meter.recognisers[0]
        self.real = RealPictures(self.corpus)
        self.drawn = DrawnPictures(workspace.root / "drawn")
        for key in self.keys:
            levels = (self.corpus.image(key, 64) + 1) * 127.5
            self.save(key, levels.round().byte().permute(1, 2, 0).numpy())

    def save(self, key: str, levels: np.ndarray) -> None:
        path = self.drawn.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(path)

    def read(self, keys: list[str] | None = None, pictures=None) -> Readings:
        keys, probes = keys or self.keys, list(self.meter.probes.values())
        read = self.meter.read(
            pictures or self.drawn, keys, self.real, probes, "pictures", Reporter()
        )
        faults = read[self.judge].faults
        columns = {name: measured.columns for name, measured in read.items()}
        return Readings(np.array(keys), faults, columns, self.meter.recognisers)


@pytest.fixture
def bench(evaluable: Workspace) -> Bench:
    return Bench(evaluable)


@pytest.mark.slow
def test_the_photo_drawn_again_is_perfect(bench: Bench):
    read = bench.read()
    assert read.valid.all()
    assert read.column("detector", "detected").tolist() == [1.0] * 5
    # The landmarks asked for were found on the full photo, these on a crop of 64 pixels.
    assert (read.column("detector", "landmark_error") < 8).all()
    assert (read.column("detector", "pose_error") < 10).all()
    assert np.abs(read.column("st-lpips", "distance")).max() < 1e-4
    photo = bench.read(pictures=bench.real)
    np.testing.assert_allclose(read.logits, photo.logits, atol=1e-4)


def test_every_recogniser_reads_every_picture(bench: Bench):
    read = bench.read()
    assert read.recognisers == ("random-judge", "tiny-emotion-loss")
    first, second = (read.column(name, "logits") for name in read.recognisers)
    assert first.shape == second.shape == (5, 8)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(read.logits, first)
    kinds = {name: tool.kind for name, tool in bench.meter.instruments.items()}
    assert kinds["random-judge"] == "judge" and kinds["tiny-emotion-loss"] == "recogniser"


def test_a_moved_face_is_off_by_as_much_as_it_moved(bench: Bench):
    before = bench.read()
    for key in bench.keys:
        levels = np.array(Image.open(bench.drawn.path(key)))
        bench.save(key, np.roll(levels, 6, axis=1))
    after = bench.read()
    found = after.column("detector", "detected") == 1
    assert found.sum() >= 3
    asked = np.stack([bench.corpus.points(key).numpy() for key in bench.keys])
    inter_ocular = np.linalg.norm(asked[:, 36] - asked[:, 45], axis=1)
    expected = 100 * (6 / 64) / inter_ocular
    errors = after.column("detector", "landmark_error")
    np.testing.assert_allclose(errors[found], expected[found], rtol=0.35)
    distances = [read.column("st-lpips", "distance") for read in (before, after)]
    assert (distances[1] > distances[0] + 0.01).all()


def test_batches_do_not_change_readings(bench: Bench):
    together = bench.read()
    bench.meter.batch_size = 1
    alone = bench.read()
    for instrument, columns in together.columns.items():
        for name, values in columns.items():
            np.testing.assert_allclose(alone.column(instrument, name), values, atol=2e-5)


def test_a_batch_too_large_for_memory_is_halved_and_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    whole = bench.read()
    probe = bench.meter.probes["st-lpips"]
    read, sizes = probe.read, []

    def small(batch: Batch):
        sizes.append(len(batch.keys))
        if len(batch.keys) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(batch)

    listener = Listener()
    monkeypatch.setattr(probe, "read", small)
    halved = bench.meter.read(bench.drawn, bench.keys, bench.real, [probe], "pictures", listener)[
        "st-lpips"
    ]
    np.testing.assert_allclose(
        halved.columns["distance"], whole.column("st-lpips", "distance"), atol=2e-5
    )
    assert sizes[0] == 4 and "4 pictures" in listener.warnings[0]
    assert bench.meter.batch_size == 2
    monkeypatch.setattr(probe, "read", lambda batch: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(RunError, match="one picture"):
        bench.meter.read(bench.drawn, bench.keys, bench.real, [probe], "pictures", Reporter())


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
    assert np.isnan(read.column("detector", "detected")[:3]).all()
    assert np.isfinite(read.column("st-lpips", "distance")[3:]).all()
    # BatchNorm is in evaluation mode: the neighbours of a faulty picture read as ever.
    np.testing.assert_allclose(read.logits[4], bench.read([good]).logits[0], atol=2e-5)


def test_readings_are_kept_until_a_picture_or_an_instrument_changes(bench: Bench, tmp_path: Path):
    calls: list[list[str]] = []
    measure = bench.meter.read

    def counted(pictures, keys, originals, probes, *rest):
        calls.append([probe.name for probe in probes])
        return measure(pictures, keys, originals, probes, *rest)

    bench.meter.read = counted

    def read() -> Readings:
        pictures = (bench.drawn, bench.keys, bench.real)
        return read_cached(bench.meter, *pictures, tmp_path / "cache", "base", Reporter())

    first, second = read(), read()
    everything = ["random-judge", "tiny-emotion-loss", "st-lpips", "detector"]
    assert calls == [everything]
    np.testing.assert_array_equal(first.logits, second.logits)
    bench.save(bench.keys[0], np.array(Image.open(bench.drawn.path(bench.keys[1]))))
    read()
    assert calls == [everything] * 2
    # Only the instrument that changed measures again.
    judge = bench.meter.probes[bench.judge]
    torch.nn.init.zeros_(judge.network.head.bias)
    before = judge.instruments[bench.judge]
    changed = dataclasses.replace(before, weights_sha256=weights_sha256(judge.network))
    judge.instruments = {bench.judge: changed}
    read()
    assert calls[2:] == [["random-judge"]]
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    read()
    assert calls[3:] == [everything]
    assert not list((tmp_path / "cache").glob(".sfe-partial*"))


def test_photos_are_not_held_against_themselves(bench: Bench, tmp_path: Path):
    pictures = (bench.real, bench.keys, bench.real)
    read = read_cached(bench.meter, *pictures, tmp_path, "real", Reporter())
    assert "st-lpips" not in read.columns and "detector" in read.columns
    assert np.isnan(read.column("st-lpips", "distance")).all()


def test_readings_of_other_keys_are_not_taken(tmp_path: Path):
    path = tmp_path / "none.npz"
    assert load_measured(path, ["a"]) is None
    path.write_bytes(b"")
    assert load_measured(path, ["a"]) is None
    save_measured(path, ["a"], Measured(np.array([""]), {"x": np.ones(1)}))
    assert load_measured(path, ["b"]) is None
    assert load_measured(path, ["a"]).columns["x"].tolist() == [1.0]


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
    config = with_settings(evaluable, evaluate={"judge": "no-such-judge"})
    with pytest.raises(UserError, match="no-such-judge"):
        Meter(choose(config).workspace.config)


def test_a_judge_that_wants_faces_cut_out_is_shown_them_where_they_are(
    evaluable: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, network = put_outside_judge(tmp_path / "models", monkeypatch)
    bench = Bench(with_settings(evaluable, evaluate={"witnesses": (path,)}))
    blank, *_ = bench.keys
    bench.save(blank, np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    searches = []
    search = bench.meter.faces.finder.find
    monkeypatch.setattr(
        bench.meter.faces.finder, "find", lambda one: searches.append(1) or search(one)
    )
    read = bench.read()
    assert len(searches) == len(bench.keys)  # once for all who ask
    detected = read.column("detector", "detected") == 1
    assert not detected[0] and detected[1:].all()
    # On the picture without a face it is shown the place where the photo has it.
    asked = torch.stack([bench.corpus.points(key) for key in bench.keys]) * 64
    images = torch.stack([bench.drawn.picture(key, 64).image for key in bench.keys])
    shown, wanted = torch.cat(network.shown), cut_faces(images, asked, network.face_square, 16)
    torch.testing.assert_close(shown[0], wanted[0])
    # Elsewhere the found landmarks are near those asked for, and not the same.
    assert 0.001 < (shown[1:] - wanted[1:]).abs().mean() < 0.15
    name = "outsider.bin"
    logits = read.column(name, "logits")
    assert (logits[:, 7] == UNSEEN_LOGIT).all() and np.isfinite(logits).all()
    assert np.isnan(read.column(name, "valence")).all()
    tool = bench.meter.instruments[name]
    assert tool.kind == "witness" and "as dlib finds them, cut to 16 px" in tool.resize
