"""The face-alignment backend: S3FD boxes and FAN landmarks, weights from the assets folder only.

Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", ICCV
2017. The library fetches what it lacks by itself; here its door to the network is shut, and a
missing file is an error that says where to put it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.assets import assets_root, locate
from sfe_core.errors import RunError, UserError
from sfe_core.faces.detection import Face

Pixels = NDArray[np.uint8]

# Larger photos are searched at this size: S3FD needs about 1 GB of memory per megapixel.
_SEARCH_PX = 1024
_FOLDER = "face-alignment"


class FaceAlignmentDetector:
    """S3FD and 2D-FAN-4, see `detection.Detector`. Enlarges nothing: small faces are found as is.

    Args:
        device: torch device; None means CUDA where there is one.

    Raises:
        UserError: the library or a weight file is not there.
        RunError: a weight file does not fit the installed library.
    """

    def __init__(self, device: str | None = None) -> None:
        try:
            import face_alignment
            import torch
        except ImportError as error:
            raise UserError(
                "preprocess.detector: face-alignment",
                f"the library cannot be imported ({error})",
                "pip install face-alignment",
            ) from error
        boxes = locate("sfd")
        options: dict[str, Any] = {
            "device": device or ("cuda" if torch.cuda.is_available() else "cpu"),
            "face_detector": "sfd",
            "face_detector_kwargs": {"path_to_detector": str(boxes)},
            "flip_input": False,
        }
        if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters:
            options["compile"] = False  # the compiler would write a cache to the home folder
        try:
            with _from_assets(face_alignment.api):
                self._net = face_alignment.FaceAlignment(
                    two_dimensional(face_alignment.LandmarksType), **options
                )
        except (RuntimeError, KeyError, TypeError) as error:
            raise RunError(
                boxes.parent, f"the weights do not fit face-alignment ({error})", "fetch them again"
            ) from error

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector.detect`."""
        height, width = image.shape[:2]
        shrink = min(1.0, _SEARCH_PX / max(height, width))
        view = image
        if shrink < 1.0:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            view = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        boxes = [np.asarray(box, float) for box in self._net.face_detector.detect_from_image(view)]
        if not boxes:
            return []
        points = self._net.get_landmarks_from_image(view, detected_faces=boxes) or []
        back = np.array([width / view.shape[1], height / view.shape[0]])
        faces = [
            Face(
                box=tuple((box[:4] * np.tile(back, 2)).tolist()),
                landmarks=(np.asarray(found)[:, :2] * back).astype(np.float32),
                score=float(box[4]),
            )
            for box, found in zip(boxes, points, strict=True)
        ]
        return sorted(faces, key=lambda face: (-face.size, face.box))


def two_dimensional(kinds: Any) -> Any:
    """The member for 2D landmarks of the library's enum, by either of its spellings."""
    for name in ("TWO_D", "_2D"):
        if hasattr(kinds, name):
            return getattr(kinds, name)
    raise RunError(
        "face-alignment", f"{kinds} has no 2D landmarks", "install a version from 1.3 to 1.5"
    )


@contextmanager
def _from_assets(api: Any) -> Iterator[None]:
    """Inside, the library's downloads look into the assets folder and nowhere else."""
    original = api.load_file_from_url
    api.load_file_from_url = _asset_for
    try:
        yield
    finally:
        api.load_file_from_url = original


def _asset_for(url: str, *_: Any, **__: Any) -> str:
    """The file that a download address names, in the assets folder.

    Which file a version of the library wants is its own choice, so it is asked rather than listed.
    """
    path: Path = assets_root() / _FOLDER / PurePosixPath(urlparse(url).path).name
    if not path.is_file():
        raise UserError(
            "preprocess.detector: face-alignment",
            f"{path} does not exist",
            f"run `sfe assets fetch fan-2d`, or put the file from {url} there",
        )
    return str(path)
