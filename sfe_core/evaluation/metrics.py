"""Which numbers are computed: each metric's name and meaning, and how it is had from readings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.readings import Array, Readings
from sfe_core.evaluation.statistics import agreement, recognition
from sfe_core.evaluation.statistics.measurables import (
    Measurable,
    OfTheReference,
    OfTheSet,
    PerPicture,
)
from sfe_core.evaluation.statistics.references import References
from sfe_core.evaluation.summary import Metric

NO_FACE = "no face was found on any picture"
PHOTOS_THEMSELVES = "these are the photos themselves"
CHANCE = {1: 1 / 8, 2: 2 / 8, 3: 3 / 8}


@dataclass(frozen=True)
class Labels:
    """What was asked for, one row per key.

    Attributes:
        emotion: [N], index into `EMOTIONS`, -1 where the photo has no label.
        valence, arousal: [N] in [-1, 1], nan where there is none.
    """

    emotion: NDArray[np.intp]
    valence: Array
    arousal: Array

    def counts(self) -> dict[str, int]:
        """How often each emotion was asked for."""
        return {name: int((self.emotion == place).sum()) for place, name in enumerate(EMOTIONS)}


@dataclass(frozen=True)
class Yardstick:
    """What every set is held against.

    Attributes:
        labels: what was asked for.
        references: of the real photos of another split.
        photos: readings of the photos of the same keys.
        statistics, perceptual: name of the instruments of distances and of LPIPS.
        further: other instruments that measured: dists, clip, identity.
    """

    labels: Labels
    references: References
    photos: Readings
    statistics: str
    perceptual: str
    further: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Definition:
    """A metric, and how it is had from the readings of a set; `photos`: these are the photos'."""

    metric: Metric
    make: Callable[[Readings, bool], Measurable]


def definitions(yardstick: Yardstick) -> dict[str, Definition]:
    """Every metric by name, in the order of the tables."""
    recognisers = yardstick.photos.recognisers
    found: dict[str, Definition] = {}
    for place, name in enumerate(recognisers):
        suffix = f"_{name}" if place else ""
        found |= {k + suffix: d for k, d in _of_emotion(name, yardstick.labels, place == 0)}
    found |= dict(_as_photo(recognisers[0], yardstick.photos))
    for place, name in enumerate(recognisers):
        suffix = f"_{name}" if place else ""
        found |= {k + suffix: d for k, d in _of_affect(name, yardstick.labels, place == 0)}
    found |= dict(_of_guidance())
    found |= dict(_of_distribution(yardstick.statistics, yardstick.references))
    found |= dict(_against_the_photo(yardstick))
    for place, name in enumerate(recognisers):
        suffix = f"_{name}" if place else ""
        found |= {k + suffix: d for k, d in _recalls(name, yardstick.labels, place == 0)}
    return found


def measurables(
    readings: Readings, defined: Mapping[str, Definition], photos: bool
) -> dict[str, Measurable]:
    """The metrics of `definitions` over one set; `photos`: the set is the photos themselves."""
    return {name: definition.make(readings, photos) for name, definition in defined.items()}


def ranks_of(readings: Readings, recogniser: str, labels: Labels) -> Array:
    """Rank [N] of the asked emotion in each reading, nan where there is no picture or label."""
    ranks, valid = np.full(len(readings.keys), np.nan), readings.valid
    logits = readings.recognition(recogniser).logits
    ranks[valid] = recognition.asked_rank(logits[valid], labels.emotion[valid])
    return ranks


def _whose(recogniser: str, judge: bool) -> str:
    """End of a title: who else than the judge sees it."""
    return "" if judge else f" ({recogniser})"


def _of_emotion(recogniser: str, labels: Labels, judge: bool) -> Iterator[tuple[str, Definition]]:
    for k in (1, 2, 3):
        metric = Metric(
            title=f"Emotion Top-{k}" + _whose(recogniser, judge),
            unit="share",
            better="higher",
            headline=judge or k == 1,
            digits=1,
            group="emotion",
            instrument=recogniser,
            description=f"Share of pictures whose asked emotion is among the first {k} seen.",
            chance=CHANCE[k],
        )

        def make(readings: Readings, _: bool, k: int = k) -> Measurable:
            hits = recognition.within(ranks_of(readings, recogniser, labels), k)
            absent = "no picture of the split has an emotion label"
            return PerPicture(agreement.mean, (hits,), absent, True)

        yield f"top{k}", Definition(metric, make)


