"""A corpus in numbers: faces by emotion and split, how often each is drawn, how values lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from sfe_core.config.model import Config
from sfe_core.corpus.balance import draws_per_epoch, present_units
from sfe_core.corpus.choice import choose_faces
from sfe_core.corpus.dataset import emotion_index
from sfe_core.corpus.people.duplicates import Duplicates
from sfe_core.corpus.people.identities import People
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.sampler import DeterministicSampler
from sfe_core.corpus.views import Variation
from sfe_core.emotions import EMOTIONS

UNLABELLED = "unlabelled"
_NUMBERS = (
    *("valence", "arousal", "yaw", "pitch", "roll", "crop_side", "invented_border"),
    *("sharpness", "brightness", "contrast", "fit_error", "confidence"),
)
_LABEL = "label_"  # prefix of further columns of labels.csv, see `labels`


@dataclass(frozen=True)
class EmotionCount:
    """Faces of one emotion.

    Attributes:
        emotion: its name, or "unlabelled".
        splits: split to faces of status ok.
        chosen: of the training split, those that the `data` section leaves.
        drawn: how many of an epoch's images they are, by `train.balance`.
    """

    emotion: str
    splits: dict[str, int]
    chosen: int
    drawn: int

    @property
    def times(self) -> float:
        """How often an epoch sees each of them, on average; 0 where there are none."""
        return self.drawn / self.chosen if self.chosen else 0.0


@dataclass(frozen=True)
class UnitCount:
    """Chosen faces that show an action unit, and how many of an epoch's images they are."""

    unit: str
    chosen: int
    drawn: int


@dataclass(frozen=True)
class NumberSpread:
    """How a column of numbers lies: percentiles over the chosen faces that have it."""

    name: str
    known: int
    mean: float
    deviation: float
    low: float  # 5 %
    middle: float
    high: float  # 95 %


@dataclass(frozen=True)
class CorpusStats:
    """A corpus in numbers.

    Attributes:
        statuses: status to photos, all of the manifest.
        splits: split to faces of status ok.
        left_out: setting of the `data` section to faces of the training split it leaves out.
        emotions: the eight and, if there are any, unlabelled ones.
        units: those that a label tells of, by FACS number.
        numbers: of the chosen faces.
        identities: people among them; 0 where unknown.
        people: what names people → how many, of all faces of status ok.
        unknown_faces: faces of nobody known.
        copies: faces that are copies of others.
        exact_copies: of these, of a photo with the same bytes.
        contradictions: copies with different emotions, in words.
        captions: different captions among them.
        views: pictures that a face gives, mirrored and cropped.
        epoch_images: images of an epoch, in which every chosen face comes at least once.
        epochs: how many the run of sfe.yaml makes.
    """

    statuses: dict[str, int]
    splits: dict[str, int]
    left_out: dict[str, int]
    emotions: tuple[EmotionCount, ...]
    units: tuple[UnitCount, ...]
    numbers: tuple[NumberSpread, ...]
    identities: int
    people: dict[str, int]
    unknown_faces: int
    copies: int
    exact_copies: int
    contradictions: list[str]
    captions: int
    views: int
    epoch_images: int
    epochs: float


def corpus_stats(corpus: Corpus, config: Config, split: str = "train") -> CorpusStats:
    """Count the corpus as the run of `config` would see it.

    Args:
        corpus: an open corpus.
        config: gives the sections `data` and `train`.
        split: the one that is learnt from.

    Raises:
        UserError: there is no such split, or no face is left in it.
    """
    choice = choose_faces(corpus.split(split), config.data)
    emotions = [emotion_index(name) for name in choice.rows["emotion"]]
    weights = draws_per_epoch(choice.rows, config)
    sampler = DeterministicSampler(len(emotions), config.train.seed, weights)
    order = sampler.order(0)
    drawn = pd.Series(emotions).iloc[order].value_counts()
    train = config.train
    people, duplicates = People.of_table(corpus.rows), Duplicates.of_table(corpus.rows)
    known = dict(zip(corpus.rows["key"], corpus.rows["emotion"], strict=True))
    return CorpusStats(
        statuses=_counts(corpus.all_rows["status"]),
        splits=_counts(corpus.rows["split"].replace("", "none")),
        left_out=choice.left_out,
        emotions=_emotions(corpus.rows, pd.Series(emotions).value_counts(), drawn),
        units=_units(present_units(choice.rows, config.captions.units_from), order),
        numbers=_spreads(choice.rows),
        identities=int(choice.rows["identity"].nunique()),
        people=people.by_source,
        unknown_faces=people.unknown_faces,
        copies=duplicates.copies,
        exact_copies=duplicates.exact,
        contradictions=duplicates.contradictions(known),
        captions=int(choice.rows["caption"].nunique()),
        views=Variation.of(config.data).per_face,
        epoch_images=len(sampler),
        epochs=train.steps * train.effective_batch / len(sampler),
    )


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _emotions(rows: pd.DataFrame, chosen: pd.Series, drawn: pd.Series) -> tuple[EmotionCount, ...]:
    names = rows["emotion"].where(rows["emotion"].notna(), UNLABELLED)
    counted = []
    for place, name in [*enumerate(EMOTIONS), (emotion_index(None), UNLABELLED)]:
        splits = _counts(rows.loc[names == name, "split"].replace("", "none"))
        if splits or name != UNLABELLED:
            counted.append(
                EmotionCount(name, splits, int(chosen.get(place, 0)), int(drawn.get(place, 0)))
            )
    return tuple(counted)


def _units(present: pd.DataFrame, order: NDArray[Any]) -> tuple[UnitCount, ...]:
    drawn = present.iloc[order].sum()
    codes = [str(code) for code in present]
    return tuple(UnitCount(code, int(present[code].sum()), int(drawn[code])) for code in codes)


def _spreads(rows: pd.DataFrame) -> tuple[NumberSpread, ...]:
    labels = sorted(
        str(name)
        for name in rows
        if str(name).startswith(_LABEL) and pd.api.types.is_numeric_dtype(rows[name])
    )
    found = []
    for name in (*_NUMBERS, *labels):
        values = rows[name].astype("float64").dropna() if name in rows else pd.Series(dtype=float)
        if len(values):
            low, middle, high = values.quantile([0.05, 0.5, 0.95])
            spread = values.mean(), values.std(ddof=0), low, middle, high
            found.append(NumberSpread(name, len(values), *map(float, spread)))
    return tuple(found)
