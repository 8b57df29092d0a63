"""The face-alignment backend: boxes and FAN landmarks in batches, weights from the assets folder.

Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", ICCV
2017. The library fetches what it lacks by itself; here its door to the network is shut, and a
missing file is an error that says where to put it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlparse

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.assets import assets_root, locate
from sfe_core.errors import RunError, UserError
from sfe_core.faces.crop import Box
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.dlib_detector import DlibDetector
from sfe_core.faces.detectors.fan_landmarks import FanLandmarks
from sfe_core.faces.detectors.s3fd_boxes import ANCHOR_STRIDES, FIRST_STRIDE, S3fdBoxes

BOX_DETECTORS: tuple[str, ...] = ("sfd", "blazeface", "dlib")

# Larger photos are searched at this size: S3FD needs about 1 GB of memory per megapixel.
_SEARCH_PX = 1024
_FOLDER = "face-alignment"
# S3FD's smallest anchor. Of the others dlib looks for what it is asked for; BlazeFace says nothing.
_SMALLEST_PX = {"sfd": ANCHOR_STRIDES * FIRST_STRIDE}
# Pictures and faces per forward pass on a GPU. A CPU gains nothing from batches.
_SEARCH_BATCH, _LANDMARK_BATCH = 8, 32


class BoxFinder(Protocol):
    """Anything that finds face boxes in views of at most `_SEARCH_PX`."""

    def find_many(self, images: Sequence[Pixels]) -> list[Floats]:
        """Boxes [n, 5] with scores per picture [H, W, 3] uint8 RGB."""
        ...


class FaceAlignmentDetector:
    """Boxes and 2D-FAN-4, see `detection.Detector`. Enlarges nothing: small faces stay as found.

    Args:
        device: torch device; None means CUDA where there is one.
        box_detector: one of `BOX_DETECTORS`: S3FD, BlazeFace, or dlib's HOG.
        min_face_px: for dlib: no enlargement beyond what a face of this size needs.
        every: for dlib: search at all sizes, even where a sure face is found.

    Raises:
        UserError: the library or a weight file is not there.
        RunError: a weight file does not fit the installed library.
    """

    def __init__(
        self,
        device: str | None = None,
        box_detector: str = "sfd",
        min_face_px: int = 32,
        every: bool = False,
    ) -> None:
        self._device = device or _best_device()
        net = _load_library(self._device, box_detector)
        on_gpu = not self._device.startswith("cpu")
        self._landmarks = FanLandmarks(
            net.face_alignment_net, self._device, _LANDMARK_BATCH if on_gpu else 1
        )
        self._boxes: BoxFinder
        self.score_is_hog = box_detector == "dlib"
        self._smallest_px = _SMALLEST_PX.get(box_detector, float(min_face_px))
        if box_detector == "dlib":
            self._boxes = _HogBoxes(min_face_px, every)
        elif box_detector == "sfd":
            network = net.face_detector.face_detector
            self._boxes = S3fdBoxes(network, self._device, _SEARCH_BATCH if on_gpu else 1)
        else:
            self._boxes = _LibraryBoxes(net.face_detector)

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector.detect`."""
        return self.detect_many([image])[0]

    def detect_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """See `Detector.detect_many`."""
        boxes = [
            found * np.array([*scale, *scale, 1.0])
            for found, scale in self._search([_shrunk(image) for image in images])
        ]
        owner = [place for place, found in enumerate(boxes) for _ in found]
        flat = [tuple(box[:4].tolist()) for found in boxes for box in found]
        points = self._landmarks.find_many([images[place] for place in owner], flat)
        faces: list[list[Face]] = [[] for _ in images]
        scores = (float(box[4]) for found in boxes for box in found)
        for place, box, landmarks, score in zip(owner, flat, points, scores, strict=True):
            faces[place].append(Face(box, landmarks, score))
        return [sorted(found, key=lambda face: (-face.size, face.box)) for found in faces]

    def glance_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """See `UprightDetector.glance_many`; one search is all there is."""
        return self.detect_many(images)

    def glanced_px(self, width: int, height: int) -> float:
        """See `UprightDetector.glanced_px`."""
        return self.smallest_px(width, height)

    def read_many(self, images: Sequence[Pixels], boxes: Sequence[Box]) -> list[Floats]:
        """See `UprightDetector.read_many`."""
        return list(self._landmarks.find_many(list(images), list(boxes)))

    def smallest_px(self, width: int, height: int) -> float:
        """See `Detector.smallest_px`."""
        return self._smallest_px * max(1.0, max(width, height) / _SEARCH_PX)

    def _search(self, views: list[tuple[Pixels, Floats]]) -> Iterator[tuple[Floats, Floats]]:
        """Boxes [n, 5] in view pixels, and the factors [2] back to photo pixels."""
        found = self._boxes.find_many([view for view, _ in views])
        return zip(found, (back for _, back in views), strict=True)


