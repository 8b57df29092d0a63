"""Detection on a real photo, and what it does where there is no face, or several."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image

from sfe_core.errors import UserError
from sfe_core.faces.backends import load_detector
from sfe_core.faces.detection import Face, choose_face, choose_faces

# The astronaut's landmarks as read by eye off the enlarged photo, to about 2 pixels.
SEEN = {
    36: (194.0, 101.0),
    45: (258.5, 104.0),
    30: (223.0, 126.5),
    48: (203.0, 140.0),
    54: (245.5, 140.5),
}
NOSE_TIP = SEEN[30]


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A [256, 256, 3] part of the astronaut's photo, its corner at (96, 0)."""
    return skimage.data.astronaut()[:256, 96:352]


def test_landmarks_of_a_real_photo(portrait: np.ndarray) -> None:
    (face,) = load_detector("dlib").detect(portrait)
    points = face.landmarks + (96, 0)
    assert points.shape == (68, 2) and face.score > 0.5
    for number, seen in SEEN.items():
        assert np.linalg.norm(points[number] - seen) < 5, number


def test_landmarks_follow_the_photo_when_it_moves_and_grows(portrait: np.ndarray) -> None:
    detector = load_detector("dlib")
    (face,) = detector.detect(portrait)
    wide = np.pad(portrait, ((30, 0), (50, 0), (0, 0)), mode="edge")
    large = np.asarray(Image.fromarray(wide).resize((612, 572), Image.Resampling.LANCZOS))
    (moved,) = detector.detect(large)
    distance = np.linalg.norm(moved.landmarks / 2 - (50, 30) - face.landmarks, axis=1)
    assert distance.mean() < 0.04 * np.linalg.norm(face.landmarks[36] - face.landmarks[45]) * 2


def test_two_faces_are_both_found_and_chosen_between(portrait: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(portrait).resize((200, 200), Image.Resampling.LANCZOS))
    both = np.zeros((256, 456, 3), np.uint8)
    both[:, :256], both[28:228, 256:] = portrait, small
    faces = load_detector("dlib", min_face_px=24).detect(both)
    assert len(faces) == 2 and faces[0].size > faces[1].size
    assert choose_face(faces, "largest", 456, 256) is faces[0]


def test_choice_by_place_and_score() -> None:
    points = np.zeros((68, 2))
    large = Face((0, 0, 50, 50), points, 1.0)
    central = Face((90, 90, 110, 110), points, 0.5)
    best = Face((150, 150, 180, 180), points, 2.0)
    faces = [large, best, central]
    assert choose_face(faces, "largest", 200, 200) is large
    assert choose_face(faces, "central", 200, 200) is central
    assert choose_face(faces, "best", 200, 200) is best
    assert choose_faces(faces, "best", 200, 200) == [best]
    assert choose_faces(faces, "all", 200, 200) == [large, best, central]
    with pytest.raises(UserError, match="largest, central, best, all"):
        choose_face(faces, "nearest", 200, 200)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (64, 64), (130, 90)])
def test_no_face_is_an_empty_list(shape: tuple[int, int]) -> None:
    assert load_detector("dlib").detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_face_cut_by_the_edge_is_still_found() -> None:
    tight = skimage.data.astronaut()[86:176, 180:268]
    (face,) = load_detector("dlib").detect(np.ascontiguousarray(tight))
    assert face.landmarks[30][0] == pytest.approx(NOSE_TIP[0] - 180, abs=6)
