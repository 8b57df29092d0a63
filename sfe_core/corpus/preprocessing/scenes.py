"""From a decoded photo to the scenes of its faces, alike for a corpus and for a photo alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from sfe_core.arrays import Pixels
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.kinds import has_detail
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto
from sfe_core.corpus.quality import bad_light
from sfe_core.faces.crop_choice import crop_photo
from sfe_core.faces.detection import Detector, Face, choose_faces
from sfe_core.faces.detectors.any_angle import load_any_angle
from sfe_core.faces.detectors.turning import reconstruct_faces
from sfe_core.faces.reconstruction import Reconstruction, Reconstructor


class SkippedPhotoError(Exception):
    """A photo without a usable face: its status, the reason, and what its row says of it."""

    def __init__(self, status: str, reason: str, row: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.row = status, reason, row or {}


def photo_detector(config: PreprocessConfig, device: str | None = None) -> Detector:
    """The detector for photos as people have them, see `load_any_angle`.

    Args:
        config: of preprocess.
        device: torch device for networks; None means CUDA where there is one.

    Raises:
        UserError: its library or weights are not installed.
    """
    return load_any_angle(
        config.detector,
        config.min_face_px,
        config.box_detector,
        device,
        # The largest face turns up first; any other choice is one among faces of all sizes.
        every_size=config.face_choice != "largest",
        every_angle=config.face_choice == "all",
    )


def pixels_of(photo: DecodedPhoto) -> Pixels:
    """The pixels [H, W, 3] of a photo.

    Raises:
        SkippedPhotoError: it could not be decoded.
    """
    if photo.pixels is None:
        raise SkippedPhotoError(photo.status, photo.reason)
    return photo.pixels


def large_faces(
    faces: Sequence[Face], pixels: Pixels, config: PreprocessConfig, detector: Detector
) -> list[Face]:
    """Of the faces found in a photo [H, W, 3], those of `preprocess.min_face_px` or more.

    Raises:
        SkippedPhotoError: there is none.
    """
    if not faces:
        smallest = detector.smallest_px(pixels.shape[1], pixels.shape[0])
        reason = no_face_reason(config, smallest, pixels) + bad_light(pixels)
        raise SkippedPhotoError("no_face", reason, {"confidence": 0.0})
    large = [face for face in faces if face.size >= config.min_face_px]
    if not large:
        largest = max(face.size for face in faces)
        surest = max(face.confidence or 0.0 for face in faces)
        reason = f"largest face {largest:.0f} px, min_face_px {config.min_face_px}"
        raise SkippedPhotoError("face_too_small", reason, {"confidence": surest})
    return large


def no_face_reason(config: PreprocessConfig, smallest_px: float, pixels: Pixels) -> str:
    """Why a photo [H, W, 3] has no face, with the size that was looked for."""
    if smallest_px <= config.min_face_px:
        return f"{config.detector} found no face"
    return (
        f"{config.detector} found no face of {math.ceil(smallest_px)} px or more, the smallest it "
        f"looks for in {pixels.shape[1]}x{pixels.shape[0]} pixels (min_face_px "
        f"{config.min_face_px})"
    )


def scene_of(
    pixels: Pixels,
    face: Face,
    head: Reconstruction,
    config: PreprocessConfig,
    given_mesh: Pixels | None = None,
) -> FaceScene:
    """A face in its photo [H, W, 3], all its pictures still to be made.

    Args:
        pixels: the photo.
        face: found in it.
        head: fitted to it.
        config: says how it is cropped.
        given_mesh: [H, W, 3] a render that came with the photo.
    """
    height, width = pixels.shape[:2]
    square, rule = crop_photo(
        face.landmarks,
        face.box,
        (width, height),
        config.crop_rule,
        config.crop_scale,
        face.angle,
        config.tight_photos == "as-is",
    )
    return FaceScene(
        photo=pixels,
        landmarks=face.landmarks,
        transform=square,
        crop_rule=rule,
        size=config.crop_size,
        head=head,
        detailed=has_detail(config),
        given_mesh=given_mesh,
        coarse_buffers=config.buffer_normals == "coarse",
    )


def faces_in_photo(
    photo: DecodedPhoto,
    config: PreprocessConfig,
    detector: Detector,
    reconstructor: Callable[[], Reconstructor],
) -> list[tuple[Face, FaceScene]]:
    """The faces of a photo that `preprocess.face_choice` chooses, each fitted and in its photo.

    Args:
        photo: decoded.
        config: of preprocess.
        detector: from `photo_detector`.
        reconstructor: gives the backend; asked only once there is a face.

    Raises:
        SkippedPhotoError: it could not be decoded, or shows no face that is large enough.
    """
    pixels = pixels_of(photo)
    faces = large_faces(detector.detect(pixels), pixels, config, detector)
    height, width = pixels.shape[:2]
    chosen = choose_faces(faces, config.face_choice, width, height)
    heads = reconstruct_faces(reconstructor(), [pixels] * len(chosen), chosen)
    return [
        (face, scene_of(pixels, face, head, config))
        for face, head in zip(chosen, heads, strict=True)
    ]
