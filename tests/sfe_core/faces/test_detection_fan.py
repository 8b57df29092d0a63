"""The face-alignment backend with weights of random values: offline, from the assets folder."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path

import face_alignment
import numpy as np
import pytest
import torch
from face_alignment.api import models_urls
from face_alignment.detection.sfd.net_s3fd import s3fd
from face_alignment.models import FAN

from sfe_core.errors import RunError, UserError
from sfe_core.faces.detection import load_detector
from sfe_core.faces.detection_fan import two_dimensional


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


def test_weights_come_from_the_assets_folder_and_landmarks_are_scaled_back(
    own_assets_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_assets_root / "face-alignment"
    folder.mkdir()
    torch.manual_seed(0)
    torch.save(s3fd().state_dict(), folder / "s3fd-619a316812.pth")
    with pytest.raises(UserError, match="fan-2d"):
        load_detector("face-alignment")
    torch.save(FAN(4).state_dict(), folder / Path(models_urls["2DFAN-4"]).name)
    detector = load_detector("face-alignment")
    # Random networks find nothing by themselves: one box is handed in on the shrunken view.
    box = np.array([100.0, 120.0, 400.0, 420.0, 0.9])
    monkeypatch.setattr(detector._net.face_detector, "detect_from_image", lambda view: [box])
    seen = {}
    original = detector._net.get_landmarks_from_image

    def spy(view: np.ndarray, detected_faces: list[np.ndarray]) -> list[np.ndarray]:
        seen["view"], seen["points"] = view.shape, original(view, detected_faces=detected_faces)
        return seen["points"]

    monkeypatch.setattr(detector._net, "get_landmarks_from_image", spy)
    (face,) = detector.detect(np.full((1536, 2048, 3), 90, np.uint8))
    assert seen["view"] == (768, 1024, 3)
    assert face.box == (200.0, 240.0, 800.0, 840.0) and face.score == pytest.approx(0.9)
    assert np.allclose(face.landmarks, np.asarray(seen["points"][0]) * 2, atol=1e-3)


def test_no_box_is_no_face(own_assets_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sfe_core.faces.detection_fan import FaceAlignmentDetector

    detector = FaceAlignmentDetector.__new__(FaceAlignmentDetector)
    empty = types.SimpleNamespace(detect_from_image=lambda view: [])
    monkeypatch.setattr(detector, "_net", types.SimpleNamespace(face_detector=empty), raising=False)
    assert detector.detect(np.zeros((40, 40, 3), np.uint8)) == []
