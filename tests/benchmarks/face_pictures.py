"""Pictures with and without a face, hard ones among them, and where the landmarks truly are.

Synthetic portraits, whose landmarks are known exactly, turned, scaled, cut, covered and averted;
and scikit-image's textures and things, which show no face. Nothing of a real person but the
astronaut that scikit-image ships.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.detectors.turning import Turn
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face

# scikit-image's pictures without a human face; coffee, cat and rocket are things that look at one.
THINGS = (
    "brick", "grass", "gravel", "coins", "page", "text", "coffee", "chelsea", "rocket", "moon",
    "cell", "horse", "hubble_deep_field", "immunohistochemistry", "clock", "retina", "logo",
)  # fmt: skip
RIGHT = 0.08  # mean landmark error over the distance between the outer eye corners, less is right


@dataclass(frozen=True)
class Picture:
    """A picture [H, W, 3], and the landmarks [68, 2] of its face; None where it has none.

    `unit` is the distance between the outer eye corners as seen from the front, pixels.
    """

    pixels: Pixels
    truth: Floats | None
    unit: float = 1.0

    def error(self, landmarks: Floats) -> float:
        """Mean landmark error over `unit`; infinite where there is no face."""
        if self.truth is None:
            return np.inf
        return float(np.linalg.norm(landmarks - self.truth, axis=1).mean() / self.unit)


def portrait(number: int, side: int = 256, **scene: Any) -> Picture:
    """Person `number` with any expression; `scene` changes the scene, see `spec.Scene`."""
    spec = sample_face(5000 + number, None, number * 37 + 11)
    spec = replace(spec, scene=replace(spec.scene, **scene))
    face = render_face(spec, side)
    front = render_face(replace(spec, scene=replace(spec.scene, yaw=0.0, pitch=0.0)), 64)
    unit = np.linalg.norm(front.landmarks[36] - front.landmarks[45]) * side / 64
    return Picture(face.image, face.landmarks, float(unit))


def turned(picture: Picture, angle: float) -> Picture:
    """The picture turned clockwise, on a canvas that holds all of it."""
    height, width = picture.pixels.shape[:2]
    turn = Turn(-angle, width, height)
    truth = None if picture.truth is None else turn.to_canvas(picture.truth)
    return Picture(turn.picture(picture.pixels), truth, picture.unit)


def scaled(picture: Picture, face_px: float, canvas: tuple[int, int] | None = None) -> Picture:
    """The face brought to a size (of its landmarks' box), on a plain canvas (width, height)."""
    factor = face_px / float(np.ptp(picture.truth, axis=0).max())
    side = max(1, round(picture.pixels.shape[0] * factor))
    factor = side / picture.pixels.shape[0]
    small = Image.fromarray(picture.pixels).resize((side, side), Image.Resampling.LANCZOS)
    width, height = canvas or (side, side)
    left, top = (width - side) * 2 // 3, (height - side) // 3
    ground = Image.new("RGB", (width, height), (118, 126, 120))
    ground.paste(small, (left, top))
    truth = picture.truth * factor + (left, top)
    return Picture(np.asarray(ground), truth, picture.unit * factor)


def cut(picture: Picture, share: float, edge: str = "left") -> Picture:
    """The picture without a share of the face's box at one edge; all beyond it is gone too."""
    low, high = picture.truth.min(axis=0), picture.truth.max(axis=0)
    x, y = (low + share * (high - low)).astype(int)
    right, bottom = (high - share * (high - low)).astype(int)
    box = {
        "left": np.s_[:, x:],
        "right": np.s_[:, :right],
        "top": np.s_[y:],
        "bottom": np.s_[:bottom],
    }[edge]
    corner = (x if edge == "left" else 0, y if edge == "top" else 0)
    return replace(
        picture, pixels=np.ascontiguousarray(picture.pixels[box]), truth=picture.truth - corner
    )


def covered(picture: Picture, what: str) -> Picture:
    """With a "mask" over mouth and nose, "glasses" over the eyes, or a "hand" over one half."""
    points = picture.truth
    pixels = picture.pixels.copy()
    low, high = points.min(axis=0), points.max(axis=0)
    nose, eyes = points[29], points[36:48]
    box = {
        "mask": (low[0], nose[1], high[0], high[1] + 4),
        "glasses": (low[0], eyes[:, 1].min() - 6, high[0], eyes[:, 1].max() + 6),
        "hand": (low[0] - 4, low[1] - 20, points[27][0], high[1]),
    }[what]
    left, top, right, bottom = (max(0, int(edge)) for edge in box)
    colour = {"mask": (150, 180, 205), "glasses": (20, 20, 24), "hand": (196, 150, 120)}[what]
    pixels[top:bottom, left:right] = colour
    return replace(picture, pixels=pixels)


def astronaut() -> Pixels:
    """[256, 256, 3] of scikit-image's astronaut, her face in the middle."""
    return np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])


def things() -> Iterator[tuple[str, Picture]]:
    """Pictures without a face, as they are and their quarters, at most 512 pixels long."""
    for name in THINGS:
        image = getattr(skimage.data, name)()
        if image.dtype != np.uint8:
            image = (image.astype(float) * (255 / max(image.max(), 1))).astype(np.uint8)
        picture = Image.fromarray(image).convert("RGB")
        picture.thumbnail((512, 512))
        pixels = np.asarray(picture)
        yield name, Picture(pixels, None)
        height, width = (side // 2 for side in pixels.shape[:2])
        for quarter in range(4):
            top, left = (quarter // 2) * height, (quarter % 2) * width
            part = pixels[top : top + height, left : left + width]
            yield f"{name} {quarter}", Picture(np.ascontiguousarray(part), None)
    for number, patch in enumerate(skimage.data.lfw_subset()[100:]):
        levels = Image.fromarray((patch * 255).astype(np.uint8)).resize((200, 200), 3)
        yield f"patch {number}", Picture(np.asarray(levels.convert("RGB")), None)
