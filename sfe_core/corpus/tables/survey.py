"""What stands in the columns of a table, gone through once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

from sfe_core.controls.action_units import NOT_CODED, read_unit_column
from sfe_core.corpus.tables.classes import folder_class, read_name
from sfe_core.corpus.tables.tables import Table, names_a_picture, read_number

# AffectNet's "uncertain" for valence and arousal, and Aff-Wild2's "not annotated".
NO_AFFECT = (-2.0, -5.0)
_SLIPS = 0.2  # of the numbers that may lie out of range
_LEAST_FACES = 10  # from which on a mean valence says something of an emotion
_SEEN = 200  # rows after which cells of a column are of one kind


class Measured:
    """The range of a column of numbers that should lie in -1 to 1, but for NO_AFFECT."""

    def __init__(self) -> None:
        self.count = self.beyond = 0
        self.least, self.most = math.inf, -math.inf

    def add(self, value: float | None) -> None:
        """Take a cell in; None and nan are none."""
        if value is None or math.isnan(value) or value in NO_AFFECT:
            return
        self.count += 1
        self.beyond += abs(value) > 1
        self.least, self.most = min(self.least, value), max(self.most, value)

    @property
    def is_of_another_scale(self) -> bool:
        """Whether so many numbers lie so far beyond that they are not slips."""
        return self.beyond > _SLIPS * self.count and max(-self.least, self.most) >= 2


class Survey:
    """What stands in the columns of a table."""

    def __init__(self) -> None:
        self.rows = 0
        self.texts: list[Counter[str]] = []
        self.pictures: list[int] = []
        self.unit_values: dict[int, set[float]] = {}
        self.measured: dict[int, Measured] = {}
        self.sums: dict[tuple[int, str], list[float]] = {}

    @classmethod
    def of(cls, table: Table, whole: Collection[str], measured: Collection[str]) -> Survey:
        """Go through a table once.

        Args:
            table: with names.
            whole: plain names of the columns of which every cell counts, not only the first ones.
            measured: plain names of the columns whose range counts.
        """
        survey, names = cls(), table.columns
        survey.texts = [Counter() for _ in names]
        survey.pictures = [0 for _ in names]
        kept = [place for place, name in enumerate(names) if name in whole]
        units = [p for p, name in enumerate(table.names) if read_unit_column(name)]
        survey.unit_values = {place: set() for place in units}
        survey.measured = {p: Measured() for p, name in enumerate(names) if name in measured}
        valence = table.column("valence", "val")
        for _, cells in table.rows(lambda number, found: None):
            survey.rows += 1
            if survey.rows <= _SEEN:
                for place in range(len(names)):
                    survey.texts[place][cells[place]] += 1
                    survey.pictures[place] += names_a_picture(cells[place])
            else:
                for place in kept:
                    survey.texts[place][cells[place]] += 1
            for place in units:
                value = read_number(cells[place])
                if value is not None:  # one fraction and one number above 1 stand for all others
                    kind = 0.5 if 0 < value < 1 else value
                    survey.unit_values[place].add(min(kind, 2.0) if kind not in NOT_CODED else kind)
            for place, found in survey.measured.items():
                found.add(read_number(cells[place]))
            if valence is not None:
                survey._add_valence(kept, cells, read_number(cells[valence]))
        return survey

    def _add_valence(self, places: list[int], cells: list[str], value: float | None) -> None:
        if value is None or math.isnan(value) or value in NO_AFFECT:
            return
        for place in places:
            found = self.sums.setdefault((place, cells[place]), [0.0, 0.0])
            found[0] += value
            found[1] += 1

    def valences(self, place: int) -> dict[int, float]:
        """The mean valence of the rows that have each whole number in a column, where enough do."""
        means = {}
        for (column, cell), (total, count) in self.sums.items():
            number = read_number(cell) if column == place and count >= _LEAST_FACES else None
            if number is not None and number.is_integer():
                means[int(number)] = total / count
        return means

    def are_pictures(self, place: int) -> bool:
        """Whether most cells are names of pictures."""
        return 2 * self.pictures[place] > min(self.rows, _SEEN) > 0

    def are_emotions(self, place: int) -> bool:
        """Whether every cell that says something is the name of an emotion."""
        cells = [cell for cell in self.texts[place] if read_name(cell) is not None]
        return bool(cells) and all(read_name(cell) or folder_class(cell) for cell in cells)

    def are_numbers(self, place: int) -> bool:
        """Whether every cell of the first rows that is not blank is a number."""
        return all(read_number(cell) is not None for cell in self.texts[place] if cell)

    def are_classes(self, place: int) -> bool:
        """Whether any cell is the name of an emotion or a number."""
        cells = [cell for cell in self.texts[place] if cell]
        return any(read_number(cell) is not None or read_name(cell) != "" for cell in cells)

    def are_plain_emotions(self, place: int) -> bool:
        """The same, spelt out: a code of two letters may mean anything."""
        return self.are_emotions(place) and all(len(cell) > 2 for cell in self.texts[place] if cell)

    def repeats(self, place: int) -> bool:
        """Whether the cells tell groups of rows apart: neither all the same nor all different."""
        return 1 < len(self.texts[place]) < min(self.rows, sum(self.texts[place].values()))

    def numbers(self, place: int) -> dict[int, int]:
        """How often each whole number stands in a column."""
        found: Counter[int] = Counter()
        for cell, count in self.texts[place].items():
            number = read_number(cell)
            if number is not None and number.is_integer():
                found[int(number)] += count
        return dict(found)
