"""Leakage and curves of action units, set by set, as summary.json holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.controls.action_units import ACTION_UNITS
from sfe_core.diffusion.unit_attention import LEFT, RIGHT
from sfe_core.evaluation.metric_record import SetReading
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.intervals import Estimate
from sfe_core.evaluation.statistics.resampling import Resamples
from sfe_core.evaluation.statistics.unit_leakage import curve, leakage
from sfe_core.evaluation.summary import CurvePoint, Interval, UnitsOfSet, UnitsResult
from sfe_core.evaluation.unit_metrics import measured_units
from sfe_core.evaluation.yardstick import UNITS, Yardstick

# A set's readings, what they are held against, and its resamples.
Held = tuple[Readings, Yardstick, Resamples]


def units_result(
    sets: Mapping[str, Held], judge: str, labels_read_by: Sequence[str] = ()
) -> UnitsResult | None:
    """What was read of the units asked for; None where none were asked for, or none is read.

    Args:
        sets: by name.
        judge: the network that read the units.
        labels_read_by: networks that read the labels.
    """
    measured = {
        name: measured_units(SetReading(yardstick.photos, UNITS, yardstick))
        for name, (_, yardstick, _) in sets.items()
    }
    units = [unit for unit in ACTION_UNITS if any(unit in some for some in measured.values())]
    if not units:
        return None
    found = {name: _spread(_of_set(measured[name], *held), measured[name], units)
             for name, held in sets.items() if measured[name]}  # fmt: skip
    return UnitsResult(units=units, judge=judge, labels_read_by=list(labels_read_by), sets=found)


def _of_set(
    units: Sequence[str], readings: Readings, yardstick: Yardstick, resamples: Resamples
) -> UnitsOfSet:
    read = np.stack([_read(readings, unit) for unit in units], axis=1)
    labels = yardstick.labels
    told = labels.commanded or labels.units
    asked = np.stack([told[unit][:, [LEFT, RIGHT]].mean(axis=1) for unit in units], axis=1)
    leaks = leakage(read, asked, resamples)
    curves = [
        curve(read[:, place], labels.units[unit][:, [LEFT, RIGHT]].mean(axis=1), resamples)
        for place, unit in enumerate(units)
    ]
    return UnitsOfSet(
        leakage=[[_number(value) for value in row] for row in leaks.slopes],
        unasked=[_interval(one) for one in leaks.unasked],
        curves=[
            [CurvePoint(asked=point.asked, **_fields(point.read)) for point in one]
            for one in curves
        ],
    )


def _spread(found: UnitsOfSet, own: Sequence[str], units: Sequence[str]) -> UnitsOfSet:
    """The same over all units, with nothing where a set has none."""
    place = {unit: number for number, unit in enumerate(own)}
    return UnitsOfSet(
        leakage=[
            [
                found.leakage[place[one]][place[other]] if {one, other} <= place.keys() else None
                for other in units
            ]
            for one in units
        ],
        unasked=[
            found.unasked[place[unit]] if unit in place else Interval(value=None) for unit in units
        ],
        curves=[found.curves[place[unit]] if unit in place else [] for unit in units],
    )


def _read(readings: Readings, unit: str) -> Doubles:
    return (readings.column(UNITS, f"{unit}L") + readings.column(UNITS, f"{unit}R")) / 2


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _interval(found: Estimate) -> Interval:
    return Interval(**_fields(found))


def _fields(found: Estimate) -> dict[str, float | int | None]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