def _shrunk(image: Pixels) -> tuple[Pixels, Floats]:
    """The picture at most `_SEARCH_PX` long, and the factors [2] (x, y) back to its own pixels."""
    height, width = image.shape[:2]
    shrink = min(1.0, _SEARCH_PX / max(height, width))
    if shrink == 1.0:
        return image, np.ones(2)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    view = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    return view, np.array([width / size[0], height / size[1]])


class _LibraryBoxes:
    """One of the library's own box detectors, picture by picture."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def find_many(self, images: Sequence[Pixels]) -> list[Floats]:
        """See `BoxFinder.find_many`."""
        found = (self._detector.detect_from_image(image) for image in images)
        # It says "nothing" as [], [[]] and empty arrays.
        return [
            np.array([box for box in boxes if len(box)], float).reshape(-1, 5) for boxes in found
        ]


class _HogBoxes:
    """dlib's HOG boxes, as detector dlib finds them."""

    def __init__(self, min_face_px: int, every: bool) -> None:
        self._detector = DlibDetector(min_face_px, every)

    def find_many(self, images: Sequence[Pixels]) -> list[Floats]:
        """See `BoxFinder.find_many`."""
        found = (self._detector.boxes(image) for image in images)
        return [np.array([[*box, score] for box, score in one]).reshape(-1, 5) for one in found]


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _load_library(device: str, box_detector: str) -> Any:
    """The library's `FaceAlignment` with its networks from the assets folder."""
    try:
        import face_alignment
        import torch
    except ImportError as error:
        raise UserError(
            "preprocess.detector: face-alignment",
            f"the library cannot be imported ({error})",
            "pip install face-alignment",
        ) from error
    files = _box_files(box_detector)
    options: dict[str, Any] = {
        "device": device,
        # dlib's boxes come from this project's own search: the library then needs none, and of
        # its detectors `folder` is the one that loads nothing.
        "face_detector": "folder" if box_detector == "dlib" else box_detector,
        "face_detector_kwargs": files,
        "flip_input": False,
    }
    if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters:
        options["compile"] = False  # the compiler would write a cache to the home folder
    try:
        with _from_assets(face_alignment.api):
            net = face_alignment.FaceAlignment(
                two_dimensional(face_alignment.LandmarksType), **options
            )
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            assets_root() / _FOLDER,
            f"the weights do not fit face-alignment ({error})",
            "fetch them again",
        ) from error
    # The library turns on cuDNN's search for the fastest kernel, which may pick another one on
    # the next run and round differently.
    torch.backends.cudnn.benchmark = False
    return net


def _box_files(box_detector: str) -> dict[str, str]:
    """Arguments of the library's box detector that name its weights.

    Raises:
        UserError: unknown box detector, or its weights are not there.
    """
    if box_detector == "sfd":
        return {"path_to_detector": str(locate("sfd"))}
    if box_detector == "blazeface":
        folder = locate("blazeface")
        return {
            "path_to_detector": str(folder / "blazeface.pth"),
            "path_to_anchor": str(folder / "anchors.npy"),
        }
    if box_detector == "dlib":
        return {}
    raise UserError(
        "preprocess.box_detector", f"{box_detector!r}", f"allowed: {', '.join(BOX_DETECTORS)}"
    )


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
