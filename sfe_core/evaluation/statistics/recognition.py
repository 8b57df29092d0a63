"""Does the judge see the emotion that was asked for: ranks, top-k, recall, confusion."""

from __future__ import annotations

import numpy as np

from sfe_core.arrays import Doubles, Indices, Integers, Mask
from sfe_core.emotions import EMOTIONS

UNASKED = -1
# Of an emotion that a recogniser does not know: no probability, finite, and no network's own.
UNSEEN_LOGIT = -1e4


def asked_rank(logits: Doubles, asked: Indices) -> Doubles:
    """Place of the asked emotion in each reading: 1 is what the judge sees first.

    Args:
        logits: [N, 8], in the order of `EMOTIONS`.
        asked: [N], indices into `EMOTIONS`; -1 where no emotion was asked.

    Returns:
        [N], 1 to 8; nan where none was asked, and where the judge does not know the asked one: of
        that it can say nothing. An equal logit counts against the asked one, so that a judge that
        says the same of every emotion is not taken for right.
    """
    asked = np.asarray(asked, dtype=np.intp)
    score = np.take_along_axis(logits, np.maximum(asked, 0)[:, None], axis=1)
    rank = (logits >= score).sum(axis=1).astype(np.float64)
    return np.where((asked == UNASKED) | (score[:, 0] <= UNSEEN_LOGIT), np.nan, rank)


def within(ranks: Doubles, k: int) -> Doubles:
    """1.0 where the asked emotion is among the judge's first `k`, 0.0 where not, nan where none."""
    return np.where(np.isnan(ranks), np.nan, (ranks <= k).astype(np.float64))


def share_of_photos(right: Doubles, photo_right: Doubles) -> Doubles:
    """How often a set is read as asked, over how often the photos of the same keys are.

    Args:
        right, photo_right: [..., N] of 0.0 and 1.0; keys with a nan on either side are left out.

    Returns:
        [...], a ratio that noise can lift beyond 1; nan where no photo is read as asked.
    """
    known = ~(np.isnan(right) | np.isnan(photo_right))
    drawn, photos = (np.where(known, one, 0.0).sum(axis=-1) for one in (right, photo_right))
    return np.where(photos > 0, drawn / np.where(photos > 0, photos, 1.0), np.nan)


def order(logits: Doubles) -> Indices:
    """[N, 8] indices of emotions, from what the recogniser sees first to what it sees last."""
    return np.argsort(-np.nan_to_num(logits), axis=1, kind="stable")


def same_first(logits: Doubles, others: Doubles, k: int) -> Doubles:
    """1.0 where the first `k` emotions of two readings are the same, in any order, else 0.0.

    Args:
        logits, others: [N, 8] of the same keys.

    Returns:
        [N]; nan where either picture was not measured.
    """
    first, second = order(logits)[:, :k], order(others)[:, :k]
    same = (np.sort(first) == np.sort(second)).all(axis=1).astype(np.float64)
    unknown = np.isnan(logits).any(axis=1) | np.isnan(others).any(axis=1)
    return np.where(unknown, np.nan, same)


def of_emotion(hits: Doubles, asked: Indices, emotion: int) -> Doubles:
    """`hits` [N] where `emotion` was asked, nan elsewhere: their mean is that emotion's recall."""
    return np.where(asked == emotion, hits, np.nan)


def confusion(logits: Doubles, asked: Indices) -> Integers:
    """[8, 8] counts, row = asked, column = what the judge sees first; the unasked are left out."""
    matrix = np.zeros((len(EMOTIONS), len(EMOTIONS)), dtype=np.int64)
    known = np.asarray(asked) != UNASKED
    np.add.at(matrix, (np.asarray(asked)[known], logits[known].argmax(axis=1)), 1)
    return matrix


def readable(asked: Indices, known: Mask) -> Indices:
    """`asked` [N] without what a recogniser does not know (`known` [8]), which becomes -1."""
    asked = np.asarray(asked, dtype=np.intp)
    return np.where((asked != UNASKED) & known[np.maximum(asked, 0)], asked, UNASKED)


def known_emotions(logits: Doubles) -> Mask:
    """[8], which emotions a recogniser knows, by all of its logits [N, 8]; all if it read none."""
    read = logits[np.isfinite(logits).all(axis=1)]
    return np.any(read > UNSEEN_LOGIT, axis=0) if len(read) else np.ones(len(EMOTIONS), dtype=bool)


def chance(known: Mask, k: int) -> float:
    """Expected share within the first `k` of guesses among the emotions that a recogniser knows.

    Args:
        known: [8], see `known_emotions`; pictures that ask for another are not counted.
    """
    return float(min(1.0, k / known.sum()))
