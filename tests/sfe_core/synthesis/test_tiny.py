"""The build of the tiny weights: its parts on a handful of faces."""

from dataclasses import replace

import numpy as np
import torch

from sfe_core.recipes.tiny_base import draw_captions
from sfe_core.synthesis.tiny.autoencoder import encode_all, standardise_latents
from sfe_core.synthesis.tiny.faces import make_faces
from sfe_core.synthesis.tiny.networks import make_vae, train_tokenizer
from sfe_core.synthesis.tiny.recognition import as_tensor
from sfe_core.synthesis.tiny.settings import SETTINGS, FaceSet


def test_no_identity_stands_in_two_sets():
    spans = [SETTINGS.loss_faces, SETTINGS.judge_faces, SETTINGS.validation_faces]
    people = [set(range(*faces.identities)) for faces in spans]
    assert sum(map(len, people)) == len(set.union(*people))
    assert max(map(max, people)) < 3584  # the demo's people begin there
    for name in ("loss", "judge", "validation"):
        mates = [getattr(SETTINGS, f"{part}{name}_faces") for part in ("", "units_")]
        assert mates[0].identities == mates[1].identities and mates[0].seed != mates[1].seed


def test_faces_of_random_units_carry_no_emotion(tmp_path):
    few = FaceSet(8, (0, 4), 5, random_units=True)
    faces = make_faces(few, SETTINGS, tmp_path / "faces.npz", workers=1)
    assert set(faces.emotion) == {0} and np.isnan(faces.valence).all()


def test_faces_are_balanced_seeded_and_kept(tmp_path):
    few = FaceSet(8, (0, 4), 5)
    faces = make_faces(few, SETTINGS, tmp_path / "faces.npz", workers=1)
    assert faces.images.shape == (8, 64, 64, 3) and sorted(faces.emotion) == list(range(8))
    assert faces.named[1].startswith("Happy") and "appy" not in faces.unnamed[1]
    again = make_faces(few, SETTINGS, tmp_path / "again.npz", workers=2)
    assert np.array_equal(faces.images, again.images)


@torch.no_grad()
def test_standardised_latents_change_no_reconstruction():
    torch.manual_seed(0)
    vae = make_vae(replace(SETTINGS, vae_channels=(16, 16, 16))).eval()
    images = torch.randint(0, 255, (16, 3, 64, 64), dtype=torch.uint8)
    before = vae.decode(encode_all(vae, images)).sample
    standardise_latents(vae, images)
    latents = encode_all(vae, images)
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


def test_captions_name_the_emotion_as_rarely_as_asked(tmp_path):
    faces = make_faces(FaceSet(8, (0, 4), 5), SETTINGS, tmp_path / "faces.npz", workers=1)
    many = faces.rows(np.zeros(4000, int))
    captions = draw_captions(many, 0.1, SETTINGS, np.random.default_rng(0))
    named = np.mean([caption == faces.named[0] for caption in captions])
    empty = np.mean([caption == "" for caption in captions])
    assert abs(named - 0.1 * (1 - SETTINGS.caption_dropout)) < 0.02
    assert abs(empty - SETTINGS.caption_dropout) < 0.02


def test_image_arrays_become_tensors():
    images = np.zeros((2, 4, 6, 3), np.uint8)
    images[0, 1, 2, 0] = 7
    assert as_tensor(images)[0, 0, 1, 2] == 7
