"""What is known of a metric: the record that `metrics.METRICS` holds one of for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sfe_core.arrays import Doubles
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.measurables import Measurable, PerPicture
from sfe_core.evaluation.summary import REAL, Metric, MetricGroup, usual_set
from sfe_core.evaluation.yardstick import Yardstick

NOT_MEASURED = "no picture measured"
PHOTOS_THEMSELVES = "these are the photos themselves"
PHOTOS_PREFIX = usual_set(REAL).prefix


@dataclass(frozen=True)
class SetReading:
    """One set of pictures as one instrument reads it; `photos`: it is the photos themselves."""

    readings: Readings
    instrument: str
    yardstick: Yardstick
    photos: bool = False

    def column(self, name: str) -> Doubles:
        """[N] or [N, D] as the instrument's probe names it; all nan where it did not measure."""
        return self.readings.column(self.instrument, name)

    def of_the_photos(self, name: str) -> Doubles:
        """The same column of the photos of the same keys."""
        return self.yardstick.photos.column(self.instrument, name)


@dataclass(frozen=True)
class OfPictures:
    """A statistic over numbers that every picture has.

    Attributes:
        columns: [N] each, nan where a picture has none.
        absent: why no picture has one, should that be so.
        statistic: over the last axis of what `entries` makes of the columns.
        share: entries are 0 or 1.
        entries: from the columns; None = they are the entries.
        stored: what holds the columns in per_image.csv, `*` being the set's prefix and `^` the
            photos'; () = nothing. What a recogniser beside the judge reads has its name behind it.
        of_photos: the photos themselves have it; what is held against them does not.
    """

    columns: Callable[[SetReading], tuple[Doubles, ...]]
    absent: str | Callable[[SetReading], str] = NOT_MEASURED
    statistic: Callable[..., Doubles] = agreement.mean
    share: bool = False
    entries: Callable[[Doubles], Doubles] | None = None
    stored: tuple[str, ...] = ()
    of_photos: bool = True

    def __call__(self, seen: SetReading) -> PerPicture:
        """As read off a set."""
        columns = self.columns(seen)
        if seen.photos and not self.of_photos:
            nothing = tuple(np.full_like(column, np.nan) for column in columns)
            return self._measurable(nothing, PHOTOS_THEMSELVES)
        absent = self.absent if isinstance(self.absent, str) else self.absent(seen)
        return self._measurable(columns, absent)

    def own(self, seen: SetReading) -> dict[str, Doubles]:
        """The columns of the set that per_image.csv has, by name without its prefix."""
        further = seen.instrument in seen.readings.recognisers[1:]
        if not self.stored or (seen.photos and not self.of_photos):
            return {}
        named = zip(self.stored, self.columns(seen), strict=True)
        ending = f"_{seen.instrument}" if further else ""
        return {
            f"{name[2:]}{ending}": column
            for name, column in named
            if name.startswith("*_") and not (further and np.isnan(column).all())
        }

    def from_table(self, table: pd.DataFrame, prefix: str, reader: str) -> PerPicture | None:
        """As per_image.csv holds it of a set; None where it does not.

        Args:
            prefix: of the set's columns.
            reader: the recogniser beside the judge that is meant; empty: none.
        """
        prefixes, ending = {"*": prefix, "^": PHOTOS_PREFIX}, f"_{reader}" if reader else ""
        names = [
            f"{prefixes[name[0]]}{name[1:]}{ending}" if name[0] in prefixes else name
            for name in self.stored
        ]
        if not names or any(name not in table for name in names):
            return None
        columns = (table[name].to_numpy(dtype=float, na_value=np.nan) for name in names)
        return self._measurable(tuple(columns), NOT_MEASURED)

    def _measurable(self, columns: tuple[Doubles, ...], absent: str) -> PerPicture:
        if self.entries is not None:
            columns = tuple(self.entries(column) for column in columns)
        return PerPicture(self.statistic, columns, absent, self.share)


@dataclass(frozen=True)
class MetricRecord:
    """All that is known of a metric.

    Attributes:
        name: in summary.json; followed by the instrument's where any of several may read it.
        title, meaning: for people; the meaning is one sentence.
        group: the heading that it stands under.
        reader: who reads it: see `metrics._readers`; else the name of an instrument.
        measure: from what was read off a set.
        better, unit, digits: which side is better, and how numbers are shown.
        headline: it stands in the short table.
        headline_beside_judge: also where a further recogniser reads it.
        ablation: it stands in the ablation's table.
        chance: what guessing gives, where that is known.
        levels: what real photos give, by name, to hold a score against.
        applies: whether there is anything to measure, by the photos; None = always.
    """

    name: str
    title: str
    meaning: str
    group: MetricGroup
    reader: str
    measure: Callable[[SetReading], Measurable]
    better: Literal["lower", "higher"] = "higher"
    unit: Literal["", "share", "%"] = ""
    digits: int = 3
    headline: bool = True
    headline_beside_judge: bool = False
    ablation: bool = False
    chance: Callable[[SetReading], float | None] | None = None
    levels: Callable[[SetReading], dict[str, float]] | None = None
    applies: Callable[[SetReading], bool] | None = None

    def answers_to(self, name: str) -> bool:
        """Whether `name`, found in a summary, is this metric as its first reader reads it."""
        return self.reader_in(name) == ""

    def reader_in(self, name: str) -> str | None:
        """The recogniser beside the judge by whom `name`, found in a summary, is this metric.

        Empty: its first reader; None: it is another metric.
        """
        if name != self.name and not name.startswith(f"{self.name}_"):
            return None
        return name[len(self.name) + 1 :] if self.reader == "recogniser" else ""

    def metric(self, photos: SetReading, label: str) -> Metric:
        """What summary.json says of it; `label` tells its instrument from others that read it."""
        return Metric(
            title=f"{self.title} ({label})" if label else self.title,
            unit=self.unit,
            better=self.better,
            headline=self.headline
            and (self.headline_beside_judge or not label or self.reader != "recogniser"),
            digits=self.digits,
            group=self.group,
            instrument=photos.instrument,
            description=self.meaning,
            chance=None if self.chance is None else self.chance(photos),
        )
