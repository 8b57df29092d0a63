"""The readers' training: views, losses, scores, and one made from a handful of faces."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from sfe_core.controls.facial_actions import UNITS
from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionNet
from sfe_core.faces.recognition.tiny_units import TinyUnitsNet
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.synthesis.tiny import views
from sfe_core.synthesis.tiny.cards import write_reader
from sfe_core.synthesis.tiny.faces import Faces
from sfe_core.synthesis.tiny.networks import make_vae
from sfe_core.synthesis.tiny.readers import (
    READERS,
    EmotionObjective,
    IdentityObjective,
    UnitsObjective,
    correlation,
    emotion_details,
    emotion_scores,
    rows_to_learn,
    units_details,
    units_scores,
    verification,
)
from sfe_core.synthesis.tiny.recognition import ReaderBuild, TrainingFaces
from sfe_core.synthesis.tiny.settings import SETTINGS
from sfe_core.synthesis.tiny.views import (
    DEGRADATIONS,
    DecodedFaces,
    RandomViews,
    blurred,
    compressed,
    decode_faces,
)

SMALL = replace(
    SETTINGS, image_px=32, vae_channels=(16, 16), reader_batch=4, units_updates=3, emotion_updates=3
)


SETTINGS_PEOPLE = {
    name.removesuffix("_faces"): chosen.identities
    for name, chosen in vars(SETTINGS).items()
    if name.endswith("_faces")
}


def some_faces(count: int = 16, side: int = 32, seed: int = 0) -> Faces:
    rng = np.random.default_rng(seed)
    words = np.array(["a face"] * count)
    return Faces(
        images=rng.integers(0, 256, (count, side, side, 3)).astype(np.uint8),
        emotion=np.arange(count) % len(EMOTIONS),
        valence=rng.uniform(-1, 1, count),
        arousal=rng.uniform(-1, 1, count),
        units_left=rng.uniform(0, 5, (count, len(UNITS))),
        units_right=rng.uniform(0, 5, (count, len(UNITS))),
        identity=np.arange(count) // 3,
        named=words,
        unnamed=words,
    )


def smooth_images(count: int = 4, side: int = 32) -> torch.Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse * 1.6 - 0.8, size=(side, side), mode="bilinear")


def test_each_picture_is_blurred_by_its_own_sigma():
    images = torch.rand(2, 3, 24, 24)
    found = blurred(images, torch.tensor([0.7, 2.0]))
    for image, result, sigma in zip(images, found, (0.7, 2.0), strict=True):
        # Six standard deviations to either side: the cut-off tails differ by less than 1e-3.
        assert torch.allclose(result, gaussian_blur(image, [13, 13], [sigma] * 2), atol=2e-3)


def test_jpeg_of_a_lower_quality_is_further_off():
    images = smooth_images(2) + 0.1 * torch.rand(2, 3, 32, 32)
    errors = [
        (compressed(images, torch.tensor([quality] * 2)) - images).abs().mean()
        for quality in (95, 40, 5)
    ]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_every_degradation_keeps_the_shape_and_all_but_the_first_change_something():
    images = smooth_images(side=64) + 0.1 * torch.rand(4, 3, 64, 64)
    for name, change in DEGRADATIONS.items():
        found = change(images)
        assert found.shape == images.shape
        assert torch.equal(found, images) == (name == "as photographed"), name
        assert torch.equal(change(images), found), name  # scores can be had again


def test_views_are_seeded_and_their_mirrors_told(monkeypatch):
    images = smooth_images(8)
    first, second = (RandomViews(3)(images) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], RandomViews(4)(images)[0])
    monkeypatch.setattr(views, "STILL_CHANCE", 1.1)
    mirrored = torch.tensor([True, False] * 4)
    moved = RandomViews(0)._moved(images, mirrored)
    expected = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_views_of_a_face_stay_near_it():
    images = smooth_images(64)
    seen, mirrored = RandomViews(1)(images)
    expected = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    similar = F.cosine_similarity(seen.flatten(1), expected.flatten(1))
    assert similar.median() > 0.7 and similar.max() < 1


def test_all_faces_are_learnt_from_before_any_comes_again():
    learnt = TrainingFaces([some_faces(5), some_faces(6, seed=1)], [], 0)
    rows = learnt.batches(4)
    seen = torch.cat([next(rows) for _ in range(22 // 4 + 1)])
    assert sorted(seen[:11].tolist()) == list(range(11))
    assert np.array_equal(learnt.images(torch.tensor([2]))[0], learnt.sets[0].images[2])
    assert np.array_equal(learnt.images(torch.tensor([7]))[0], learnt.sets[1].images[2])


def test_decoded_faces_take_their_places_as_often_as_they_should():
    sets = [some_faces(5), some_faces(6, seed=1)]
    nothing = DecodedFaces(np.array([], int), np.empty((0, 32, 32, 3), np.uint8))
    black = DecodedFaces(np.array([3]), np.zeros((1, 32, 32, 3), np.uint8))
    learnt = TrainingFaces(sets, [nothing, black], 0)
    shown = learnt.images(torch.tensor([8] * 600 + [3]))
    assert 0.5 < (shown[:600].max((1, 2, 3)) == 0).mean() < 0.7
    assert shown[600].max() > 0


def test_emotion_loss_is_least_where_all_is_read_right():
    faces = some_faces()
    objective, rows = EmotionObjective([faces], SETTINGS), torch.arange(8)
    logits = 20 * torch.eye(8)
    valence, arousal = (
        torch.tensor(values[:8]).float() for values in (faces.valence, faces.arousal)
    )
    mirrored = torch.zeros(8, dtype=torch.bool)

    def loss(logits, valence):
        reading = EmotionReading(logits, valence, arousal, logits)
        return objective(reading, rows, mirrored, 0.0)

    right = loss(logits, valence)
    assert right < loss(logits.roll(1, 0), valence)
    assert loss(logits, valence + 0.5) - right == pytest.approx(0.125, abs=1e-5)


def test_units_are_asked_for_on_the_other_side_in_a_mirror():
    faces = some_faces()
    objective, rows = UnitsObjective([faces], SETTINGS), torch.arange(4)
    truth = torch.from_numpy(np.stack([faces.units_left, faces.units_right], 1))[:4].float()
    mirrored = torch.tensor([True, False, True, False])
    seen = torch.where(mirrored[:, None, None], truth.flip(1), truth)
    assert objective(seen, rows, mirrored, 0.0) == 0
    assert objective(truth, rows, mirrored, 0.0) > 0.1


def test_cosface_is_its_equation():
    faces = some_faces()
    objective = IdentityObjective([faces], SETTINGS, width=4)
    vectors = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    rows = torch.tensor([0, 1, 5, 7, 11, 15])
    mirrored = torch.zeros(6, dtype=torch.bool)
    found = objective(vectors, rows, mirrored, progress=1.0)
    expected = []
    for vector, row in zip(vectors, rows.tolist(), strict=True):
        own = row // 3
        cosines = [
            (vector @ centre / centre.norm()).item() - SETTINGS.identity_margin * (number == own)
            for number, centre in enumerate(objective.centres.detach())
        ]
        powers = np.exp(SETTINGS.identity_scale * np.array(cosines))
        expected.append(-np.log(powers[own] / powers.sum()))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert objective(vectors, rows, mirrored, progress=0.0) < found  # no margin yet


def test_verification_counts_pairs():
    rng = np.random.default_rng(0)
    people = np.arange(30) // 3
    vectors = np.eye(10)[people] + 0.45 * rng.normal(size=(30, 10))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = verification(vectors, vectors, people, people)
    pairs = [(i, j) for i in range(30) for j in range(30) if i != j]
    own = np.array([vectors[i] @ vectors[j] for i, j in pairs if people[i] == people[j]])
    others = np.array([vectors[i] @ vectors[j] for i, j in pairs if people[i] != people[j]])
    wins = (own[:, None] > others).mean() + 0.5 * (own[:, None] == others).mean()
    assert found["AUC"] == pytest.approx(wins)
    limit = np.sort(others)[-int(0.01 * len(others)) - 1]
    assert found["TPR at 1 % FPR"] == pytest.approx((own > limit).mean(), abs=0.02)
    assert found["same person"] == pytest.approx(own.mean())
    assert found["different people"] == pytest.approx(others.mean())


def test_correlation_is_pearsons_and_nan_where_nothing_varies():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(20, 2, 3)), rng.normal(size=(20, 2, 3))
    other[:, 1, 2] = 4
    found = correlation(one, other)
    assert found[0, 1] == pytest.approx(np.corrcoef(one[:, 0, 1], other[:, 0, 1])[0, 1])
    assert np.isnan(found[1, 2]) and np.isfinite(found).sum() == 5


def test_scores_of_perfect_readings_are_perfect():
    faces = some_faces()
    read = np.concatenate(
        [np.eye(8)[faces.emotion], faces.valence[:, None], faces.arousal[:, None]], 1
    )
    perfect = {"top1": 1.0, "valence_rmse": 0.0, "arousal_rmse": 0.0}
    assert emotion_scores(read, read, [faces]) == perfect
    read[faces.emotion == 2] = np.roll(read[faces.emotion == 2], 1, axis=1)
    assert emotion_details(read, [faces])["sad"] == {"read right": 0.0}
    assert emotion_details(read, [faces])["happy"] == {"read right": 1.0}
    units = np.stack([faces.units_left, faces.units_right], 1).reshape(len(read), -1)
    assert units_scores(units, units, [faces])["mean r"] == pytest.approx(1)
    units[:, : len(UNITS)] *= -1
    details = units_details(units, [faces])["AU12"]
    assert details["r left"] == pytest.approx(-1) and details["r right"] == pytest.approx(1)


def test_pairs_of_readers_share_neither_people_nor_kind():
    readers = {reader.name: reader for reader in READERS}
    for task in ("emotion", "units"):
        pair = [readers[f"tiny-{task}-{role}"] for role in ("loss", "judge")]
        kinds = {type(reader.network(32)) for reader in pair}
        assert len(kinds) == 2
        assert not set(range(*pair[0].people)) & set(range(*pair[1].people))
        for reader in pair:
            kept = {name for name in reader.learns_from if name != "base"}
            assert all(SETTINGS_PEOPLE[name] == reader.people for name in kept)
    for reader in READERS:
        tested = {*reader.tested_on, *reader.also_on}
        assert not tested & set(reader.learns_from)
        learnt = max(SETTINGS_PEOPLE[name][1] for name in reader.learns_from)
        assert min(SETTINGS_PEOPLE[name][0] for name in tested) >= learnt


def test_of_a_set_with_other_people_only_the_readers_own_are_learnt_and_emotions_alike():
    faces = some_faces(64)
    shares = np.random.default_rng(0).integers(0, 3, 64) * 2  # three emotions
    faces = replace(faces, emotion=shares)
    assert np.array_equal(rows_to_learn(faces, None, 0), np.arange(64))
    assert np.array_equal(rows_to_learn(faces, (0, 40), 0), np.arange(64))
    rows = rows_to_learn(faces, (5, 15), 0)
    assert set(faces.identity[rows]) <= set(range(5, 15))
    counts = np.bincount(faces.emotion[rows])[[0, 2, 4]]
    own = faces.emotion[(faces.identity >= 5) & (faces.identity < 15)]
    assert (counts == np.bincount(own)[[0, 2, 4]].min()).all()
    learnt = TrainingFaces([some_faces(4), faces], [], 0, (5, 15))
    assert len(learnt) == len(rows) and next(learnt.batches(2)).min() >= 4


def test_decoding_is_kept_and_its_noise_shows(tmp_path):
    torch.manual_seed(0)
    vae, faces = make_vae(SMALL).eval(), some_faces()
    clean = decode_faces(faces, vae, tmp_path / "clean.npz")
    assert clean.images.shape == faces.images.shape and clean.rows.tolist() == list(range(16))
    noisy = decode_faces(faces, vae, tmp_path / "noisy.npz", noise=(0.5, 0.5))
    assert not np.array_equal(noisy.images, clean.images)
    some = decode_faces(faces, vae, tmp_path / "some.npz", share=0.25)
    assert len(some.rows) == len(set(some.rows)) == 4
    again = decode_faces(some_faces(seed=5), vae, tmp_path / "clean.npz")
    assert np.array_equal(again.images, clean.images)


@pytest.fixture
def toy_readers(tmp_path):
    torch.manual_seed(0)
    build = ReaderBuild(
        tmp_path / "work", SMALL, lambda name: some_faces(seed=len(name)), make_vae(SMALL),
        torch.device("cpu"),
    )  # fmt: skip
    build.work.mkdir()
    return build


def test_a_reader_is_made_once_scored_and_carded(toy_readers, tmp_path):
    units = next(reader for reader in READERS if reader.name == "tiny-units-loss")
    network = lambda side: TinyUnitsNet(UNITS, side, (8, 8, 8, 8))  # noqa: E731
    reader = replace(units, network=network)
    toy_readers.make(reader)
    weights = toy_readers.work / reader.name / "diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    toy_readers.make(reader)
    assert weights.stat().st_mtime_ns == before
    scores = json.loads((toy_readers.work / "scores-tiny-units-loss.json").read_text())
    assert scores["faces"] == 16 and len(scores["details"]) == len(UNITS)
    rows = {*DEGRADATIONS, "VAE round trip", "VAE round trip, latents with noise 0.3"}
    assert set(scores["pictures"]) == rows | {"set validation", "set unseen"}
    write_reader(reader, toy_readers.work, tmp_path, SMALL)
    card = (tmp_path / reader.name / "README.md").read_text()
    r = scores["pictures"]["blur, sigma 2 px"]["mean r"]
    assert f"| blur, sigma 2 px | {r:.3f} |" in card and "| AU43 |" in card
    assert f"- units updates: {SMALL.units_updates}" in card
    # What ships reads as what was scored did.
    images = smooth_images()
    work, shipped = (
        load_unit_reader(folder / reader.name) for folder in (toy_readers.work, tmp_path)
    )
    assert torch.equal(work(images), shipped(images))


def test_the_same_reader_comes_of_the_same_seed(toy_readers, tmp_path):
    emotion = replace(READERS[0], network=lambda side: TinyEmotionNet(side, (8, 8, 8, 8)))
    toy_readers.make(emotion)
    first = toy_readers.work / emotion.name
    kept = first.rename(tmp_path / "first")
    toy_readers.make(emotion)
    one, other = (TinyEmotionNet.from_pretrained(path).state_dict() for path in (kept, first))
    assert all(torch.equal(one[name], other[name]) for name in one)