def _as_photo(judge: str, photos: Readings) -> Iterator[tuple[str, Definition]]:
    for k in (1, 3):
        metric = Metric(
            title=f"Same Top-{k} as the photo",
            unit="share",
            better="higher",
            headline=False,
            digits=1,
            group="emotion",
            instrument=judge,
            description="Share of pictures in which the judge sees the photo's first emotion."
            if k == 1
            else "Share in which the judge's first three are the photo's, in any order.",
        )

        def make(readings: Readings, of_photos: bool, k: int = k) -> Measurable:
            same = recognition.same_first(readings.logits, photos.logits, k)
            if of_photos:
                same = np.full_like(same, np.nan)
            return PerPicture(agreement.mean, (same,), PHOTOS_THEMSELVES, True)

        yield f"same_top{k}", Definition(metric, make)


def _of_affect(recogniser: str, labels: Labels, judge: bool) -> Iterator[tuple[str, Definition]]:
    statistics = (
        ("ccc", agreement.concordance, "", "higher", 3, "Lin's concordance with the label."),
        ("rmse", agreement.root_mean_square, "", "lower", 3, "Root mean square off the label."),
        ("pcc", agreement.pearson, "", "higher", 3, "Pearson's correlation with the label."),
        ("sagr", agreement.sign_agreement, "share", "higher", 1, "Share on the label's side of 0."),
    )
    for name in ("valence", "arousal"):
        for suffix, statistic, unit, better, digits, description in statistics:
            metric = Metric(
                title=f"{name.capitalize()} {suffix.upper()}" + _whose(recogniser, judge),
                unit=unit,
                better=better,
                headline=judge and suffix in ("ccc", "rmse"),
                digits=digits,
                group="affect",
                instrument=recogniser,
                description=description,
            )

            def make(
                readings: Readings, _: bool, name: str = name, statistic=statistic
            ) -> Measurable:
                read = getattr(readings.recognition(recogniser), name)
                absent = f"no picture of the split has a label for {name}"
                if not np.isfinite(read).any():
                    absent = f"{recogniser} does not read {name}"
                return PerPicture(statistic, (read, getattr(labels, name)), absent)

            yield f"{name}_{suffix}", Definition(metric, make)


def _of_guidance() -> Iterator[tuple[str, Definition]]:
    rows = (
        (
            "landmark_error",
            "Landmarks off",
            ("%", "lower", 2),
            "Mean distance of the 68 landmarks to those asked for, over the outer eye corners'.",
        ),
        (
            "pose_error",
            "Head pose off, degrees",
            ("", "lower", 2),
            "Angle between the heads fitted to the found and to the asked landmarks.",
        ),
        (
            "depth_order",
            "Order in depth",
            ("share", "higher", 1),
            "Share of landmark pairs that the fitted head has in the depth map's order.",
        ),
        ("face_found", "Face found", ("share", "higher", 1), "Share with a face to be found."),
    )
    for name, title, (unit, better, digits), description in rows:
        metric = Metric(
            title=title,
            unit=unit,
            better=better,
            headline=name in ("landmark_error", "face_found"),
            digits=digits,
            group="guidance",
            instrument="detector",
            description=description,
        )

        def make(readings: Readings, _: bool, name: str = name) -> Measurable:
            found = name == "face_found"
            values = readings.column("detector", "detected" if found else name)
            absent = "no picture measured" if found else NO_FACE
            return PerPicture(agreement.mean, (values,), absent, found)

        yield name, Definition(metric, make)


def _of_distribution(statistics: str, references: References) -> Iterator[tuple[str, Definition]]:
    inception = statistics == "inception"
    suffix, brackets = ("", "") if inception else (f"_{statistics}", f" ({statistics})")
    rows = (
        ("fid" if inception else "frechet", "FID" if inception else "Fréchet", "lower", 2),
        ("kid" if inception else "kernel", "KID" if inception else "Kernel distance", "lower", 3),
        ("precision", "Precision", "higher", 1),
        ("recall", "Recall", "higher", 1),
    )
    texts = (
        "Distance of the features' Gaussian to the reference photos'; grows with fewer pictures.",
        "Squared MMD to the reference photos: unbiased, whatever the number of pictures.",
        "Share of pictures that lie where the reference photos do (third-neighbour balls).",
        "Share of reference photos that lie where the pictures do (third-neighbour balls).",
    )
    for (name, title, better, digits), description in zip(rows, texts, strict=True):
        share = name in ("precision", "recall")
        metric = Metric(
            title=title + brackets,
            unit="share" if share else "",
            better=better,
            headline=inception or not share,
            digits=digits,
            group="distribution",
            instrument=statistics,
            description=description,
        )

        def make(readings: Readings, _: bool, name: str = name) -> Measurable:
            return _distribution(name, readings.columns[statistics]["features"], references)

        yield name + suffix, Definition(metric, make)


