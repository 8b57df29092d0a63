"""The metrics of action units: of each unit that the judge reads and that was asked for.

Intensities are compared by the mean of both halves of the face, and where labels tell the halves
apart, by each half. A unit is seen as present where the stronger half is read at `PRESENT_FROM` or
more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.controls.action_units import ACTION_UNITS
from sfe_core.diffusion.unit_attention import LEFT, PRESENT, RIGHT
from sfe_core.evaluation.metric_record import MetricRecord, OfPictures, SetReading
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.measurables import OverUnits
from sfe_core.evaluation.yardstick import PRESENT_FROM, UNITS

Statistic = Callable[..., Doubles]
NOT_ASKED = "no picture of the split has an intensity for it"
# What stands in per_image.csv: the readings of a set, and what was asked for.
_READ, _ASKED = ("*_{0}L", "*_{0}R"), ("{0}L", "{0}R")


def asked_columns(labels: Mapping[str, Doubles]) -> dict[str, Doubles]:
    """The columns of per_image.csv that say what was asked for: `AU12L`, `AU12R`, `AU12_present`.

    Args:
        labels: see `Labels.units`.
    """
    return {
        f"{unit}{ending}": told[:, place]
        for unit, told in labels.items()
        for ending, place in (("L", LEFT), ("R", RIGHT), ("_present", PRESENT))
    }


def measured_units(photos: SetReading) -> tuple[str, ...]:
    """The units that were asked for and that the judge reads, in FACS order."""
    return tuple(unit for unit in ACTION_UNITS if _is_measured(photos, unit))


def _is_measured(photos: SetReading, unit: str) -> bool:
    read = photos.yardstick.photos.columns.get(UNITS, {})
    return unit in photos.yardstick.labels.units and f"{unit}L" in read


def _differs_by_side(photos: SetReading, unit: str) -> bool:
    if not _is_measured(photos, unit):
        return False
    left, right, _ = photos.yardstick.labels.units[unit].T
    return bool(np.nanmax(np.abs(left - right), initial=0.0) > 0.0)


# ---- Columns -------------------------------------------------------------------------------------


def _sides(seen: SetReading, unit: str) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Read left and right, asked left and right; [N] each."""
    told = seen.yardstick.labels.units[unit]
    return (seen.column(f"{unit}L"), seen.column(f"{unit}R"), told[:, LEFT], told[:, RIGHT])


def _one_side(seen: SetReading, unit: str, place: int) -> tuple[Doubles, Doubles]:
    """Read and asked of the left (0) or right (1) half; [N] each."""
    read, asked = _sides(seen, unit)[place::2]
    return read, asked


def _presence(seen: SetReading, unit: str) -> tuple[Doubles, Doubles, Doubles]:
    """Read left and right, and whether it was asked for; [N] each."""
    return (*_sides(seen, unit)[:2], seen.yardstick.labels.units[unit][:, PRESENT])


def of_both(statistic: Statistic) -> Statistic:
    """A statistic of (read, asked) over (read left, right, asked left, right): of their means."""

    def of_sides(read_l: Doubles, read_r: Doubles, left: Doubles, right: Doubles) -> Doubles:
        return statistic((read_l + read_r) / 2, (left + right) / 2)

    return of_sides


def present_f1(read_l: Doubles, read_r: Doubles, asked: Doubles) -> Doubles:
    """F1 of the stronger half, read as present or not, against 0 and 1 asked."""
    stronger = np.fmax(read_l, read_r)
    seen = np.where(np.isnan(stronger), np.nan, (stronger >= PRESENT_FROM).astype(float))
    return agreement.f1(seen, asked)


def mean_over_units(statistic: Statistic, each: int) -> Statistic:
    """The mean of a statistic over units, whose columns stand one unit after the other.

    Args:
        each: columns of a unit. A unit without a number is left out of the mean.
    """

    def over_units(*columns: Doubles) -> Doubles:
        groups = [columns[start : start + each] for start in range(0, len(columns), each)]
        found = np.stack([np.asarray(statistic(*group)) for group in groups], axis=-1)
        return agreement.mean(found)

    return over_units


