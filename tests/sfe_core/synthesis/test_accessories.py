"""Things worn: they show, they fit, they leave the labels alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.faces.head import HeadModel
from sfe_core.synthesis.accessories import belongings
from sfe_core.synthesis.captions import person_words
from sfe_core.synthesis.pieces import Wearer
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import FaceSpec, sample_face

CHOICES = {
    "round": {"glasses": "round"}, "square": {"glasses": "square"},
    "rimless": {"glasses": "rimless"}, "stud": {"earrings": "stud"}, "hoop": {"earrings": "hoop"},
    "sunglasses": {"sunglasses": True}, "beanie": {"hat": "beanie"}, "cap": {"hat": "cap"},
    "scarf": {"scarf": True}, "hand left": {"hand": -1}, "hand right": {"hand": 1},
}  # fmt: skip


def bare(seed: int = 12, identity: int = 15) -> FaceSpec:
    """A short-haired person who wears nothing, straight before the camera."""
    spec = sample_face(seed, "neutral", identity)
    person = replace(spec.person, glasses="none", earrings="none", hair_style="short", beard=0.0)
    worn = replace(spec.scene.worn, hat="none", scarf=False, sunglasses=False, hand=0)
    scene = replace(spec.scene, worn=worn, yaw=0.0, pitch=0.0, roll=0.0)
    return replace(spec, person=person, scene=scene)


def wearing(name: str) -> FaceSpec:
    spec, choice = bare(), CHOICES[name]
    if set(choice) <= {"glasses", "earrings"}:
        return replace(spec, person=replace(spec.person, **choice))
    return replace(spec, scene=replace(spec.scene, worn=replace(spec.scene.worn, **choice)))


@pytest.fixture(scope="module")
def plain_face():
    return render_face(bare(), 96)


@pytest.mark.parametrize("name", CHOICES)
def test_each_thing_shows_repeats_and_leaves_the_labels(name: str, plain_face) -> None:
    dressed, again = (render_face(wearing(name), 96) for _ in range(2))
    assert (dressed.image == again.image).all()
    changed = np.abs(dressed.image.astype(int) - plain_face.image).max(-1) > 25
    assert changed.sum() > (3 if name == "stud" else 15)
    assert (dressed.landmarks == plain_face.landmarks).all()
    assert (dressed.vertices == plain_face.vertices).all()
    assert (dressed.raster().face_index == plain_face.raster().face_index).all()


@pytest.mark.parametrize("name", ["beanie", "cap", "scarf", "hand left", "hand right"])
def test_eyes_and_mouth_stay_in_sight(name: str, plain_face) -> None:
    dressed = render_face(wearing(name), 96)
    change = np.abs(dressed.image.astype(float) - plain_face.image).max(-1)
    for x, y in plain_face.landmarks[[37, 40, 43, 46, 51, 57]].astype(int):
        assert change[y - 1 : y + 2, x - 1 : x + 2].mean() < 40, name


def test_glasses_lie_before_the_eyes_of_every_person() -> None:
    head = HeadModel.load()
    for identity in range(0, 4000, 250):
        spec = wearing("square")
        spec = replace(spec, person=replace(spec.person, identity=identity))
        row = head.identity_table[identity]
        vertices, marks = head.vertices(row)[0], head.landmarks(row)[0]
        pieces = belongings(Wearer(vertices, marks, spec))
        lenses = [piece for piece in pieces if piece.tint < 1.0]
        assert len(lenses) == 2
        for lens, eye in zip(lenses, head.eye_vertices[::-1], strict=True):
            ball = vertices[eye]
            assert lens.vertices[:, 2].mean() > ball[:, 2].max() + 0.002
            centre = lens.vertices.mean(0)
            assert np.abs(centre - ball.mean(0))[:2].max() < 0.012


def test_bare_people_have_no_pieces() -> None:
    head = HeadModel.load()
    assert not belongings(Wearer(head.mean, head.landmarks()[0], bare()))


def test_captions_name_what_is_worn() -> None:
    assert person_words(wearing("round")).endswith("and glasses")
    assert person_words(wearing("sunglasses")).endswith("and sunglasses")
    assert person_words(wearing("beanie")).endswith(", in a beanie")
    both = wearing("cap")
    both = replace(both, person=replace(both.person, glasses="rimless", male=True, beard=1.0))
    assert person_words(both).endswith("hair, a beard and glasses, in a cap")
