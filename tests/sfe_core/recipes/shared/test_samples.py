"""Drawn: which faces, the same each time, and the numbers read off them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from sfe_core.config.picture_sections import EvaluateConfig
from sfe_core.corpus.dataset import FaceDataset, collate
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.loading import load_base
from sfe_core.faces.backends import load_detector
from sfe_core.recipes.shared.samples import (
    Drawn,
    SampleMeter,
    draw_samples,
    make_grid,
    pick_faces,
    top1,
)
from sfe_core.recipes.stableface import build_model
from sfe_core.reporting import Reporter
from sfe_core.training.contract import SamplingStopped


@pytest.fixture
def parts(workspace):
    base = load_base(workspace.config.model.base)
    model = build_model(workspace.config, base)
    faces = FaceDataset(Corpus.open(workspace), "val300", workspace.config.guidance.maps, 32)
    return model, base, faces, workspace.config


def test_faces_of_each_emotion_in_turn():
    emotions = torch.tensor([7, 0, 0, 3, 0, 0, -1, 7])
    assert pick_faces(emotions, 1) == [1, 3, 0]
    assert pick_faces(emotions, 2) == [1, 4, 3, 0, 7]
    # Without labels as many as all eight emotions would give, evenly spaced.
    assert pick_faces(torch.full((32,), -1), 1) == list(range(0, 32, 4))
    assert pick_faces(torch.full((3,), -1), 1) == [0, 1, 2]


def test_rows_are_photo_text_and_guided(parts):
    model, base, faces, config = parts
    untrained = draw_samples(model, base, faces, [0, 2], config)
    grid = make_grid(untrained)
    assert grid.shape == (96, 64, 3) and grid.dtype == np.uint8
    photo = (faces[2]["image"] / 2 + 0.5).permute(1, 2, 0).numpy() * 255
    assert np.abs(grid[:32, 32:] - photo).max() <= 1
    # Encoders that start at zero guide nowhere.
    assert torch.equal(untrained.text, untrained.guided)
    for encoder in model.bank.encoders.values():
        torch.nn.init.normal_(encoder.conv_out.weight, std=0.5)
    guided = draw_samples(model, base, faces, [0, 2], config)
    assert torch.equal(guided.text, untrained.text)
    assert not torch.equal(guided.guided, untrained.guided)


def test_a_face_is_drawn_the_same_in_any_company(parts):
    model, base, faces, config = parts
    together = draw_samples(model, base, faces, [1, 3], config).text
    one_by_one = config.model_copy(
        update={"sampling": config.sampling.model_copy(update={"batch_size": 1})}
    )
    apart = draw_samples(model, base, faces, [1, 3], one_by_one).text
    assert together == pytest.approx(apart, abs=1 / 127)


def test_a_signal_ends_the_drawing(parts):
    model, base, faces, config = parts
    asked = iter([False, False, True])
    with pytest.raises(SamplingStopped):
        draw_samples(model, base, faces, [0], config, lambda: next(asked))
    assert next(asked, None) is None


def test_top1_counts_labels_that_the_judge_knows():
    seen = torch.eye(5)[[0, 1, 2, 2]]
    judge = torch.nn.Module()
    judge.forward = lambda pictures: SimpleNamespace(logits=seen)
    assert top1(judge, torch.zeros(4, 3, 8, 8), torch.tensor([0, 2, 2, 7])) == pytest.approx(2 / 3)
    assert top1(judge, torch.zeros(4, 3, 8, 8), torch.tensor([-1, 7, 6, 5])) is None


def test_a_face_where_it_was_asked_for_has_no_error():
    photo = astronaut()
    landmarks = load_detector("dlib").detect(photo)[0].landmarks
    middle = landmarks.mean(axis=0)
    left, top = (middle - 64).astype(int)
    crop = np.ascontiguousarray(photo[top : top + 128, left : left + 128])
    image = torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1
    asked = torch.from_numpy((landmarks - [left, top]) / 128)
    corpus = SimpleNamespace(points=lambda key: asked)
    faces = {"key": ["a"], "emotion": torch.tensor([1])}
    meter = SampleMeter(EvaluateConfig(), 128, Reporter())
    numbers = meter.measure(Drawn(faces, text=image, guided=image), corpus)
    assert numbers["face_found"] == 1.0 and numbers["guidance_error"] < 8
    shifted = meter.measure(Drawn(faces, text=image, guided=image.roll(16, dims=3)), corpus)
    assert shifted["guidance_error"] > 20
    blank = torch.zeros_like(image)
    nothing = meter.measure(Drawn(faces, text=blank, guided=blank), corpus)
    assert nothing["face_found"] == 0.0 and "guidance_error" not in nothing
    assert nothing["top1"] in (0.0, 1.0) and nothing["top1"] == nothing["top1_text"]


def test_missing_instruments_are_told_of_once(parts, tmp_path):
    *_, faces, _ = parts
    warned = []
    reporter = Reporter()
    reporter.warn = warned.append
    photos = collate([faces[0]])
    samples = Drawn(photos, text=photos["image"], guided=photos["image"])
    settings = EvaluateConfig(judge=str(tmp_path / "none"))
    meter = SampleMeter(settings, 32, reporter)
    for _ in range(2):
        assert "top1" not in meter.measure(samples, faces.corpus)
    assert len(warned) == 1 and "samples are not judged" in warned[0]
