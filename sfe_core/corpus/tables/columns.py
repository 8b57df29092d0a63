"""What the columns of somebody's table mean.

Columns are known by name, in any case and order; the image's also by cells that end as pictures do,
the emotion's by cells that are all names of emotions. Of several, that with names of emotions goes
before one with numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sfe_core.controls.action_units import UnitScale, read_unit_column, scale_of_values
from sfe_core.corpus.tables.column_names import (
    AFFECT_COLUMNS,
    AFFECT_NAMES,
    BOX_COLUMNS,
    EMOTION_COLUMNS,
    IMAGE_COLUMNS,
    TEXT_COLUMNS,
    WEAK_EMOTION_COLUMNS,
    WEAK_IMAGE_COLUMNS,
)
from sfe_core.corpus.tables.survey import Survey
from sfe_core.corpus.tables.tables import (
    Table,
)
from sfe_core.corpus.tables.votes import vote_columns
from sfe_core.errors import UserError
from sfe_core.wording import listed

_TOLD: dict[UnitScale, str] = {
    "intensity": "some are above 1, so that all are intensities of 0 to 5",
    "presence": "all are 0 or 1, so that they say whether a unit is present",
    "probability": "all lie between 0 and 1, so that they are probabilities; present from 0.5 on",
}
_OWN_FRACTIONS = (
    "all lie between 0 and 1, and are read as intensities of 0 to 5; "
    "probabilities are called AU12_prob"
)
_SHOWN = 4


@dataclass(frozen=True)
class Columns:
    """Which cell of a row goes where.

    Attributes:
        image: names the image; None where no column does.
        emotion: its class, by name or number.
        numbers: valence, arousal and boxes.
        texts: identity, age, gender, ethnicity.
        units: columns of labels.csv (AU12, AU12_present) → place and scale.
        numbers_seen: how often each number stands in the emotion's column.
        valences: the mean valence of the rows with each of these numbers.
        votes: columns named after emotions, where no other has the emotion: place → emotion.
        told: what their values told of columns whose names do not, a sentence each.
        of_other_scale: whether valence or arousal is left out, as its scale is not -1 to 1.
    """

    image: int | None
    emotion: int | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    units: dict[str, tuple[int, UnitScale]] = field(default_factory=dict)
    numbers_seen: dict[int, int] = field(default_factory=dict)
    valences: dict[int, float] = field(default_factory=dict)
    votes: dict[int, str | None] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    of_other_scale: bool = False

    @property
    def used(self) -> set[int]:
        """Places of the columns that are read."""
        places = {*self.numbers.values(), *self.texts.values()}
        places |= {place for place, _ in self.units.values()} | self.votes.keys()
        return places | {place for place in (self.image, self.emotion) if place is not None}

    @property
    def tell_something(self) -> bool:
        """Whether a column says anything of the images."""
        affect = self.numbers.keys() - set(BOX_COLUMNS)
        return bool(self.emotion is not None or self.votes or affect or self.texts or self.units)


def find_columns(table: Table, own: bool = False) -> Columns:
    """What the columns of a table mean; reads it once.

    Args:
        table: from `open_labels`.
        own: whether it is in sfe's own form, where AU12 is an intensity of 0 to 5 whatever its
            values.

    Raises:
        UserError: two columns would go to one place.
    """
    names = table.columns
    survey = Survey.of(table, (*EMOTION_COLUMNS, "id"), tuple(AFFECT_NAMES))
    image = _image(names, survey)
    emotion = _emotion(names, survey, image)
    numbers = _places({n: n for n in BOX_COLUMNS} | AFFECT_NAMES, names)
    foreign = _foreign(table, survey, numbers)
    numbers = {name: place for name, place in numbers.items() if place not in foreign}
    texts = _places(TEXT_COLUMNS, names)
    if "identity" not in texts and "id" in names and names.index("id") not in (image, emotion):
        place = names.index("id")
        if survey.repeats(place):
            texts["identity"] = place
    units, units_told = _units(table, survey, image, own)
    votes = vote_columns(names) if emotion is None else {}
    votes = votes if all(survey.are_numbers(place) for place in votes) else {}
    most = "the emotion is that of the columns named after emotions which has most" if votes else ""
    columns = Columns(
        image,
        emotion,
        numbers,
        texts,
        units,
        numbers_seen=survey.numbers(emotion) if emotion is not None else {},
        valences=survey.valences(emotion) if emotion is not None and not foreign else {},
        votes=votes,
        told=tuple(text for text in (*foreign.values(), units_told, most) if text),
        of_other_scale=bool(foreign),
    )
    _refuse_twice(table, columns)
    return columns


def _image(names: tuple[str, ...], survey: Survey) -> int | None:
    """The column that names the image: `key`, else the first with names of pictures."""
    named = [names.index(n) for n in (*IMAGE_COLUMNS, *WEAK_IMAGE_COLUMNS) if n in names]
    if named and names[named[0]] == "key":
        return named[0]
    pictures = [place for place in range(len(names)) if survey.are_pictures(place)]
    return next((place for place in named if place in pictures), next(iter(named + pictures), None))


def _emotion(names: tuple[str, ...], survey: Survey, image: int | None) -> int | None:
    """The column of the emotion: one with names, else one that is called so."""
    called = [
        names.index(name)
        for name in EMOTION_COLUMNS
        if name in names
        and names.index(name) != image
        and (name not in WEAK_EMOTION_COLUMNS or survey.are_classes(names.index(name)))
    ]
    others = [p for p, name in enumerate(names) if p != image and p not in called and name]
    named = [place for place in called if survey.are_emotions(place)]
    return next(iter(named or called or [p for p in others if survey.are_plain_emotions(p)]), None)


def _places(known: dict[str, str], names: tuple[str, ...]) -> dict[str, int]:
    """Column of labels.csv → place, of the columns that are known by name, the first of each."""
    found: dict[str, int] = {}
    for name, meaning in known.items():
        if name in names:
            found.setdefault(meaning, names.index(name))
    return found


def _foreign(table: Table, survey: Survey, numbers: dict[str, int]) -> dict[int, str]:
    """Place → a sentence, of valence and arousal on another scale than -1 to 1."""
    found = {}
    for place in (numbers[name] for name in AFFECT_COLUMNS if name in numbers):
        measured = survey.measured[place]
        if measured.is_of_another_scale:
            span = f"{measured.least:g} to {measured.most:g}"
            found[place] = f"{table.names[place]} runs from {span}, not -1 to 1, and is left out"
    return found


def _refuse_twice(table: Table, columns: Columns) -> None:
    """Refuse a header that has the name of a column in use twice.

    Raises:
        UserError: with the places of both.
    """
    for place in sorted(columns.used):
        again = [p + 1 for p, name in enumerate(table.columns) if name == table.columns[place]]
        if len(again) > 1:
            raise UserError(
                f"{table.path}:{table.first_line}",
                f"columns {' and '.join(map(str, again))} are both called {table.names[place]!r}",
                "rename or remove one of them",
            )


def _units(
    table: Table, survey: Survey, image: int | None, own: bool
) -> tuple[dict[str, tuple[int, UnitScale]], str]:
    """Columns of units with their scale, from their names or else from the values of all.

    Returns:
        Column of labels.csv → place and scale; and a sentence on what the values told.

    Raises:
        UserError: two columns are about one unit.
    """
    units = {
        place: unit
        for place, name in enumerate(table.names)
        if place != image and (unit := read_unit_column(name))
    }
    unnamed = [place for place, unit in units.items() if unit.scale is None]
    told = scale_of_values(v for place in unnamed for v in survey.unit_values[place])
    own = own and all(table.names[place] == units[place].code for place in unnamed)
    scale = "intensity" if own else told
    found: dict[str, tuple[int, UnitScale]] = {}
    for place, unit in units.items():
        column = unit.column(unit.scale or scale)
        if column in found:
            first = table.names[found[column][0]]
            raise UserError(
                f"{table.path}:{table.first_line}",
                f"columns {first!r} and {table.names[place]!r} both give {column}",
                "rename or remove one of them",
            )
        found[column] = (place, unit.scale or scale)
    named = [table.names[place] for place in unnamed]
    if not named or (own and told != "probability"):
        return found, ""
    return found, f"{listed(named, _SHOWN)}: {_OWN_FRACTIONS if own else _TOLD[told]}"
