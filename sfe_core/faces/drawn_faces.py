"""Finding the face in a drawn picture, and how far its landmarks lie from those asked for."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfe_core.arrays import Doubles, Pixels
from sfe_core.faces.anny.fitting import OUTER_EYE_CORNERS
from sfe_core.faces.backends import load_detector
from sfe_core.faces.detection import Detector, Face

# The face detectors were made for faces of some hundred pixels; smaller pictures are enlarged.
DETECTION_PX = 256
SMALLEST_FACE_PX = 64


class DrawnFaceFinder:
    """A detector for drawn pictures of one size.

    Args:
        detector: see `load_detector`.
        resolution: side S of the pictures, pixels.

    Attributes:
        side: of the picture that is searched, pixels.

    Raises:
        UserError: the detector's weights are missing.
    """

    def __init__(self, detector: str, resolution: int) -> None:
        self.detector: Detector = load_detector(detector, SMALLEST_FACE_PX)
        self.side = max(resolution, DETECTION_PX)

    def levels(self, image: Tensor) -> Pixels:
        """[side, side, 3] uint8 of a picture [3, S, S] in [-1, 1]."""
        if image.shape[-1] != self.side:
            size = (self.side, self.side)
            image = F.interpolate(
                image[None], size=size, mode="bicubic", antialias=True, align_corners=False
            )[0]
        levels = ((image.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
        return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())

    def find(self, levels: Pixels) -> Face | None:
        """The surest face in what `levels` gave, in its pixels; None where there is none."""
        found = self.detector.detect(levels)
        return max(found, key=lambda candidate: candidate.score) if found else None


def landmark_error(found: Doubles, asked: Doubles) -> float:
    """Mean distance of 68 landmarks, in % of the asked face's outer-eye-corner distance.

    The normalised mean error of the 300-W challenge (Sagonas et al. 2013).

    Args:
        found, asked: [68, 2], in one and the same unit.
    """
    left, right = OUTER_EYE_CORNERS
    inter_ocular = float(np.linalg.norm(asked[left] - asked[right]))
    if inter_ocular == 0.0:
        return float("nan")
    return 100.0 * float(np.linalg.norm(found - asked, axis=1).mean()) / inter_ocular
