"""How far an expression follows the strength it is asked for, and what that costs the person.

A sweep is one starting noise and one expression at several strengths, 0 first: its pictures differ
in nothing else. Every function takes arrays with a row per sweep and gives a number per sweep, so
that sweeps of one noise are resampled together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics import agreement

# A judge's probability wavers by so much between pictures that look alike.
WAVER = 0.02


def sweep_linearity(read: Doubles, strengths: Doubles) -> Doubles:
    """Pearson's correlation of strength and reading, of each sweep: [P], in [-1, 1].

    As PixelSmile's control linearity, but for sweeps that move by less than `WAVER`: a correlation
    has no scale, and would take their noise for control. They follow nothing and are 0, not left
    out, or a model that never moves would have no number to be ashamed of.

    Args:
        read: [P, S], the judge's probability of what was asked for.
        strengths: [S], all different.

    Returns:
        nan where fewer than three pictures of a sweep were read: two lie on a line, whatever.
    """
    asked = np.broadcast_to(np.asarray(strengths, dtype=np.float64), read.shape)
    found = agreement.pearson(read, asked)
    readable = np.isfinite(read).sum(axis=-1) >= 3
    known = np.where(readable[:, None], read, 0.0)
    moved = np.nanmax(known, axis=-1) - np.nanmin(known, axis=-1) > WAVER
    return np.where(readable, np.where(moved, np.nan_to_num(found), 0.0), np.nan)


def sweep_monotone(read: Doubles, waver: float = WAVER) -> Doubles:
    """Whether a sweep's reading never falls by more than `waver`, and rises by more: [P] of 0, 1.

    Against the highest so far, so that many small falls do not pass. nan where a picture of the
    sweep was not read.
    """
    read = np.asarray(read, dtype=np.float64)
    missing = np.any(~np.isfinite(read), axis=-1)
    known = np.where(np.isfinite(read), read, 0.0)
    falls = np.maximum.accumulate(known, axis=-1) - known
    rises = known[:, -1] - known[:, 0] > waver
    held = np.all(falls <= waver, axis=-1) & rises
    return np.where(missing, np.nan, held.astype(np.float64))


@dataclass(frozen=True)
class Outcomes:
    """What became of each picture: [N] of 0 and 1 each, one of them 1; nan where it was not read.

    Attributes:
        done: the asked expression is seen, and it is still the person.
        lazy: it is the person, and the asked expression is not seen.
        overdone: it is the person no more, whatever is seen.
    """

    done: Doubles
    lazy: Doubles
    overdone: Doubles


def edit_outcomes(shown: Doubles, identity: Doubles, least: float) -> Outcomes:
    """Tell lazy pictures from over-edited ones, which a mean over both hides.

    A model that changes nothing has the best identity, one that draws anybody the best expression
    (the two failures that FED-Bench names).

    Args:
        shown: [N] of 0 and 1, whether the judge sees the asked expression first.
        identity: [N] cosine to the person.
        least: cosine from which it is the person, see `halfway`.
    """
    unread = ~(np.isfinite(shown) & np.isfinite(identity))
    kept, seen = identity >= least, shown >= 0.5

    def flags(which: np.ndarray) -> Doubles:
        return np.where(unread, np.nan, which.astype(np.float64))

    return Outcomes(flags(kept & seen), flags(kept & ~seen), flags(~kept))


def halfway(same: float, different: float) -> float:
    """Cosine midway between photos of one person and of different people.

    Raises:
        ValueError: the embedder does not tell them apart.
    """
    if not same > different:
        raise ValueError(f"same person {same:.3f} is not above different people {different:.3f}")
    return (same + different) / 2.0


def ratio_of_means(above: Doubles, below: Doubles) -> Doubles:
    """Mean of `above` over mean of `below`, of pairs that have both; over the last axis.

    Of means, not the mean of ratios: one picture that hardly changed would rule that. nan where
    `below` has the mean 0.
    """
    there = np.isfinite(above) & np.isfinite(below)
    over = np.where(there, above, 0.0).sum(axis=-1)
    under = np.where(there, below, 0.0).sum(axis=-1)
    return np.divide(over, under, out=np.full_like(np.asarray(over), np.nan), where=under != 0)


def change_by_place(before: Doubles, after: Doubles, mask: Doubles) -> tuple[Doubles, Doubles]:
    """Mean absolute change of pictures inside a soft mask, and outside: [N] each.

    Args:
        before, after: [N, C, H, W], in one unit.
        mask: [N, 1, H, W] in [0, 1]. nan where a mask is all or nothing.
    """
    change = np.abs(np.asarray(after) - np.asarray(before)).mean(axis=1)
    weight = np.asarray(mask, dtype=np.float64)[:, 0]
    inside, outside = weight.sum(axis=(1, 2)), (1.0 - weight).sum(axis=(1, 2))
    return (
        _over((weight * change).sum(axis=(1, 2)), inside),
        _over(((1.0 - weight) * change).sum(axis=(1, 2)), outside),
    )


def _over(total: Doubles, size: Doubles) -> Doubles:
    return np.divide(total, size, out=np.full_like(total, np.nan), where=size > 1e-9)


def person_cosine(embedding: Doubles, album: Doubles) -> Doubles:
    """Cosine of each row [N, D] with the mean of an album's unit vectors [M, D]: [N]; nan without.

    Raises:
        ValueError: no row of the album is whole.
    """
    person = mean_direction(album)
    lengths = np.linalg.norm(np.asarray(embedding, dtype=np.float64), axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    products = np.nan_to_num(embedding) @ person
    return np.where(usable, products / np.where(usable, lengths, 1.0), np.nan)


def mean_direction(album: Doubles) -> Doubles:
    """Mean of the unit vectors of an album's rows [M, D], of length 1: [D].

    Raises:
        ValueError: no row is whole.
    """
    whole = np.asarray(album, dtype=np.float64)[np.isfinite(album).all(axis=1)]
    if not len(whole):
        raise ValueError("no photo of the album has a vector")
    mean = (whole / np.linalg.norm(whole, axis=1, keepdims=True)).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def left_out_cosines(album: Doubles) -> Doubles:
    """Cosine [M] of each photo's vector with the mean direction of the others; nan where unread.

    What the same measure gives a real photo of the person. All nan of fewer than two.
    """
    album = np.asarray(album, dtype=np.float64)
    whole = np.flatnonzero(np.isfinite(album).all(axis=1))
    found = np.full(len(album), np.nan)
    for place in whole if len(whole) > 1 else ():
        others = album[whole[whole != place]]
        found[place] = person_cosine(album[place : place + 1], others)[0]
    return found
