"""How far readings of action units follow what was commanded, over several training seeds.

The numbers are those of `sfe evaluate`. Drawn again are the faces, and of each face a seed of the
training, so that intervals tell of other faces and of other runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.unit_leakage import unasked_shares

RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """A number and its 95 % interval over faces and seeds."""

    value: float
    low: float
    high: float

    @property
    def shown(self) -> str:
        """`0.91 [0.88, 0.93]`."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class UnitFigures:
    """What was found of one unit when it alone was commanded, the others at rest.

    Attributes:
        pearson, spearman: of commanded with read intensity, over levels and faces.
        slope: read intensity per commanded.
        mse: mean squared difference, intensities of 0 to 5.
        unasked: of the other units, the mean of their slopes' sizes over this one's slope.
        worst: name and share of the other unit that moves most.
    """

    pearson: Figure
    spearman: Figure
    slope: Figure
    mse: Figure
    unasked: Figure
    worst: tuple[str, float]


def leakage(read: Doubles, levels: Doubles) -> Doubles:
    """Slopes of every read unit on every commanded one, by least squares.

    Args:
        read: [..., U, L, U], commanded unit × level × read unit.
        levels: [L], commanded intensities.

    Returns:
        [..., U, U], commanded × read; the identity where units do as they are told.
    """
    return agreement.slope(np.moveaxis(read, -2, -1), levels)


def unit_figures(
    read: Doubles, levels: Doubles, units: tuple[str, ...], resamples: int = RESAMPLES
) -> dict[str, UnitFigures]:
    """Figures of each unit out of pictures in which it alone was commanded.

    Args:
        read: [S, F, U, L, U], training seed × face × commanded unit × level × read unit.
        levels: [L], commanded intensities.
        units: names of the U.
        resamples: for the intervals.
    """
    seeds, faces = read.shape[:2]
    random = np.random.default_rng(0)
    drawn = (
        random.integers(faces, size=(resamples, faces)),
        random.integers(seeds, size=(resamples, faces)),
    )
    # The first is everything there is, each face with all its seeds; the others its resamples.
    whole = _of_pictures(read.reshape(1, seeds * faces, *read.shape[2:]), levels)
    again = [_of_pictures(read[s, f][None], levels) for f, s in zip(*drawn, strict=True)]
    spread = {name: np.concatenate([one[name] for one in again]) for name in whole}

    def figure(name: str, place: int) -> Figure:
        low, high = np.nanquantile(spread[name][:, place], (0.025, 0.975))
        return Figure(float(whole[name][0, place]), float(low), float(high))

    shares = whole["shares"][0]
    found = {}
    for place, unit in enumerate(units):
        most = int(np.nanargmax(shares[place]))
        found[unit] = UnitFigures(
            pearson=figure("pearson", place),
            spearman=figure("spearman", place),
            slope=figure("slope", place),
            mse=figure("mse", place),
            unasked=figure("unasked", place),
            worst=(units[most], float(shares[place, most])),
        )
    return found


def _of_pictures(read: Doubles, levels: Doubles) -> dict[str, Doubles]:
    """Of [B, N, U, L, U] each number as [B, U], and the others' shares as [B, U, U]."""
    own = np.einsum("bnulu->bunl", read)
    asked = np.broadcast_to(levels, own.shape)
    flat, told = (part.reshape(*part.shape[:2], -1) for part in (own, asked))
    slopes = leakage(read, levels).mean(1)
    diagonal = np.einsum("buu->bu", slopes)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(slopes) / np.abs(diagonal)[..., None]
    here = np.arange(shares.shape[1])
    shares[:, here, here] = np.nan
    return {
        "pearson": correlation(flat, told),
        "spearman": np.nan_to_num(agreement.spearman(flat, told)),
        "slope": diagonal,
        "mse": agreement.mean_square(flat, told),
        "unasked": unasked_shares(slopes),
        "shares": shares,
    }


def correlation(first: Doubles, second: Doubles) -> Doubles:
    """Pearson's r over the last axis; 0 where one of them does not vary: nothing is followed."""
    return np.nan_to_num(agreement.pearson(first, second))


def followed(
    read: Doubles, truth: Doubles, units: tuple[str, ...], resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """Pearson's r of readings with labels over pictures and sides, of each unit.

    Args:
        read: [S, P, 2, U], training seed × picture × side × unit.
        truth: [P, 2, U].
        units: names of the U.
        resamples: for the intervals.
    """
    seeds, pictures = read.shape[:2]
    random = np.random.default_rng(0)

    def columns(some: Doubles) -> Doubles:
        return some.reshape(-1, len(units)).T

    whole = correlation(columns(read), columns(np.broadcast_to(truth, read.shape)))
    again = []
    for _ in range(resamples):
        rows, runs = random.integers(pictures, size=pictures), random.integers(seeds, size=pictures)
        again.append(correlation(columns(read[runs, rows]), columns(truth[rows])))
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    return {
        unit: Figure(float(whole[n]), float(low[n]), float(high[n])) for n, unit in enumerate(units)
    }
