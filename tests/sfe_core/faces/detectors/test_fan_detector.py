"""The face-alignment backend with weights of random values: offline, from the assets folder."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import Any

import face_alignment
import numpy as np
import pytest
import skimage.data
import torch
from face_alignment.api import models_urls
from face_alignment.detection.blazeface.net_blazeface import BlazeFace
from face_alignment.detection.sfd.net_s3fd import s3fd
from face_alignment.models import FAN

from sfe_core.errors import RunError, UserError
from sfe_core.faces.backends import load_detector
from sfe_core.faces.detectors import fan_detector as detection_fan
from sfe_core.faces.detectors.any_angle import AnyAngleDetector
from sfe_core.faces.detectors.fan_detector import two_dimensional


def test_without_weights_the_error_says_how_to_get_them(own_assets_root: Path) -> None:
    with pytest.raises(UserError, match="s3fd.*sfe assets fetch sfd"):
        load_detector("face-alignment")


def test_both_spellings_of_the_landmark_kind() -> None:
    old = Enum("LandmarksType", {"_2D": 1, "_3D": 3})
    assert two_dimensional(old) is old["_2D"]
    new = face_alignment.LandmarksType
    assert two_dimensional(new).value == 1
    with pytest.raises(RunError, match="1.3 to 1.5"):
        two_dimensional(types.SimpleNamespace())


@pytest.fixture
def random_weights(own_assets_root: Path) -> Path:
    """The folder of S3FD and FAN files of random values."""
    folder = own_assets_root / "face-alignment"
    folder.mkdir()
    torch.manual_seed(0)
    torch.save(s3fd().state_dict(), folder / "s3fd-619a316812.pth")
    torch.save(FAN(4).state_dict(), folder / Path(models_urls["2DFAN-4"]).name)
    return folder


def hand_in(monkeypatch: pytest.MonkeyPatch, detector: Any, *boxes: list[list[float]]) -> list:
    """Let these boxes be found, one list per view; returns the views' shapes, once seen."""
    seen: list = []

    def find_many(views: list[np.ndarray]) -> list[np.ndarray]:
        seen.extend(view.shape for view in views)
        return [np.array(found, float).reshape(-1, 5) for found in boxes]

    monkeypatch.setattr(detector, "_boxes", types.SimpleNamespace(find_many=find_many))
    return seen


def test_a_missing_landmark_file_is_named(random_weights: Path) -> None:
    (random_weights / Path(models_urls["2DFAN-4"]).name).unlink()
    with pytest.raises(UserError, match="fan-2d"):
        load_detector("face-alignment")


@pytest.mark.slow
def test_landmarks_are_the_librarys_and_finer(
    random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector("face-alignment", device="cpu")
    library = detection_fan._load_library("cpu", "sfd")
    photo = skimage.data.astronaut()
    box = [180.0, 60.0, 270.0, 165.0, 0.9]
    hand_in(monkeypatch, detector, [box])
    (face,) = detector.detect(photo)
    (theirs,) = library.get_landmarks_from_image(photo, detected_faces=[np.array(box)])
    # The library cuts positions down to whole pixels, and so the corner of its window.
    assert np.abs(face.landmarks - 0.5 - theirs).max() < 1.6
    assert np.ptp(face.landmarks) > 20 and (face.landmarks % 1 != 0).any()


@pytest.mark.slow
def test_many_photos_are_searched_small_and_scaled_back(
    random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector("face-alignment", device="cpu")
    large = np.full((1536, 2048, 3), 90, np.uint8)
    small = np.full((100, 80, 3), 90, np.uint8)
    found = [[100, 120, 400, 420, 0.9]], [], [[10, 10, 30, 30, 0.6], [20, 20, 70, 70, 0.8]]
    views = hand_in(monkeypatch, detector, *found)
    first, second, third = detector.detect_many([large, small, small])
    assert views == [(768, 1024, 3), (100, 80, 3), (100, 80, 3)]
    assert [face.box for face in first] == [(200.0, 240.0, 800.0, 840.0)] and second == []
    assert [face.score for face in third] == [0.8, 0.6]
    middle = np.mean([face.landmarks.mean(axis=0) for face in first], axis=0)
    assert np.abs(middle - (500, 540)).max() < 400


def test_dlib_boxes_need_no_box_weights(random_weights: Path) -> None:
    (random_weights / "s3fd-619a316812.pth").unlink()
    photo = np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])
    (face,) = load_detector("face-alignment", box_detector="dlib", device="cpu").detect(photo)
    (known,) = load_detector("dlib").detect(photo)
    assert face.box == known.box and face.score == known.score


def test_blazeface_boxes_come_through_the_library(
    random_weights: Path, own_assets_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="blazeface"):
        load_detector("face-alignment", box_detector="blazeface", device="cpu")
    folder = own_assets_root / "blazeface"
    folder.mkdir()
    torch.manual_seed(1)
    torch.save(BlazeFace().state_dict(), folder / "blazeface.pth")
    np.save(folder / "anchors.npy", np.random.default_rng(0).random((896, 4), np.float32))
    detector = load_detector("face-alignment", box_detector="blazeface", device="cpu")
    library = detector._boxes._detector
    assert isinstance(library.face_detector, BlazeFace)
    # Random weights would keep its suppression from ending; its three ways to say "nothing".
    answers = iter([[[]], [], np.zeros((0, 5)), np.array([[8.0, 9.0, 40.0, 44.0, 0.7]])])
    monkeypatch.setattr(library, "detect_from_image", lambda view: next(answers))
    found = detector.detect_many([np.full((50, 60, 3), 90, np.uint8)] * 4)
    assert [len(faces) for faces in found] == [0, 0, 0, 1]
    assert found[3][0].box == (8.0, 9.0, 40.0, 44.0) and found[3][0].score == 0.7
    with pytest.raises(UserError, match="sfd, blazeface, dlib"):
        load_detector("face-alignment", box_detector="mtcnn", device="cpu")


def test_weights_of_another_network_are_refused(random_weights: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, random_weights / "s3fd-619a316812.pth")
    with pytest.raises(RunError, match="do not fit"):
        load_detector("face-alignment", device="cpu")


@pytest.mark.slow
def test_turned_photos_and_confidence_are_for_its_networks_too(
    random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright = load_detector("face-alignment", device="cpu")
    photo = np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])
    sizes: list[int] = []

    def find_many(views: list[np.ndarray]) -> list[np.ndarray]:
        sizes.append(len(views))
        box = [[84.0, 60.0, 174.0, 165.0, 0.9]]
        return [np.array(box if view is photo else [], float).reshape(-1, 5) for view in views]

    monkeypatch.setattr(upright, "_boxes", types.SimpleNamespace(find_many=find_many))
    (plain,) = upright.detect(photo)
    (read,) = upright.read_many([photo], [plain.box])
    assert np.array_equal(read, plain.landmarks)
    monkeypatch.setattr("sfe_core.faces.detectors.any_angle._LEAST", 0.0)
    (face,) = AnyAngleDetector(upright).detect(photo)
    # Landmarks of random networks do not agree with those of the mirrored photo.
    assert face.confidence < 0.5 and np.array_equal(face.landmarks, plain.landmarks)
    assert sizes == [1, 1, 1, 11]  # as it lies, looked at closer, turned
    assert upright.smallest_px(512, 400) == 16 and upright.smallest_px(2048, 1000) == 32
