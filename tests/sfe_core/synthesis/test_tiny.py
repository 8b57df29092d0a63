"""The build of the tiny weights: its parts on a handful of faces."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.statistics.distances import KernelReference
from sfe_core.faces.crop import CropTransform
from sfe_core.recipes.tiny_base import draw_captions
from sfe_core.synthesis.tiny import faces as rendering
from sfe_core.synthesis.tiny.autoencoder import encode_all, standardise_latents, to_pixels
from sfe_core.synthesis.tiny.examples import Examples, kernel_distance
from sfe_core.synthesis.tiny.faces import Faces, make_faces
from sfe_core.synthesis.tiny.networks import make_vae, train_tokenizer
from sfe_core.synthesis.tiny.settings import SETTINGS, FaceSet

SMALL = replace(SETTINGS, image_px=32, render_px=48)
FEW = FaceSet(8, (0, 4), 5)


def test_no_identity_stands_in_two_sets():
    spans = [SETTINGS.loss_faces, SETTINGS.judge_faces, SETTINGS.validation_faces]
    people = [set(range(*faces.identities)) for faces in spans]
    assert sum(map(len, people)) == len(set.union(*people))
    assert max(map(max, people)) < 3584  # the demo's people begin there
    for name in ("loss", "judge", "validation"):
        mates = [getattr(SETTINGS, f"{part}{name}_faces") for part in ("", "units_")]
        assert mates[0].identities == mates[1].identities and mates[0].seed != mates[1].seed
    learnt, unseen = SETTINGS.base_faces.identities, SETTINGS.unseen_faces.identities
    assert learnt[1] <= unseen[0] and unseen[1] <= 3584


def test_faces_of_random_units_carry_no_emotion(tmp_path):
    few = FaceSet(8, (0, 4), 5, random_units=True)
    faces = make_faces(few, SMALL, tmp_path / "faces", workers=1)
    assert set(faces.emotion) == {0} and np.isnan(faces.valence).all()


@pytest.fixture(scope="module")
def few_faces(tmp_path_factory) -> Faces:
    return make_faces(FEW, SMALL, tmp_path_factory.mktemp("faces") / "set", workers=1)


def test_faces_are_balanced_seeded_and_kept(few_faces, tmp_path):
    faces = few_faces
    assert faces.images.shape == (8, 32, 32, 3) and sorted(faces.emotion) == list(range(8))
    assert faces.named[1].startswith("Happy") and "appy" not in faces.unnamed[1]
    assert faces.units_left.shape == faces.units_right.shape == (8, 18)
    assert set(faces.identity) <= set(range(4))
    again = make_faces(FEW, SMALL, tmp_path / "again", workers=2)
    assert np.array_equal(faces.images, again.images)
    assert not (tmp_path / "again.parts").exists()


def test_faces_go_on_where_a_build_was_stopped(few_faces, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "PART", 4)
    parts = tmp_path / "set.parts"
    parts.mkdir()
    half = {name: getattr(few_faces.rows(np.arange(4)), name) for name in vars(few_faces)}
    half["images"] = np.full_like(half["images"], 7)  # would not be there if rendered anew
    np.savez(parts / "000000.npz", **half)
    faces = make_faces(FEW, SMALL, tmp_path / "set", workers=1)
    assert (faces.images[:4] == 7).all()
    assert np.array_equal(faces.images[4:], few_faces.images[4:])
    assert np.array_equal(faces.named, few_faces.named)


def test_wide_sets_have_the_emotions_of_the_web():
    chosen = replace(SETTINGS.base_faces, identities=(0, 40))
    drawn = [
        rendering.draw_spec(index, index, chosen, np.random.default_rng(index)).emotion
        for index in range(600)
    ]
    for emotion, share in zip(EMOTIONS, chosen.shares, strict=True):
        assert abs(drawn.count(emotion) / 600 - share) < 0.06


def test_wide_crops_stay_in_the_picture_and_enlarge_nothing():
    rng = np.random.default_rng(0)
    for _ in range(200):
        exact = CropTransform(*rng.uniform(20, 150, 2), rng.uniform(40, 240))
        cut = rendering.cut_as_framed(exact, SETTINGS, rng)
        left, top, right, bottom = cut.box
        assert min(left, top) >= -1e-9 and max(right, bottom) <= SETTINGS.render_px + 1e-9
        assert cut.side >= SETTINGS.image_px


@torch.no_grad()
def test_standardised_latents_change_no_reconstruction():
    torch.manual_seed(0)
    vae = make_vae(replace(SETTINGS, vae_channels=(16, 16, 16, 16))).eval()
    images = np.random.default_rng(0).integers(256, size=(16, 64, 64, 3), dtype=np.uint8)
    before = vae.decode(encode_all(vae, images, exact=True)).sample
    standardise_latents(vae, images)
    latents = encode_all(vae, images, exact=True)
    assert torch.allclose(vae.decode(latents).sample, before, atol=1e-4)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_tokenizer_knows_every_word():
    tokenizer = train_tokenizer(["Happy, portrait of an old man"] * 4, SETTINGS)
    ids = tokenizer("Ünïcödé words, never seen!").input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids[1:-1]


def test_token_numbers_are_the_same_whenever_they_are_learnt():
    captions = ["Happy, close-up of an old man", "Sad, headshot of a young woman"] * 4
    learnt = [train_tokenizer(captions, SETTINGS).get_vocab() for _ in range(4)]
    assert all(vocabulary == learnt[0] for vocabulary in learnt)
    assert sorted(learnt[0].values()) == list(range(len(learnt[0])))


def test_captions_name_the_emotion_as_rarely_as_asked():
    named, unnamed = np.repeat("Sad, photo of a man", 4000), np.repeat("Photo of a man", 4000)
    nothing = np.zeros((4000, 0))
    many = Examples(nothing, np.zeros(4000, int), named, unnamed, nothing)
    captions = draw_captions(many, 0.1, SETTINGS, np.random.default_rng(0))
    named = np.mean([caption == many.named[0] for caption in captions])
    empty = np.mean([caption == "" for caption in captions])
    assert abs(named - 0.1 * (1 - SETTINGS.caption_dropout)) < 0.02
    assert abs(empty - SETTINGS.caption_dropout) < 0.02


def test_image_arrays_become_tensors():
    images = np.zeros((2, 4, 6, 3), np.uint8)
    images[0, 1, 2, 0] = 7
    assert to_pixels(images)[0, 0, 1, 2] == 7 / 127.5 - 1


def test_kernel_distance_is_the_evaluations_on_standardised_features():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(40, 6, generator=generator) * 3 + 1
    drawn = torch.randn(30, 6, generator=generator) * 2
    mean, spread = real.double().mean(0), real.double().std(0)
    reference = KernelReference(((real - mean) / spread).numpy())
    expected = reference.distance(((drawn - mean) / spread).numpy())
    assert kernel_distance(drawn, real) == pytest.approx(expected, rel=1e-6)


def test_an_activation_that_real_pictures_hardly_have_does_not_decide_the_kernel_distance():
    generator = torch.Generator().manual_seed(0)
    real, drawn = torch.randn(2, 40, 6, generator=generator)
    real[:, 0], drawn[:, 0] = 0, 0
    before = kernel_distance(drawn, real)
    drawn[7, 0] = 0.01
    assert kernel_distance(drawn, real) == pytest.approx(before, abs=0.01)