# ---- Records -------------------------------------------------------------------------------------

_UNIT = partial(MetricRecord, group="unit", reader=UNITS, headline=False)
_KINDS: tuple[tuple[str, str, str, Statistic, dict[str, Any]], ...] = (
    (
        "pearson",
        "Pearson",
        "Pearson's correlation of asked and read intensity.",
        agreement.pearson,
        {"digits": 2},
    ),
    (
        "spearman",
        "Spearman",
        "Spearman's rank correlation of asked and read intensity.",
        agreement.spearman,
        {"digits": 2},
    ),
    ("slope", "slope", "Read intensity per asked intensity.", agreement.slope, {"digits": 2}),
    (
        "mse",
        "MSE",
        "Mean squared difference of asked and read intensity, 0 to 5.",
        agreement.mean_square,
        {"digits": 2, "better": "lower"},
    ),
)
_F1 = "F1 of a unit read as present (intensity 2 or more) against present in what was asked."


def _of_unit(unit: str) -> Iterator[MetricRecord]:
    title = f"{unit}, {ACTION_UNITS[unit].name}"
    applies = partial(_is_measured, unit=unit)
    stored = tuple(name.format(unit) for name in (*_READ, *_ASKED))
    for kind, short, meaning, statistic, shown in _KINDS:
        yield _UNIT(
            name=f"unit_{kind}_{unit}",
            title=f"{title}: {short}",
            meaning=meaning,
            applies=applies,
            measure=OfPictures(
                partial(_sides, unit=unit),
                absent=NOT_ASKED,
                statistic=of_both(statistic),
                stored=stored,
            ),
            **shown,
        )
    for side, word, place in (("L", "left", 0), ("R", "right", 1)):
        yield _UNIT(
            name=f"unit_pearson_{word}_{unit}",
            title=f"{title}: Pearson, {word}",
            meaning=f"Pearson's correlation on the person's {word}.",
            digits=2,
            applies=partial(_differs_by_side, unit=unit),
            measure=OfPictures(
                partial(_one_side, unit=unit, place=place),
                absent=NOT_ASKED,
                statistic=agreement.pearson,
                stored=(f"*_{unit}{side}", f"{unit}{side}"),
            ),
        )
    yield _UNIT(
        name=f"unit_f1_{unit}",
        title=f"{title}: F1",
        meaning=_F1,
        digits=2,
        applies=applies,
        measure=OfPictures(
            partial(_presence, unit=unit),
            absent="no picture of the split has it told",
            statistic=present_f1,
            stored=(*(name.format(unit) for name in _READ), f"{unit}_present"),
        ),
    )


def _over_all(
    name: str, title: str, meaning: str, statistic: Statistic, columns: Callable, **shown: Any
) -> MetricRecord:
    """The mean over all units of what is measured of each."""

    def measure(seen: SetReading) -> OverUnits:
        groups = [columns(seen, unit) for unit in measured_units(seen)]
        flat = tuple(column for group in groups for column in group)
        each = len(groups[0])
        return OverUnits(mean_over_units(statistic, each), flat, NOT_ASKED, each=each)

    return MetricRecord(
        name=f"units_{name}",
        title=title,
        meaning=meaning,
        group="units",
        reader=UNITS,
        digits=2,
        applies=lambda photos: bool(measured_units(photos)),
        measure=measure,
        **shown,
    )


UNIT_METRICS: tuple[MetricRecord, ...] = (
    _over_all(
        "pearson",
        "Units, Pearson",
        "Pearson's correlation of asked and read intensity, the mean over action units.",
        of_both(agreement.pearson),
        _sides,
        ablation=True,
    ),
    _over_all(
        "mse",
        "Units, MSE",
        "Mean squared difference of asked and read intensity, 0 to 5, over action units.",
        of_both(agreement.mean_square),
        _sides,
        better="lower",
    ),
    _over_all("f1", "Units, F1", f"{_F1[:-1]}, the mean over units.", present_f1, _presence),
    *(record for unit in ACTION_UNITS for record in _of_unit(unit)),
)
