"""Identity vectors: dlib's and faceres' on real photographs of faces, and the tiny network's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from sfe_core.assets.registry import registry
from sfe_core.assets.store import folder_of
from sfe_core.errors import UserError
from sfe_core.evaluation.statistics.identity import pair_levels
from sfe_core.faces.backends import load_detector
from sfe_core.faces.detection import Face
from sfe_core.faces.recognition.faceres import FaceRes
from sfe_core.faces.recognition.identity import DlibEmbedder, TinyEmbedder, load_embedder
from sfe_core.faces.recognition.tiny_identity import TinyIdentityNet
from tests.outside_weights import randomised

FACERES = folder_of(registry()["faceres"]) / "faceres.safetensors"  # of this machine


@pytest.fixture(scope="module")
def embedder() -> DlibEmbedder:
    return load_embedder("dlib")


def test_a_face_stays_who_it_is_through_light_and_turning(embedder: DlibEmbedder):
    photo = data.astronaut()[:260, 100:360]
    changed = np.array(Image.fromarray((photo * 0.6).astype(np.uint8)).rotate(10))
    detector = load_detector("dlib", 80)
    pictures = [photo, changed]
    faces = [detector.detect(picture)[0] for picture in pictures]
    found = embedder.embed(pictures, faces)
    assert found.shape == (2, 128) and np.isfinite(found).all()
    # Below 0.6 the network's author calls two photos one person.
    assert 0.0 < np.linalg.norm(found[0] - found[1]) < 0.6


def test_nothing_to_embed_is_an_empty_table(embedder: DlibEmbedder):
    assert embedder.embed([], []).shape == (0, 128)
    assert len(embedder.weights_sha256) == 64


@pytest.mark.skipif(not FACERES.is_file(), reason="sfe assets fetch faceres")
def test_faceres_gives_the_vector_of_the_published_graph(monkeypatch):
    monkeypatch.setenv("SFE_ASSETS", str(FACERES.parents[1]))
    levels = data.astronaut()[20:244, 110:334].copy()
    image = torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        vector = load_embedder("faceres").network(image)[0].numpy()
    # The tensor global_pooling/Mean of TensorFlow.js for the same pixels.
    wanted = [0.03525, 0, 0.26813, 0.04728, 0, 0.90868, 0.01202, 0.04874, 0.0349, 0.22589]
    assert np.allclose(vector[:10], wanted, atol=1e-3)
    assert np.linalg.norm(vector) == pytest.approx(9.999112, abs=1e-3)


def test_faceres_embeds_the_face_that_the_landmarks_mark(own_assets_root):
    with pytest.raises(UserError, match="sfe assets fetch faceres"):
        load_embedder("faceres")
    (own_assets_root / "faceres").mkdir()
    state = randomised(FaceRes()).state_dict()
    save_file(state, own_assets_root / "faceres" / "faceres.safetensors")
    embedder = load_embedder("faceres")
    assert embedder.embed([], []).shape == (0, 1024) and len(embedder.weights_sha256) == 64
    photo = data.astronaut()
    marks = np.random.default_rng(0).uniform([180, 60], [270, 170], (68, 2)).astype(np.float32)
    elsewhere = np.where(np.arange(512)[:, None, None] < 250, photo, 0).astype(np.uint8)
    face = Face((180, 60, 270, 170), marks, 1.0)
    found = embedder.embed([photo, elsewhere], [face, face])
    assert found.shape == (2, 1024) and np.allclose(found[0], found[1])
    moved = Face((0, 0, 0, 0), marks + 60, 1.0)
    assert not np.allclose(embedder.embed([photo], [moved]), found[:1])


def test_an_unknown_embedder_is_the_users_error():
    with pytest.raises(UserError, match="known: dlib, tiny-identity"):
        load_embedder("arcface")


def test_the_tiny_network_gives_unit_vectors_of_the_face_wherever_it_stands(tmp_path):
    torch.manual_seed(0)
    network = TinyIdentityNet(input_size=64, channels=(8, 16, 16, 16), width=12).eval()
    network.save_pretrained(tmp_path / "net")
    embedder = TinyEmbedder(tmp_path / "net")
    photo = data.astronaut()[:260, 100:360]
    points = np.random.default_rng(0).uniform(80, 180, (68, 2))
    face = Face((80.0, 80.0, 180.0, 180.0), points, 1.0)
    moved = Face((90.0, 85.0, 190.0, 185.0), points + (10, 5), 1.0)
    shifted = np.roll(photo, (5, 10), (0, 1))
    found = embedder.embed([photo, shifted, photo], [face, moved, moved])
    assert found.shape == (3, embedder.width) == (3, 12) and len(embedder.weights_sha256) == 64
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.allclose(found[0], found[1], atol=1e-4)
    assert not np.allclose(found[0], found[2], atol=1e-4)
    assert embedder.embed([], []).shape == (0, 12)


def test_the_tiny_network_passes_gradient_to_every_picture():
    images = torch.rand(2, 3, 96, 96).mul(2).sub(1).requires_grad_()
    vectors = TinyIdentityNet()(images)
    assert vectors.shape == (2, 128)
    (vectors[0] @ vectors[1]).backward()
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()


def test_a_folder_that_is_no_identity_network_is_a_one_line_error(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "TinyEmotionNet"}')
    with pytest.raises(UserError, match="not an identity network"):
        TinyEmbedder(tmp_path)


def test_levels_are_means_over_pairs():
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [np.nan, 0.0], [1.0, 1.0]])
    people = np.array(["a", "a", "b", "a", None], dtype=object)
    assert pair_levels(vectors, people) == {"same person": 1.0, "different people": 0.0}
    assert pair_levels(vectors[:2], people[:2]) == {"same person": 1.0}
    assert pair_levels(vectors[3:], people[3:]) == {}
