"""Views of a face: mirrored or not, whole or cropped closer; photo and maps always alike.

A face has few views, and they do not depend on the run, so that what is computed from a view can be
kept from run to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sfe_core.config.training_sections import DataConfig
from sfe_core.files import derive_seed

_UNIT = 2.0**-63  # derive_seed gives 63 bits


class Frame(NamedTuple):
    """The part of a stored picture that is looked at: a square, in shares of the picture's side.

    Attributes:
        left, top, side: 0, 0, 1 is the whole.
        mirrored: the square is turned left to right after it is cut out.
    """

    left: float = 0.0
    top: float = 0.0
    side: float = 1.0
    mirrored: bool = False


WHOLE = Frame()


class View(NamedTuple):
    """A face of a data set, and how it is looked at.

    Attributes:
        place: its place in the data set.
        mirrored: turned left to right.
        crop: which of its crops; 0 of those it has.
    """

    place: int
    mirrored: bool = False
    crop: int = 0


@dataclass(frozen=True)
class Variation:
    """How faces are varied; the defaults leave them as they are.

    Attributes:
        flip: share of views that are mirrored.
        crop_least: side of the smallest crop, share of the whole; 1: no crops.
        crop_count: crops per face.
    """

    flip: float = 0.0
    crop_least: float = 1.0
    crop_count: int = 1

    @classmethod
    def of(cls, data: DataConfig) -> Variation:
        """As sfe.yaml's `data` section asks."""
        count = data.crop_count if data.crop_least < 1 else 1
        return cls(data.flip, data.crop_least, count)

    @property
    def per_face(self) -> int:
        """Views of a face."""
        return self.crop_count * (2 if self.flip > 0 else 1)

    def number(self, view: View) -> int:
        """The place of a view among those of its face, 0 .. per_face - 1."""
        return view.crop + self.crop_count * view.mirrored

    def all_of(self, place: int) -> list[View]:
        """Every view of a face, in the order of `number`."""
        sides = (False, True) if self.flip > 0 else (False,)
        return [View(place, side, crop) for side in sides for crop in range(self.crop_count)]

    def frame(self, key: str, view: View) -> Frame:
        """The frame of a view: uniform in size and place, a function of key and crop alone."""
        if self.crop_least >= 1:
            return Frame(mirrored=view.mirrored)
        size, x, y = (
            derive_seed(key, "crop", view.crop, axis) * _UNIT for axis in ("size", "x", "y")
        )
        side = self.crop_least + size * (1 - self.crop_least)
        return Frame(x * (1 - side), y * (1 - side), side, view.mirrored)

    def draw(self, places: Sequence[int], keys: Sequence[str], seed: int, step: int) -> list[View]:
        """A view for every image of an update; follows from (seed, step, place in it, key) alone.

        Args:
            places: of the images in the data set; may repeat.
            keys: key of every place in the data set.
            seed: the run's.
            step: the update, from 0.
        """

        def uniform(number: int, purpose: str) -> float:
            key = keys[places[number]]
            return derive_seed(seed, step, number, key, purpose) * _UNIT

        if self.per_face == 1:
            return [View(place) for place in places]
        return [
            View(
                place,
                mirrored=uniform(number, "flip") < self.flip,
                crop=int(uniform(number, "crop") * self.crop_count),
            )
            for number, place in enumerate(places)
        ]
