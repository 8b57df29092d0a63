"""Whose numbers an emotion column or numbered class folders hold, told from what is there.

Evidence is: the columns of a set's own lists, the names its images go by, its name in a path, and
numbers that only one scheme has. That the usual numbers fit is none: 0 to 6 fit six schemes. What
is not told so is asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from sfe_core.corpus.tables.classes import SCHEMES, numbers_of
from sfe_core.corpus.tables.tables import Table
from sfe_core.errors import UserError

# The names under which the sets hand out their images, and whose numbers lists of them may hold.
_IMAGE_NAMES: dict[re.Pattern[str], frozenset[str]] = {
    re.compile(pattern, re.IGNORECASE): frozenset(schemes)
    for pattern, schemes in {
        r"(.*/)?(train_\d{5}|test_\d{4})(_aligned)?": ("raf-db",),
        r"(.*/)?[0-9a-f]{48,64}": ("affectnet",),
        r"(.*/)?(fer\d{7}|(Training|PublicTest|PrivateTest)_\d+)": ("fer2013", "ferplus"),
        r"(.*/)?S\d{3}_\d{3}_\d{8}": ("ck+",),
        r"(.*/)?(\d+-)+\d+x\d+(_left|_right)?/\d{5}": ("aff-wild2",),
    }.items()
}
# How the sets are called in names of files and folders; the schemes in which their lists are.
_SET_NAMES: dict[frozenset[str], re.Pattern[str]] = {
    frozenset(schemes.split()): re.compile(pattern, re.IGNORECASE)
    for schemes, pattern in {
        "affectnet": r"affect[-_ ]?net|(manually|automatically)[-_ ]annotated",
        "raf-db": r"raf[-_ ]?db|(?<![a-z])raf(?![a-z])|list_patition_label",
        "fer2013": r"fer[-_ ]?2013(?!new|plus|\+)",
        "ferplus": r"fer[-_ ]?(plus|\+)|fer2013(new|plus|\+)",
        "expw": r"(?<![a-z])expw",
        "ck+ ck-extended": r"(?<![a-z])ck[-_ ]?(\+|plus|48)|cohn[-_ ]?kanade",
        "ck-extended": r"(?<![a-z])ck[-_ ]?extended",
        "aff-wild2": r"aff[-_ ]?wild[-_ ]?2",
    }.items()
}
_PARTS_LOOKED_AT = 3  # of a path, from its end: further up stands who works where
_SHARE = 0.9  # of the images that must bear a set's names
_UNPLEASANT = ("sad", "fear", "disgust", "anger")
_FEWEST = 4  # different numbers from which on "no other scheme has them" counts


@dataclass(frozen=True)
class Evidence:
    """What is known of the numbers of a data set.

    Attributes:
        values: how often each number stands there.
        hints: sets of schemes, each of which must hold the right one.
        valences: mean valence of the images with each number, where that is known.
    """

    values: Mapping[int, int]
    hints: tuple[frozenset[str], ...] = ()
    valences: Mapping[int, float] = field(default_factory=dict)

    @property
    def known_values(self) -> set[int]:
        """Numbers that some scheme has; others are slips."""
        return {n for n in self.values if n >= 0 and any(n in numbers_of(s) for s in SCHEMES)}

    @property
    def fitting(self) -> list[str]:
        """Schemes that have all numbers, and by which happy faces are pleasant, sad ones not."""
        known = self.known_values
        if not known and max(self.values) >= 0:
            return []
        return [s for s in SCHEMES if known <= numbers_of(s).keys() and self._is_pleasant(s)]

    def _is_pleasant(self, scheme: str) -> bool:
        """Whether valence agrees with what the numbers would mean, as far as it is known."""
        numbers = numbers_of(scheme)
        happy = [v for n, v in self.valences.items() if numbers.get(n) == "happy"]
        unhappy = [v for n, v in self.valences.items() if numbers.get(n) in _UNPLEASANT]
        return all(value > 0 for value in happy) and sum(unhappy) <= 0

    @property
    def scheme(self) -> str | None:
        """The one that the evidence leaves; None where it leaves several or none."""
        left = [s for s in self.fitting if all(s in hint for hint in self.hints)]
        enough = bool(self.hints) or len(self.known_values) >= _FEWEST
        seen = sorted(self.known_values)
        same = {tuple(numbers_of(s).get(number) for number in seen) for s in left}
        return left[0] if len(same) == 1 and enough else None

    def doubt(self, asked: str) -> str:
        """What speaks against a scheme that the user named; empty where nothing does."""
        told = self.scheme
        if told is None or numbers_of(told) == numbers_of(asked):
            return ""
        return f"names and values say {told}"

    @property
    def is_raf_shaped(self) -> bool:
        """Whether all of 1 to 7 are there and 0 is not, which AffectNet's numbers hardly are."""
        return set(self.values) == set(range(1, 8))


