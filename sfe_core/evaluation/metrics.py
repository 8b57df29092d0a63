"""Every metric, one record each, in the order of the tables.

summary.json, per_image.csv, the report, LaTeX, the package's card, `--compare` and the ablation
read these records: a new metric is one more record in `METRICS`, and no other file knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from sfe_core.arrays import Doubles, Mask
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.metric_record import MetricRecord, OfPictures, SetReading
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics import agreement, recognition
from sfe_core.evaluation.statistics.identity import cosine, pair_levels
from sfe_core.evaluation.statistics.measurables import Measurable, OfTheReference, OfTheSet
from sfe_core.evaluation.statistics.references import References
from sfe_core.evaluation.unit_metrics import UNIT_METRICS
from sfe_core.evaluation.yardstick import INCEPTION, Labels

NO_FACE = "no face was found on any picture"
Statistic = Callable[..., Doubles]
# What the records of a group have in common.
EMOTION = partial(MetricRecord, group="emotion", unit="share", digits=1)
GUIDANCE = partial(MetricRecord, group="guidance", reader="detector")
PERCEPTUAL = partial(
    MetricRecord,
    group="perceptual",
    better="lower",
    meaning="Distance to the photo of the same key.",
)


def ranks_of(readings: Readings, recogniser: str, labels: Labels) -> Doubles:
    """Rank [N] of the asked emotion in each reading, nan where there is no picture or label."""
    ranks, valid = np.full(len(readings.keys), np.nan), readings.valid
    logits = readings.column(recogniser, "logits")
    ranks[valid] = recognition.asked_rank(logits[valid], labels.emotion[valid])
    return ranks


def _ranks(seen: SetReading) -> Doubles:
    return ranks_of(seen.readings, seen.instrument, seen.yardstick.labels)


def _known(seen: SetReading) -> Mask:
    return recognition.known_emotions(seen.of_the_photos("logits"))


def _chance(photos: SetReading, k: int) -> float:
    """What guessing among the emotions that a recogniser knows gives."""
    return recognition.chance(_known(photos), k)


def _unasked(seen: SetReading) -> str:
    """Why no picture has a rank."""
    if (seen.yardstick.labels.emotion < 0).all():
        return "no picture of the split has an emotion label"
    return f"{seen.instrument} knows none of the emotions asked for"


def _top(k: int) -> MetricRecord:
    return EMOTION(
        name=f"top{k}",
        title=f"Emotion Top-{k}",
        meaning=f"Share of pictures whose asked emotion is among the first {k} seen.",
        reader="recogniser",
        headline_beside_judge=k == 1,
        ablation=k == 1,
        chance=partial(_chance, k=k),
        measure=OfPictures(
            lambda seen: (_ranks(seen),),
            absent=_unasked,
            entries=partial(recognition.within, k=k),
            share=True,
            stored=("*_rank",),
        ),
    )


def _photo_ranks(seen: SetReading) -> Doubles:
    """Of the photos; all nan where none is first seen as asked: there is no ceiling then."""
    ranks = ranks_of(seen.yardstick.photos, seen.instrument, seen.yardstick.labels)
    return ranks if (ranks == 1).any() else np.full_like(ranks, np.nan)


def _no_ceiling(seen: SetReading) -> str:
    known = np.isfinite(_ranks(seen)).any()
    return f"{seen.instrument} sees no photo as asked" if known else _unasked(seen)


TOP1_OF_PHOTOS = EMOTION(
    name="top1_of_photos",
    title="Top-1 over the photos'",
    meaning="How often the asked emotion is seen, over how often the same reader sees it in the "
    "photos of the same keys: its ceiling.",
    reader="recogniser",
    headline_beside_judge=True,
    measure=OfPictures(
        lambda seen: (_ranks(seen), _photo_ranks(seen)),
        absent=_no_ceiling,
        statistic=recognition.share_of_photos,
        entries=partial(recognition.within, k=1),
        stored=("*_rank", "^_rank"),
        of_photos=False,
    ),
)


def _same_top(k: int, meaning: str) -> MetricRecord:
    def same(seen: SetReading) -> tuple[Doubles]:
        return (recognition.same_first(seen.column("logits"), seen.of_the_photos("logits"), k),)

    return EMOTION(
        name=f"same_top{k}",
        title=f"Same Top-{k} as the photo",
        meaning=meaning,
        reader="judge",
        headline=False,
        measure=OfPictures(same, share=True, of_photos=False),
    )


def _recall_of(emotion: str) -> MetricRecord:
    place = EMOTIONS.index(emotion)

    def hits(seen: SetReading) -> tuple[Doubles]:
        right = recognition.within(_ranks(seen), 1)
        return (recognition.of_emotion(right, seen.yardstick.labels.emotion, place),)

    def chance(photos: SetReading) -> float | None:
        known = _known(photos)
        return recognition.chance(known, 1) if known[place] else None

    def absent(seen: SetReading) -> str:
        if not _known(seen)[place]:
            return f"{seen.instrument} does not know {emotion}"
        return f"no picture of the split asks for {emotion}"

    return EMOTION(
        name=f"recall_{emotion}",
        title=f"Recall, {emotion}",
        meaning=f"Share of pictures asked to look {emotion} that are seen so.",
        reader="recogniser",
        headline=False,
        chance=chance,
        measure=OfPictures(hits, absent=absent, share=True),
    )


def _affect(name: str) -> Iterator[MetricRecord]:
    """How far the `name` (valence or arousal) that is read agrees with the label."""

    def absent(seen: SetReading) -> str:
        if not np.isfinite(seen.column(name)).any():
            return f"{seen.instrument} does not read {name}"
        return f"no picture of the split has a label for {name}"

    def record(short: str, meaning: str, statistic: Statistic, **shown: Any) -> MetricRecord:
        return MetricRecord(
            name=f"{name}_{short}",
            title=f"{name.capitalize()} {short.upper()}",
            meaning=meaning,
            group="affect",
            reader="recogniser",
            measure=OfPictures(
                lambda seen: (seen.column(name), getattr(seen.yardstick.labels, name)),
                absent=absent,
                statistic=statistic,
                stored=(f"*_{name}", name),
            ),
            **shown,
        )

    yield record("ccc", "Lin's concordance with the label.", agreement.concordance, ablation=True)
    yield record(
        "rmse", "Root mean square off the label.", agreement.root_mean_square, better="lower"
    )
    yield record("pcc", "Pearson's correlation with the label.", agreement.pearson, headline=False)
    yield record(
        "sagr",
        "Share on the label's side of 0.",
        agreement.sign_agreement,
        unit="share",
        digits=1,
        headline=False,
    )


def _references(seen: SetReading) -> References:
    return seen.yardstick.references[seen.instrument]


def _features(seen: SetReading) -> Doubles:
    return np.asarray(seen.column("features"), dtype=np.float64)


def _distance(seen: SetReading, kernel: bool) -> Measurable:
    held = _references(seen)
    distance = held.kernel if kernel else held.frechet
    return OfTheSet(_features(seen), held.reason, distance, never_negative=not kernel)


def _few(seen: SetReading) -> str:
    return _references(seen).reason or "the reference has too few photos"


def _covered(seen: SetReading) -> Measurable:
    held = _references(seen)
    return OfTheReference(_features(seen), _few(seen), held.manifold, held.people)


def _inside(seen: SetReading) -> tuple[Doubles]:
    features, manifold = _features(seen), _references(seen).manifold
    held = np.full(len(features), np.nan)
    there = np.isfinite(features).all(axis=1)
    if manifold is not None and there.any():
        held[there] = manifold.holds(features[there])
    return (held,)


def _distribution(reader: str, frechet: str, kernel: str) -> Iterator[MetricRecord]:
    """Titles of both distances: only on Inception's features are they FID and KID."""
    record = partial(MetricRecord, group="distribution", reader=reader)
    balls = partial(record, unit="share", digits=1, headline=reader == INCEPTION)
    yield record(
        name="fid" if reader == INCEPTION else "frechet",
        title=frechet,
        meaning="Distance of the features' Gaussian to the reference photos' (Heusel et al. 2017); "
        "grows with fewer pictures: below about 2000, the kernel distance is the one to read.",
        better="lower",
        digits=2,
        ablation=True,
        measure=partial(_distance, kernel=False),
    )
    yield record(
        name="kid" if reader == INCEPTION else "kernel",
        title=kernel,
        meaning="Squared MMD to the reference photos (Gretton et al. 2012, Bińkowski et al. 2018): "
        "unbiased, whatever the number of pictures.",
        better="lower",
        measure=partial(_distance, kernel=True),
    )
    yield balls(
        name="precision",
        title="Precision",
        meaning="Share of pictures that lie where the reference photos do (third-neighbour balls).",
        measure=OfPictures(_inside, absent=_few, share=True),
    )
    yield balls(
        name="recall",
        title="Recall",
        meaning="Share of reference photos that lie where the pictures do (third-neighbour balls).",
        measure=_covered,
    )


