"""Facial action units in words: the one table that captions and imports read.

Numbers and names are those of FACS (P. Ekman, W. V. Friesen and J. C. Hager, "Facial Action Coding
System", 2002; AU13 is "cheek puffer" in the edition of 1978). The table holds every unit that is
coded in DISFA (Mavadati et al., IEEE TAC 4(2), 2013: twelve units, intensity 0 to 5) and in BP4D
(Zhang et al., Image and Vision Computing 32(10), 2014: presence of 27 units and more in its files,
intensity of five). How units become movements of the head model is `facial_actions`.

Intensity is 0 to 5, the FACS grades none, A trace, B slight, C marked, D severe, E maximum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sfe_core.files import derive_seed

MAXIMUM_INTENSITY = 5.0
# Intensity 0 to 5; present 0 or 1; how likely it is present, 0 to 1.
UnitScale = Literal["intensity", "presence", "probability"]
# BP4D's and EmotioNet's numbers for "not coded".
NOT_CODED = (9.0, 999.0)
# The adverb of each FACS grade.
GRADE_WORDS: tuple[str, ...] = ("", "barely", "slightly", "clearly", "strongly", "extremely")
# A text encoder reads 77 tokens; eight units take about half of them.
MOST_UNITS_NAMED = 8


@dataclass(frozen=True)
class ActionUnit:
    """A unit: its FACS number and name, and what is seen, to be followed by an adverb."""

    number: int
    name: str
    seen: str

    @property
    def code(self) -> str:
        """As labels name it: AU12."""
        return f"AU{self.number}"


_TABLE: tuple[tuple[int, str, str], ...] = (
    (1, "inner brow raiser", "inner brows raised"),
    (2, "outer brow raiser", "outer brows raised"),
    (4, "brow lowerer", "brows lowered and drawn together"),
    (5, "upper lid raiser", "upper eyelids raised"),
    (6, "cheek raiser", "cheeks raised"),
    (7, "lid tightener", "eyelids tightened"),
    (8, "lips toward each other", "lips drawn toward each other"),
    (9, "nose wrinkler", "nose wrinkled"),
    (10, "upper lip raiser", "upper lip raised"),
    (11, "nasolabial deepener", "nasolabial folds deepened"),
    (12, "lip corner puller", "lip corners pulled up"),
    (13, "sharp lip puller", "lip corners pulled sharply up"),
    (14, "dimpler", "lip corners tucked into dimples"),
    (15, "lip corner depressor", "lip corners pulled down"),
    (16, "lower lip depressor", "lower lip pulled down"),
    (17, "chin raiser", "chin raised"),
    (18, "lip pucker", "lips puckered"),
    (19, "tongue show", "tongue shown"),
    (20, "lip stretcher", "lips stretched sideways"),
    (21, "neck tightener", "neck tightened"),
    (22, "lip funneler", "lips funnelled"),
    (23, "lip tightener", "lips tightened"),
    (24, "lip pressor", "lips pressed together"),
    (25, "lips part", "lips parted"),
    (26, "jaw drop", "jaw dropped"),
    (27, "mouth stretch", "mouth stretched open"),
    (28, "lip suck", "lips sucked in"),
    (29, "jaw thrust", "jaw thrust forward"),
    (30, "jaw sideways", "jaw moved sideways"),
    (31, "jaw clencher", "jaw clenched"),
    (32, "lip bite", "lip bitten"),
    (33, "cheek blow", "cheeks blown out"),
    (34, "cheek puff", "cheeks puffed"),
    (35, "cheek suck", "cheeks sucked in"),
    (36, "tongue bulge", "tongue bulging the cheek"),
    (37, "lip wipe", "tongue wiping the lips"),
    (38, "nostril dilator", "nostrils widened"),
    (39, "nostril compressor", "nostrils narrowed"),
    (41, "lid droop", "eyelids drooping"),
    (42, "slit", "eyes narrowed to slits"),
    (43, "eyes closed", "eyes closed"),
    (44, "squint", "eyes squinting"),
    (45, "blink", "eyes blinking"),
    (46, "wink", "one eye winking"),
)
ACTION_UNITS: dict[str, ActionUnit] = {f"AU{row[0]}": ActionUnit(*row) for row in _TABLE}
# Units that hold for a moment or not at all: a strength says nothing of them.
_UNGRADED = frozenset({"AU45", "AU46"})

_BY_NAME = {unit.name.replace(" ", ""): unit.code for unit in ACTION_UNITS.values()} | {
    "cheekpuffer": "AU13",  # FACS 1978
    "lippuckerer": "AU18",
    "nasolabialfurrowdeepener": "AU11",
    "lipstoward": "AU8",
    "lidtighten": "AU7",
    "lipspart": "AU25",
    "nostrildilate": "AU38",
    "eyeclosure": "AU43",
    "blinking": "AU45",
}
_CODE = re.compile(r"au[ _-]?0*(\d{1,2})")
_ENDINGS: dict[UnitScale, tuple[str, ...]] = {
    "presence": ("_c", "_present", "_presence", "_occ", "_occurrence"),
    "intensity": ("_r", "_int", "_intensity"),
    "probability": ("_prob", "_probability", "_p"),
}


@dataclass(frozen=True)
class UnitColumn:
    """What a table's column says of a unit; scale is None where its name does not tell."""

    code: str
    scale: UnitScale | None

    def column(self, scale: UnitScale) -> str:
        """The column of labels.csv for numbers of a scale: AU12, or AU12_present."""
        return self.code if scale == "intensity" else f"{self.code}_present"