def _distribution(name: str, features: Array, references: References) -> Measurable:
    features = np.asarray(features, dtype=np.float64)
    reason, manifold = references.reason, references.manifold
    few = reason or "the reference has too few photos"
    if name in ("fid", "frechet"):
        return OfTheSet(references.frechet, features, reason, True)
    if name in ("kid", "kernel"):
        return OfTheSet(references.kernel, features, reason)
    if name == "recall":
        return OfTheReference(manifold, features, few)
    held = np.full(len(features), np.nan)
    there = np.isfinite(features).all(axis=1)
    if manifold is not None and there.any():
        held[there] = manifold.holds(features[there])
    return PerPicture(agreement.mean, (held,), few, True)


def _photo_metric(title: str, better: str, group: str, instrument: str, description: str) -> Metric:
    return Metric(
        title=title,
        unit="",
        better=better,
        headline=True,
        digits=3,
        group=group,
        instrument=instrument,
        description=description,
    )


def _against_the_photo(yardstick: Yardstick) -> Iterator[tuple[str, Definition]]:
    def column(instrument: str, name: str, absent: str):
        return lambda readings, _: PerPicture(
            agreement.mean, (readings.column(instrument, name),), absent
        )

    def identity(readings: Readings, of_photos: bool) -> Measurable:
        similarity = cosine(
            readings.column("detector", "embedding"),
            yardstick.photos.column("detector", "embedding"),
        )
        if of_photos:
            similarity = np.full_like(similarity, np.nan)
        return PerPicture(
            agreement.mean, (similarity,), PHOTOS_THEMSELVES if of_photos else NO_FACE
        )

    name = yardstick.perceptual
    text = "Distance to the photo of the same key."
    yield (
        f"perceptual_{name}",
        Definition(
            _photo_metric(f"Perceptual ({name})", "lower", "perceptual", name, text),
            column(name, "distance", PHOTOS_THEMSELVES),
        ),
    )
    if "dists" in yardstick.further:
        yield (
            "dists",
            Definition(
                _photo_metric("DISTS", "lower", "perceptual", "dists", text),
                column("dists", "distance", PHOTOS_THEMSELVES),
            ),
        )
    for embedder in sorted(name for name in yardstick.further if name.startswith("identity")):
        text = "Cosine between the face's identity vector and the photo's."
        yield (
            embedder,
            Definition(
                _photo_metric(
                    f"Identity ({embedder.partition('_')[2]})", "higher", "identity", embedder, text
                ),
                identity,
            ),
        )
    if "clip" in yardstick.further:
        text = (
            "Cosine of picture and caption in CLIP's space; of captions longer than CLIP reads, "
            "their beginning."
        )
        yield (
            "clip",
            Definition(
                _photo_metric("Caption (CLIP)", "higher", "text", "clip", text),
                column("clip", "similarity", "no picture of the split has a caption"),
            ),
        )


def _recalls(recogniser: str, labels: Labels, judge: bool) -> Iterator[tuple[str, Definition]]:
    for index, emotion in enumerate(EMOTIONS):
        metric = Metric(
            title=f"Recall, {emotion}" + _whose(recogniser, judge),
            unit="share",
            better="higher",
            headline=False,
            digits=1,
            group="emotion",
            instrument=recogniser,
            description=f"Share of pictures asked to look {emotion} that are seen so.",
            chance=CHANCE[1],
        )

        def make(
            readings: Readings, _: bool, index: int = index, emotion: str = emotion
        ) -> Measurable:
            hits = recognition.within(ranks_of(readings, recogniser, labels), 1)
            hits = recognition.of_emotion(hits, labels.emotion, index)
            absent = f"no picture of the split asks for {emotion}"
            return PerPicture(agreement.mean, (hits,), absent, True)

        yield f"recall_{emotion}", Definition(metric, make)


def cosine(first: Array, second: Array) -> Array:
    """Cosine [N] of rows [N, D]; nan where either row has one."""
    if first.ndim != 2 or second.ndim != 2:
        return np.full(len(first), np.nan)
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    products = np.einsum("nd,nd->n", first, second)
    return np.where(usable, products / np.where(usable, lengths, 1.0), np.nan)