def _column(name: str, **how: Any) -> OfPictures:
    """The mean of a column of the reader's own."""
    return OfPictures(lambda seen: (seen.column(name),), **how)


def _identity(seen: SetReading) -> tuple[Doubles]:
    return (cosine(seen.column("embedding"), seen.of_the_photos("embedding")),)


def _identity_levels(photos: SetReading) -> dict[str, float]:
    people = photos.yardstick.people
    return {} if people is None else pair_levels(photos.column("embedding"), people)


METRICS: tuple[MetricRecord, ...] = (
    _top(1),
    TOP1_OF_PHOTOS,
    *(_top(k) for k in (2, 3)),
    _same_top(1, "Share of pictures in which the judge sees the photo's first emotion."),
    _same_top(3, "Share in which the judge's first three are the photo's, in any order."),
    *_affect("valence"),
    *_affect("arousal"),
    GUIDANCE(
        name="landmark_error",
        title="Landmarks off",
        meaning="Mean distance of the 68 landmarks to those asked for, over the outer eye "
        "corners'.",
        better="lower",
        unit="%",
        digits=2,
        measure=_column("landmark_error", absent=NO_FACE, stored=("*_landmark_error",)),
    ),
    GUIDANCE(
        name="pose_error",
        title="Head pose off, degrees",
        meaning="Angle between the heads fitted to the found and to the asked landmarks.",
        better="lower",
        digits=2,
        headline=False,
        measure=_column("pose_error", absent=NO_FACE, stored=("*_pose_error",)),
    ),
    GUIDANCE(
        name="depth_order",
        title="Order in depth",
        meaning="Share of landmark pairs that the fitted head has in the depth map's order.",
        unit="share",
        digits=1,
        headline=False,
        measure=_column("depth_order", absent=NO_FACE, stored=("*_depth_order",)),
    ),
    GUIDANCE(
        name="face_found",
        title="Face found",
        meaning="Share with a face to be found.",
        unit="share",
        digits=1,
        measure=_column("detected", share=True, stored=("*_face_found",)),
    ),
    *_distribution(INCEPTION, "FID", "KID"),
    *_distribution("features", "Fréchet", "Kernel distance"),
    PERCEPTUAL(
        name="perceptual",
        title="Perceptual",
        reader="perceptual",
        measure=_column("distance", of_photos=False, stored=("*_perceptual",)),
    ),
    PERCEPTUAL(
        name="dists",
        title="DISTS",
        reader="dists",
        measure=_column("distance", of_photos=False, stored=("*_dists",)),
    ),
    PERCEPTUAL(
        name="background",
        title="Background changed",
        meaning="Of edits: mean difference to the photo outside the person, in grey levels of 255.",
        reader="background",
        digits=1,
        measure=_column(
            "difference",
            absent="the person fills every picture",
            of_photos=False,
            stored=("*_background",),
        ),
    ),
    MetricRecord(
        name="identity",
        title="Identity",
        meaning="Cosine between the face's identity vector and the photo's.",
        group="identity",
        reader="identity",
        levels=_identity_levels,
        measure=OfPictures(_identity, absent=NO_FACE, of_photos=False, stored=("*_identity",)),
    ),
    MetricRecord(
        name="clip",
        title="Caption (CLIP)",
        meaning="Cosine of picture and caption in CLIP's space; of captions longer than CLIP "
        "reads, their beginning.",
        group="text",
        reader="clip",
        measure=_column(
            "similarity", absent="no picture of the split has a caption", stored=("*_clip",)
        ),
    ),
    *(_recall_of(emotion) for emotion in EMOTIONS),
    *UNIT_METRICS,
)