def column_hints(table: Table) -> list[frozenset[str]]:
    """Whose a list is by its columns: AffectNet's own, or of a set with classes and dimensions."""
    columns = set(table.columns)
    if {"subdirectory_filepath", "facial_landmarks"} & columns:
        return [frozenset({"affectnet"})]
    if {"face_top", "face_confidence"} <= columns:  # of a list of ExpW without a header
        return [frozenset({"expw"})]
    if {"pixels", "usage"} & columns and "image" in columns:  # see `open_list`
        return [frozenset({"fer2013", "ck-extended", "ferplus"})]
    if {"valence", "arousal"} <= columns and (not table.headed or "expression" in columns):
        return [frozenset({"affectnet", "aff-wild2"})]
    return []


def name_hints(images: Iterable[str]) -> list[frozenset[str]]:
    """Whose the images are by their names; [] where these tell nothing.

    Args:
        images: paths as listed, or below the folder.
    """
    counts: Counter[frozenset[str]] = Counter()
    total = 0
    for image in images:
        total += 1
        path = image.replace("\\", "/")
        bare = re.sub(r"\.[A-Za-z]{2,5}$", "", path)
        found = {schemes for pattern, schemes in _IMAGE_NAMES.items() if pattern.fullmatch(bare)}
        folder = path.rpartition("/")[0]
        if folder and len(named := _named(folder)) == 1:
            found.add(named[0])
        counts.update(found)
    return [schemes for schemes, count in counts.items() if count >= _SHARE * total]


def place_hints(paths: Iterable[PurePath | None]) -> list[frozenset[str]]:
    """Whose a data set is by the name of its list or folder, and of the folders above.

    The nearest name counts; one that holds those of two sets tells nothing.
    """
    found: list[frozenset[str]] = []
    for path in paths:
        parts = path.parts[-_PARTS_LOOKED_AT:] if path else ()
        named = next((sets for part in reversed(parts) if (sets := _named(part))), [])
        found += named if len(named) == 1 else []
    return found


def _named(text: str) -> list[frozenset[str]]:
    return [schemes for schemes, name in _SET_NAMES.items() if name.search(text)]


def ask(where: str, evidence: Evidence, remedy: str) -> UserError:
    """The error that asks whose numbers these are, with what each scheme would make of them.

    Args:
        where: file or folder.
        evidence: what is known.
        remedy: how to answer.
    """
    values = evidence.values
    told = ", ".join(f"{n} × {count}" for n, count in sorted(values.items()))
    hinted = [s for s in evidence.fitting if any(s in hint for hint in evidence.hints)]
    order = hinted + [s for s in evidence.fitting if s not in hinted]
    if not hinted and evidence.is_raf_shaped:
        order.sort(key=lambda scheme: scheme != "raf-db")
    if not order:
        return UserError(where, f"emotions are numbers of no known set ({told})", remedy)
    named = sorted({scheme for hint in evidence.hints for scheme in hint})
    why = "nothing says whose they are"
    if named and not hinted:
        why = f"they are not those of {' or '.join(named)}, which the names speak of"
    readings: dict[str, list[str]] = {}
    for scheme in order:
        readings.setdefault(reading(values, scheme), []).append(scheme)
    listed = "; ".join(f"{' or '.join(schemes)}: {text}" for text, schemes in readings.items())
    return UserError(
        where,
        "emotions are numbers, which mean different emotions in different data sets, and "
        f"{why} ({told}): {listed}",
        remedy,
    )


def reading(values: Mapping[int, int], scheme: str) -> str:
    """What a scheme makes of the numbers: "happy 5, sad 3"."""
    numbers = numbers_of(scheme)
    counts: Counter[str] = Counter()
    for number, count in sorted(values.items()):
        if number in numbers:
            counts[numbers[number] or "none"] += count
    return ", ".join(f"{name} {count}" for name, count in counts.items())
