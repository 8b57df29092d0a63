"""The metrics of one evaluation: which records it measures, by whom, and under which names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd

from sfe_core.arrays import Doubles
from sfe_core.evaluation import metrics
from sfe_core.evaluation.metric_record import MetricRecord, OfPictures, SetReading
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.measurables import Measurable, PerPicture
from sfe_core.evaluation.summary import REAL, Metric
from sfe_core.evaluation.yardstick import INCEPTION, Yardstick


@dataclass(frozen=True)
class Definition:
    """A metric of one evaluation: what is said of it, and the photos as its reader sees them."""

    record: MetricRecord
    metric: Metric
    photos: SetReading

    def of(self, readings: Readings, name: str) -> Measurable:
        """The metric over the set of this name."""
        return self.record.measure(self._seen(readings, name))

    def stored(self, readings: Readings, name: str) -> dict[str, Doubles]:
        """The set's columns of per_image.csv that the metric is had from, by name."""
        measure = self.record.measure
        return measure.own(self._seen(readings, name)) if isinstance(measure, OfPictures) else {}

    def _seen(self, readings: Readings, name: str) -> SetReading:
        return replace(self.photos, readings=readings, photos=name == REAL)

    @property
    def levels(self) -> dict[str, float]:
        """What real photos give, by name; empty where that is not known."""
        return {} if self.record.levels is None else self.record.levels(self.photos)


def definitions(
    yardstick: Yardstick, keep: Callable[[MetricRecord], bool] = lambda _: True
) -> dict[str, Definition]:
    """Every metric that was measured, by name, in the order of the tables; `keep`: of these."""
    found: dict[str, Definition] = {}
    kept = filter(keep, metrics.METRICS)
    for reader, group in groupby(kept, key=lambda record: record.reader):
        records = list(group)
        for instrument, label in _readers(reader, yardstick):
            photos = SetReading(yardstick.photos, instrument, yardstick, photos=True)
            for record in records:
                if record.applies is not None and not record.applies(photos):
                    continue
                name = f"{record.name}_{label}" if label else record.name
                found[name] = Definition(record, record.metric(photos, label), photos)
    return found


def _readers(reader: str, yardstick: Yardstick) -> Iterator[tuple[str, str]]:
    """Instruments that a record's `reader` means, and what tells each from others, if any do."""
    if reader in ("judge", "recogniser"):
        judge, *beside = yardstick.photos.recognisers
        yield judge, ""
        if reader == "recogniser":
            yield from ((name, name) for name in beside)
    elif reader == INCEPTION:
        yield from ((name, "") for name in yardstick.references if name == INCEPTION)
    elif reader == "features":
        yield from ((name, name) for name in yardstick.references if name != INCEPTION)
    elif reader == "perceptual":
        yield yardstick.perceptual, yardstick.perceptual
    elif reader == "identity":
        names = sorted(name for name in yardstick.further if name.startswith("identity_"))
        yield from ((name, name.removeprefix("identity_")) for name in names)
    elif reader == "detector" or reader in yardstick.further:
        yield reader, ""


def in_ablation(name: str) -> bool:
    """Whether the ablation's table shows the metric of this name in summary.json."""
    return any(record.ablation and record.answers_to(name) for record in metrics.METRICS)


def stored(name: str, table: pd.DataFrame, prefix: str) -> PerPicture | None:
    """What per_image.csv holds of a metric of a set; None where it holds nothing of it.

    Args:
        name: in summary.json.
        prefix: of the set's columns.
    """
    found = [(len(one.name), one) for one in metrics.METRICS if one.reader_in(name) is not None]
    # `recall_happy_emonet` begins with the names of two metrics: the longer one is meant.
    record = max(found, key=lambda one: one[0], default=(0, None))[1]
    if record is None or not isinstance(record.measure, OfPictures):
        return None
    return record.measure.from_table(table, prefix, record.reader_in(name) or "")