def read_unit_column(name: str) -> UnitColumn | None:
    """The unit that a column is about, or None if it is about something else.

    Understood: codes (`AU12`, `au06`, `AU_4`), FACS names (`Lip Corner Puller`), both with an
    ending that tells intensity (`_r` as OpenFace writes it, `_int`, `_intensity`) from presence
    (`_c`, `_present`, `_occ`) and probability (`_prob`).

    >>> read_unit_column("au06_r")
    UnitColumn(code='AU6', scale='intensity')
    >>> read_unit_column("Lip Corner Puller")
    UnitColumn(code='AU12', scale=None)
    """
    text = name.strip().lower()
    scale: UnitScale | None = None
    for meaning, endings in _ENDINGS.items():
        for ending in endings:
            if text.endswith(ending):
                text, scale = text[: -len(ending)], meaning
                break
    matched = _CODE.fullmatch(text)
    code = f"AU{int(matched[1])}" if matched else _BY_NAME.get(re.sub(r"[ _-]", "", text), "")
    return UnitColumn(code, scale) if code in ACTION_UNITS else None


def scale_of_values(values: Iterable[float]) -> UnitScale:
    """What the numbers of units are where no name tells, all columns of a table taken together.

    A number above 1 makes them intensities. Fractions that all lie between 0 and 1 are
    probabilities, as py-feat gives them: intensities of several units would not all stay below a
    trace. 0 and 1 alone are presence. 9 and 999 (not coded) and negative numbers tell nothing.

    >>> scale_of_values([0, 1, 9]), scale_of_values([0.2, 1]), scale_of_values([0, 3.5])
    ('presence', 'probability', 'intensity')
    """
    coded = [value for value in values if value >= 0 and value not in NOT_CODED]
    if any(value > 1 for value in coded):
        return "intensity"
    return "probability" if any(0 < value < 1 for value in coded) else "presence"


def grade(intensity: float) -> int:
    """The FACS grade nearest to an intensity of 0 to 5: 0 none, 1 A … 5 E.

    >>> grade(0.4), grade(2.6)
    (0, 3)
    """
    return min(max(int(intensity + 0.5), 0), len(GRADE_WORDS) - 1)


def describe_unit(code: str, intensity: float | None) -> str:
    """A unit in words.

    >>> describe_unit("AU12", 4)
    'lip corners pulled up strongly'

    Args:
        code: a key of ACTION_UNITS.
        intensity: 0 to 5; None where only its presence is known, which takes no adverb.

    Returns:
        The words; empty where the intensity is below half a grade.
    """
    unit = ACTION_UNITS[code]
    if intensity is None or code in _UNGRADED:
        return "" if intensity is not None and not grade(intensity) else unit.seen
    word = GRADE_WORDS[grade(intensity)]
    return f"{unit.seen} {word}" if word else ""


def describe_units(intensities: Mapping[str, float | None]) -> str:
    """Units in words, the strongest first, as far as MOST_UNITS_NAMED of them.

    Args:
        intensities: code → 0 to 5, or None where only presence is known. Presence ranks between
            grades B and C; equals go by their number, from brow to jaw.
    """
    texts = [describe_unit(code, intensities[code]) for code in _strongest_first(intensities)]
    return ", ".join([text for text in texts if text][:MOST_UNITS_NAMED])


def name_units(
    intensities: Mapping[str, float | None],
    least: float = 1.0,
    absent: int = 0,
    chosen_by: str = "",
    codes: bool = False,
) -> tuple[str, ...]:
    """FACS names of the units that are there, in the order and number of `describe_units`.

    >>> name_units({"AU12": 3.0, "AU6": None, "AU4": 0.0}, absent=1)
    ('lip corner puller', 'cheek raiser', 'no brow lowerer')

    Args:
        intensities: code → 0 to 5, or None where only presence is known.
        least: intensity from which a unit is there. One below half a grade is not; what lies
            between is left open.
        absent: how many of those that are not there are named as such, behind the others.
        chosen_by: decides which, where there are more; over many photos each has its turn.
        codes: the numbers (AU12) in place of the names.
    """
    there = [
        code
        for code in _strongest_first(intensities)
        for value in [intensities[code]]
        if value is None or value >= least
    ]
    gone = [code for code, value in intensities.items() if value is not None and not grade(value)]
    gone.sort(key=lambda code: derive_seed("absent unit", chosen_by, code))
    negated = sorted(gone[:absent], key=lambda code: ACTION_UNITS[code].number)
    words = {code: code if codes else ACTION_UNITS[code].name for code in (*there, *negated)}
    return (
        *(words[code] for code in there[:MOST_UNITS_NAMED]),
        *(f"no {words[code]}" for code in negated),
    )


def _strongest_first(intensities: Mapping[str, float | None]) -> list[str]:
    strength = {code: 2.5 if value is None else value for code, value in intensities.items()}
    return sorted(intensities, key=lambda c: (-strength[c], ACTION_UNITS[c].number))
