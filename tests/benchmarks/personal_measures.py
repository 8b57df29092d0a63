"""What the rows of `personal_tiny` come to: numbers with intervals, against plain, and a verdict.

A unit is one person with one seed of the training. Intervals resample units, with the tails that
so few of them need; units of one person are alike, so with three people they are still narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics.intervals import percentile_interval, tail
from sfe_core.evaluation.summary import PersonalResult
from sfe_core.wording import markdown_table

BASE, PLAIN = "base", "plain"
RESAMPLES = 2000
FEWEST = 3  # units that an interval needs
SHARES = ("shown", "done", "lazy", "overdone", "class_shown", "class_kept", "monotone")
# Key of a unit's numbers to its heading.
COLUMNS = {
    "shown": "expression seen by the judge",
    "identity": "identity, cosine",
    "linearity": "strength linear, r",
    "monotone": "strength monotone",
    "class_shown": "class prompt seen as asked",
    "class_kept": "class prompt, less the base's",
    "locality": "change inside over outside the mask",
    "done": "is the person and shows it",
    "lazy": "lazy",
    "overdone": "over-edited",
    "gain": "expression per distance",
    "class_spread": "diversity",
    "spread_kept": "diversity over the base's",
    "train_s": "training, s",
    "sample_s": "a picture, CPU s",
}
Unit = Mapping[str, float | None]


@dataclass(frozen=True)
class Figure:
    """A mean over units and its 95 % interval, None where too few units give one."""

    value: float
    low: float | None
    high: float | None
    units: int

    def shown(self, share: bool = False, sign: bool = False) -> str:
        """`0.912 [0.881, 0.930]`, or of a share in percent."""
        # Three digits, as the cosines of two people are less than a tenth apart.
        scale, digits = (100.0, 1) if share else (1.0, 3)
        form = f"{'+' if sign else ''}.{digits}f"
        text = f"{self.value * scale:{form}}{' %' if share and not sign else ''}"
        if self.low is None or self.high is None:
            return text
        return f"{text} [{self.low * scale:{form}}, {self.high * scale:{form}}]"


@dataclass(frozen=True)
class Verdict:
    """A measure that the issue asks for, of one row."""

    row: str
    what: str
    shown: str
    met: bool | None

    @property
    def word(self) -> str:
        """In a word or two."""
        return {True: "met", False: "missed", None: "not measured"}[self.met]


# ---- A unit's numbers ----------------------------------------------------------------------------


def unit_of(result: PersonalResult, times: Mapping[str, float]) -> dict[str, float | None]:
    """The numbers of one evaluation, at full strength.

    Args:
        result: of the protocol; it holds one model.
        times: seconds, by key of `COLUMNS`.
    """
    (found,) = result.sets.values()
    full = max(found.points, key=lambda point: (point.strength == 1.0, point.strength))
    named = {
        "shown": full.shown,
        "identity": full.identity,
        "done": full.done,
        "lazy": full.lazy,
        "overdone": full.overdone,
        "linearity": found.linearity,
        "monotone": found.monotone,
        "locality": found.locality,
        "gain": found.gain,
        "class_shown": found.class_shown,
        "class_kept": found.class_kept,
        "class_spread": found.class_spread,
        "spread_kept": found.spread_kept,
    }
    numbers: dict[str, float | None] = {key: one.value for key, one in named.items()}
    if len(found.points) < 3:
        # Rest and full strength alone are a line always.
        numbers["linearity"] = numbers["monotone"] = None
    return {
        **numbers,
        **times,
        "same": result.same,
        "different": result.different,
    }


def base_of(unit: Unit) -> dict[str, float | None]:
    """The base's numbers, out of those of a model that was held against it."""
    kept, spread = unit.get("class_kept"), unit.get("spread_kept")
    shown, wide = unit.get("class_shown"), unit.get("class_spread")
    found: dict[str, float | None] = {"identity": unit.get("base_identity")}
    if shown is not None and kept is not None:
        found["shown"] = found["class_shown"] = shown - kept
    if wide is not None and spread:
        found["class_spread"] = wide / spread
    return found


# ---- Over units ----------------------------------------------------------------------------------


def figure(values: Sequence[float | None] | Doubles) -> Figure | None:
    """Mean over units; None where none has a number.

    Args:
        values: a number a unit, None or nan where it has none.
    """
    known = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return None
    mean = float(known.mean())
    if len(known) < FEWEST:
        return Figure(mean, None, None, len(known))
    drawn = np.random.default_rng(0).integers(len(known), size=(RESAMPLES, len(known)))
    interval = percentile_interval(known[drawn].mean(axis=1), tail(len(known)))
    assert interval is not None
    return Figure(mean, interval[0], interval[1], len(known))


