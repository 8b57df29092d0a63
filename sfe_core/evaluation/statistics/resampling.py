"""What a bootstrap draws: people with all their pictures, or pictures where nobody is known.

Pictures of one person resemble each other and are no independent draws. Cluster resampling keeps
them together: a resample is as many people as there are, drawn with replacement, each with all of
their pictures (Davison & Hinkley 1997, section 3.8; Cameron, Gelbach & Miller 2008, the pairs
cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sfe_core.arrays import Doubles, Indices, Mask

NOBODY = -1  # in place of a picture, where a resample has fewer of them than the longest one
MEMORY_NUMBERS = 4_000_000
_USUAL_COLUMNS = 4  # of a statistic; of one over many units as many fewer resamples are held


@dataclass(frozen=True)
class Behind:
    """What stands behind a number.

    Attributes:
        pictures: how many were counted.
        units: how many were resampled: people, and each picture of nobody known.
        largest_share: of all counted pictures, weighted by themselves: sum of m² over (sum of m)²
            for units of m pictures; 1 / units where all have equally many.
        by_people: whether any person was known.
    """

    pictures: int
    units: int
    largest_share: float
    by_people: bool

    @property
    def word(self) -> str:
        """What the units are called."""
        return "people" if self.by_people else "pictures"


@dataclass(frozen=True)
class Resamples:
    """Which pictures each resample holds.

    Attributes:
        drawn: [R, L] places of pictures, `NOBODY` at the end of shorter resamples.
        unit: [N] number of each picture's person, or of itself where that is not known.
        known: [N] whether the person is known.
    """

    drawn: Indices
    unit: Indices
    known: Mask

    def __len__(self) -> int:
        return len(self.drawn)

    @property
    def people(self) -> Indices | None:
        """[N] number of each picture's unit; None where nobody is known."""
        return self.unit if self.known.any() else None

    def first(self, count: int) -> Resamples:
        """The first `count` of them."""
        return replace(self, drawn=self.drawn[:count])

    def behind(self, counted: Mask) -> Behind:
        """What stands behind a number over the pictures of `counted` [N]."""
        sizes = np.unique(self.unit[counted], return_counts=True)[1].astype(np.float64)
        total = float(sizes.sum())
        share = float((sizes**2).sum()) / total**2 if total else 1.0
        return Behind(int(total), len(sizes), share, bool(self.known.any()))


def draw_resamples(
    count: int, resamples: int, seed: int, people: Sequence[object] | np.ndarray | None = None
) -> Resamples:
    """Units of `count` pictures drawn with replacement (Efron 1979), a function of the seed alone.

    Args:
        count: of pictures.
        resamples: how many to draw.
        seed: of the drawing.
        people: [N] who is on each picture, anything but a text where that is not known: such a
            picture is a unit of its own. None = nobody is known.
    """
    unit, known = _units(count, people)
    units = int(unit.max()) + 1 if count else 0
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = generator.integers(0, max(units, 1), size=(resamples, units), dtype=np.intp)
    return Resamples(_pictures_of(unit, units, chosen), unit, known)


def resample(
    statistic: Callable[..., Doubles], columns: tuple[Doubles, ...], resamples: Resamples
) -> Doubles:
    """[R] values of `statistic(*columns)`, in bounded memory.

    It must reduce the last axis and leave nan out, which stands where a resample has no picture.
    """
    drawn = resamples.drawn
    width = max(drawn.shape[1], 1) * max(len(columns) // _USUAL_COLUMNS, 1)
    rows = max(1, MEMORY_NUMBERS // width)
    # `NOBODY` counts from the end: it draws the nan.
    ended = [np.append(np.asarray(column, dtype=np.float64), np.nan) for column in columns]
    parts = [
        np.asarray(statistic(*(column[block] for column in ended)))
        for block in (drawn[i : i + rows] for i in range(0, len(drawn), rows))
    ]
    return np.concatenate(parts)


def _units(count: int, people: Sequence[object] | np.ndarray | None) -> tuple[Indices, Mask]:
    """Number of each picture's unit by first appearance, and whether its person is known."""
    names = [None] * count if people is None else list(people)
    known = np.array([isinstance(name, str) and bool(name) for name in names], dtype=bool)
    numbers: dict[object, int] = {}
    unit = [
        numbers.setdefault(name if there else place, len(numbers))
        for place, (name, there) in enumerate(zip(names, known, strict=True))
    ]
    return np.array(unit, dtype=np.intp), known


def _pictures_of(unit: Indices, units: int, chosen: Indices) -> Indices:
    """The pictures [R, L] of the units `chosen` [R, K]."""
    order = np.argsort(unit, kind="stable")
    sizes = np.bincount(unit, minlength=units)
    starts = np.cumsum(sizes) - sizes
    lengths = sizes[chosen].sum(axis=1)
    drawn = np.full((len(chosen), int(lengths.max(initial=0))), NOBODY, dtype=np.intp)
    for row, (these, length) in enumerate(zip(chosen, lengths, strict=True)):
        counts = sizes[these]
        before = np.cumsum(counts) - counts
        drawn[row, :length] = order[np.arange(length) + np.repeat(starts[these] - before, counts)]
    return drawn
