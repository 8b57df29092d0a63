"""How far readings of action units follow what was commanded, over several training seeds.

The numbers are those of `sfe evaluate`. Drawn again are the faces, and of each face a seed of the
training, so that intervals tell of other faces and of other runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.unit_leakage import unasked_shares
from sfe_core.evaluation.yardstick import PRESENT_FROM

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


def concordances(
    read: Doubles, asked: Doubles, names: tuple[str, ...], resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """Lin's concordance of what is read with what was asked, over pictures.

    Args:
        read: [S, F, N, K], training seed × face × what was asked × scale.
        asked: [N, K].
        names: of the K scales.
        resamples: for the intervals.
    """
    seeds, faces = read.shape[:2]
    random = np.random.default_rng(0)

    def over(some: Doubles) -> Doubles:
        """Of [M, N, K], as [K]."""
        told = np.broadcast_to(asked, some.shape)
        return agreement.concordance(*(part.reshape(-1, len(names)).T for part in (some, told)))

    whole = over(read.reshape(-1, *read.shape[2:]))
    again = [
        over(read[random.integers(seeds, size=faces), random.integers(faces, size=faces)])
        for _ in range(resamples)
    ]
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    return {
        name: Figure(float(whole[n]), float(low[n]), float(high[n])) for n, name in enumerate(names)
    }


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
    read: Doubles,
    truth: Doubles,
    people: np.ndarray,
    units: tuple[str, ...],
    resamples: int = RESAMPLES,
) -> dict[str, Figure]:
    """Pearson's r of readings with labels over pictures and sides, of each unit.

    Args:
        read: [S, P, 2, U], training seed × picture × side × unit.
        truth: [P, 2, U].
        people: [P] who is on each picture.
        units: names of the U.
        resamples: for the intervals.
    """

    def columns(some: Doubles) -> Doubles:
        return some.reshape(-1, len(units)).T

    def over(seeds: np.ndarray, rows: np.ndarray) -> Doubles:
        return correlation(columns(read[seeds, rows]), columns(truth[rows]))

    return _over_people(over, read.shape[0], people, units, resamples)


def presence_f1(
    read: Doubles,
    truth: Doubles,
    people: np.ndarray,
    units: tuple[str, ...],
    resamples: int = RESAMPLES,
) -> dict[str, Figure]:
    """F1 of the units that are there, as the stronger half shows them; see `followed`."""

    def columns(some: Doubles) -> Doubles:
        return (some.max(-2) >= PRESENT_FROM).astype(float).T

    def over(seeds: np.ndarray, rows: np.ndarray) -> Doubles:
        return np.nan_to_num(agreement.f1(columns(read[seeds, rows]), columns(truth[rows])))

    return _over_people(over, read.shape[0], people, units, resamples)


def _over_people(
    statistic: Callable[[np.ndarray, np.ndarray], Doubles],
    seeds: int,
    people: np.ndarray,
    units: tuple[str, ...],
    resamples: int,
) -> dict[str, Figure]:
    """A statistic [U] of all pictures with all seeds, and its interval.

    Drawn again are the people, each with all of their pictures and one of the seeds.
    """
    random = np.random.default_rng(0)
    own = [np.flatnonzero(people == person) for person in np.unique(people)]
    everything = np.divmod(np.arange(seeds * len(people)), len(people))
    whole = statistic(*everything)
    again = []
    for _ in range(resamples):
        drawn = random.integers(len(own), size=len(own))
        runs = random.integers(seeds, size=len(own))
        rows = np.concatenate([own[number] for number in drawn])
        counts = [len(own[number]) for number in drawn]
        again.append(statistic(np.repeat(runs, counts), rows))
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    return {
        unit: Figure(float(whole[n]), float(low[n]), float(high[n])) for n, unit in enumerate(units)
    }
