"""How far an emotion recogniser can be trusted: what it confuses, and whether it knows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import softmax
from scipy.stats import binomtest

from sfe_core.arrays import Doubles, Indices, Mask
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.statistics import recognition
from sfe_core.evaluation.summary import REAL, RecogniserResult, Reliability, ReliabilityBin

BINS = 10
COVERAGE = 0.95


def recognition_result(
    seen: Mapping[str, Doubles], emotion: Indices, real: str = REAL
) -> RecogniserResult:
    """Confusions and reliability of one recogniser over all sets.

    Pictures that ask for an emotion it does not know are in none of them.

    Args:
        seen: set → logits [N, 8] in the order of `EMOTIONS`, a row of nan where there was no
            picture; every set has the same keys in the same order.
        emotion: [N], what was asked for by those keys, -1 where that is not known.
        real: name of the set of photos; where it is missing, `as_photo` is empty.
    """
    confusion, as_photo, reliabilities = {}, {}, {}
    of_photo = _first(seen[real]) if real in seen else None
    knows = recognition.known_emotions(np.concatenate(list(seen.values())))
    emotion = recognition.readable(emotion, knows)
    for name, logits in seen.items():
        known = np.isfinite(logits).all(axis=1)
        asked = np.where(known, emotion, recognition.UNASKED)
        confusion[name] = recognition.confusion(np.nan_to_num(logits), asked).tolist()
        if of_photo is not None:
            photo = np.where(known, of_photo, recognition.UNASKED)
            as_photo[name] = recognition.confusion(np.nan_to_num(logits), photo).tolist()
        reliabilities[name] = reliability(logits[asked >= 0], asked[asked >= 0])
    return RecogniserResult(
        confusion=confusion,
        as_photo=as_photo,
        reliability=reliabilities,
        unreadable=[name for name, known in zip(EMOTIONS, knows, strict=True) if not known],
    )


def reliability(logits: Doubles, asked: Indices, bins: int = BINS) -> Reliability:
    """Confidence against accuracy in bins of equal width, and the expected calibration error.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), equations 2, 3 and 5: confidence
    is the largest softmax probability, ECE the mean gap to accuracy, weighted by pictures. It is
    biased upwards where bins hold few pictures; each bin's accuracy has its Wilson 95 % interval.

    Args:
        logits: [N, 8], all finite.
        asked: [N], indices into `EMOTIONS`, all known.
        bins: number of bins between 0 and 1; each holds its upper edge.
    """
    if len(logits) == 0:
        return Reliability(n=0, ece=None, bins=_bins(np.array([]), np.array([], dtype=bool), bins))
    shares = softmax(logits, axis=-1)
    found = _bins(shares.max(axis=1), shares.argmax(axis=1) == asked, bins)
    gaps = (
        one.n * abs(one.accuracy - one.confidence)
        for one in found
        if one.accuracy is not None and one.confidence is not None
    )
    return Reliability(n=len(logits), ece=sum(gaps) / len(logits), bins=found)


def _bins(confidence: Doubles, right: Mask, count: int) -> list[ReliabilityBin]:
    edges = np.linspace(0.0, 1.0, count + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, count - 1)
    return [
        _bin(edges[i], edges[i + 1], confidence[place == i], right[place == i])
        for i in range(count)
    ]


def _bin(low: float, high: float, confidence: Doubles, right: Mask) -> ReliabilityBin:
    edges = {"low": round(float(low), 6), "high": round(float(high), 6)}
    if len(confidence) == 0:
        return ReliabilityBin(**edges, n=0, confidence=None, accuracy=None)
    hits = int(right.sum())
    interval = binomtest(hits, len(right)).proportion_ci(COVERAGE, method="wilson")
    return ReliabilityBin(
        **edges,
        n=len(right),
        confidence=float(confidence.mean()),
        accuracy=hits / len(right),
        accuracy_low=float(interval.low),
        accuracy_high=float(interval.high),
    )


def _first(logits: Doubles) -> Indices:
    """[N], index of what is seen first; -1 where nothing was read."""
    known = np.isfinite(logits).all(axis=1)
    return np.where(known, np.nan_to_num(logits).argmax(axis=1), recognition.UNASKED)