def figures(units: Mapping[str, Unit]) -> dict[str, Figure | None]:
    """Of one row, by key of `COLUMNS`.

    Args:
        units: name (person and seed) to its numbers.
    """
    return {key: figure([unit.get(key) for unit in units.values()]) for key in COLUMNS}


def differences(
    units: Mapping[str, Unit], plain: Mapping[str, Unit], ratio: Sequence[str] = ("sample_s",)
) -> dict[str, Figure | None]:
    """Row minus plain, unit by unit of one name; of `ratio` row over plain."""
    shared = [name for name in units if name in plain]
    found = {}
    for key in COLUMNS:
        pairs = [(units[name].get(key), plain[name].get(key)) for name in shared]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        found[key] = figure([a / b if key in ratio else a - b for a, b in both])
    return found


# ---- What the issue asks for ---------------------------------------------------------------------


def verdicts(
    row: str, own: Mapping[str, Figure | None], less: Mapping[str, Figure | None]
) -> list[Verdict]:
    """Each measure of one trained row.

    Args:
        own: its `figures`.
        less: its `differences` to plain.
    """
    found = [
        _verdict(row, "class prompt down by 3 points at most", own["class_kept"], -0.03, True),
        _verdict(row, "change inside the mask 3 times that outside", own["locality"], 3.0),
    ]
    if row == PLAIN:
        return found
    return [
        _verdict(row, "expression +10 points on plain", less["shown"], 0.10, True),
        _verdict(row, "identity down by 0.03 at most", less["identity"], -0.03, False, True),
        _verdict(row, "strength linear, r of 0.81", own["linearity"], 0.81),
        *found,
        _verdict(row, "sampling time 1.3 of plain at most", less["sample_s"], 1.3, most=True),
    ]


def _verdict(
    row: str,
    what: str,
    one: Figure | None,
    bound: float,
    share: bool = False,
    sign: bool = False,
    most: bool = False,
) -> Verdict:
    if one is None:
        return Verdict(row, what, "-", None)
    met = one.value <= bound if most else one.value >= bound
    return Verdict(row, what, one.shown(share, share or sign), bool(met))


def numbers_of(rows: Mapping[str, Mapping[str, Unit]]) -> dict[str, Any]:
    """All numbers, as they go into the .json: row to units, figures, differences and verdicts."""
    plain, found = rows.get(PLAIN, {}), {}
    for row, units in rows.items():
        own, less = figures(units), differences(units, plain)
        found[row] = {
            "units": {name: dict(unit) for name, unit in units.items()},
            "figures": {key: one and asdict(one) for key, one in own.items()},
            "less plain": {key: one and asdict(one) for key, one in less.items()}
            if row not in (PLAIN, BASE) and plain
            else {},
            "verdicts": [asdict(one) for one in verdicts(row, own, less)] if row != BASE else [],
        }
    return found


def rows_table(rows: Mapping[str, Mapping[str, Unit]]) -> str:
    """A line a measure, a column a row."""
    every = {row: figures(units) for row, units in rows.items()}
    return markdown_table(["", *every], [
        [title, *(_cell(own[key], key) for own in every.values())] for key, title in COLUMNS.items()
    ])  # fmt: skip


def differences_table(rows: Mapping[str, Mapping[str, Unit]]) -> str:
    """A line a measure, a column a trained row but plain; empty without plain or any other."""
    others = {row: units for row, units in rows.items() if row not in (BASE, PLAIN)}
    if PLAIN not in rows or not others:
        return ""
    every = {row: differences(units, rows[PLAIN]) for row, units in others.items()}
    titles = {**COLUMNS, "sample_s": "a picture's CPU s, over plain"}
    return markdown_table(["", *every], [
        [titles[key], *(_cell(less[key], key, key != "sample_s") for less in every.values())]
        for key in COLUMNS
    ])  # fmt: skip


def verdicts_table(rows: Mapping[str, Mapping[str, Unit]]) -> str:
    """A line a measure and row."""
    lines = []
    for row, units in rows.items():
        if row == BASE:
            continue
        less = differences(units, rows.get(PLAIN, {}))
        lines += [
            [one.row, one.what, one.shown, one.word] for one in verdicts(row, figures(units), less)
        ]
    return markdown_table(["row", "asked for", "found", ""], lines)


def _cell(one: Figure | None, key: str, sign: bool = False) -> str:
    return "-" if one is None else one.shown(key in SHARES, sign)
