"""dlib's identity vectors on real photographs of faces."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from sfe_core.errors import UserError
from sfe_core.evaluation.statistics.identity import pair_levels
from sfe_core.faces.backends import load_detector
from sfe_core.faces.recognition.identity import DlibEmbedder, load_embedder


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


def test_an_unknown_embedder_is_the_users_error():
    with pytest.raises(UserError, match="known: dlib"):
        load_embedder("arcface")


def test_levels_are_means_over_pairs():
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [np.nan, 0.0], [1.0, 1.0]])
    people = np.array(["a", "a", "b", "a", None], dtype=object)
    assert pair_levels(vectors, people) == {"same person": 1.0, "different people": 0.0}
    assert pair_levels(vectors[:2], people[:2]) == {"same person": 1.0}
    assert pair_levels(vectors[3:], people[3:]) == {}
