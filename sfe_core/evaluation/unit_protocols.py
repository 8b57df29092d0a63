"""What the two published protocols of action units ask for, picture by picture.

FineFace (Varanka et al. 2024, https://arxiv.org/abs/2407.20175): fifteen prompts, twelve units,
each alone at five levels, and fifty combinations. Which prompts and combinations is not known here:
prompts are sfe's own, or a file's, and combinations are drawn by a fixed seed.

MagicFace (Wei et al. 2025, https://arxiv.org/abs/2501.02260): photos whose units, the same twelve,
are changed by so much, the rest left as it is. Here each is changed by each of `CHANGES` on photos
of as many people as there are, and some are changed together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sfe_core.controls.action_units import MAXIMUM_INTENSITY
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.facial_actions import EXCLUSIVE_UNITS, Sides, is_sided
from sfe_core.files import derive_seed

Protocol = Literal["fineface", "magicface"]
PROTOCOLS: tuple[Protocol, ...] = ("fineface", "magicface")
Part = Literal["single", "combined"]
PARTS: tuple[Part, ...] = ("single", "combined")
PROTOCOL_UNITS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU9", "AU12", "AU15", "AU17", "AU20", "AU25", "AU26",
)  # fmt: skip
LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
CHANGES = (-4.0, -2.0, 2.0, 4.0)
COMBINATIONS = 50
TOGETHER = (2, 4)  # units of a combination, fewest and most
LEAST_CHANGE = 1.0  # less than a grade is nothing to be seen
PROMPTS = tuple(
    f"a close-up portrait of {person}, {place}"
    for person, place in (
        ("a young woman", "plain background"),
        ("a young man", "plain background"),
        ("an old woman", "in a garden"),
        ("an old man", "at a window"),
        ("a middle-aged woman", "in an office"),
        ("a middle-aged man", "in a kitchen"),
        ("a Black woman", "in the street"),
        ("a Black man", "in a park"),
        ("an Asian woman", "in a library"),
        ("an Asian man", "on a beach"),
        ("a Hispanic woman", "in a cafe"),
        ("a Hispanic man", "before a wall"),
        ("a woman with glasses", "studio light"),
        ("a man with a beard", "studio light"),
        ("a girl with long hair", "in the evening"),
    )
)


@dataclass(frozen=True)
class Command:
    """One picture of a protocol.

    Attributes:
        name: its file, below a folder and without a suffix.
        part: whether it asks for a unit alone, or for several.
        who: who is on it; pictures of one person are resampled together.
        prompt: the text.
        asked: of every unit of the protocol, left and right: intensities, or changes.
        judged: the units by which the picture counts.
        told: of every unit, left and right, the intensity to be shown.
        held_against: the name of the picture, or the key of the photo, whose identity is to stay.
        photo: the key of the photo, empty where there is none.
    """

    name: str
    part: Part
    who: str
    prompt: str
    asked: Mapping[str, Sides]
    judged: tuple[str, ...]
    told: Mapping[str, Sides]
    held_against: str
    photo: str = ""

    def told_names(self) -> dict[str, float]:
        """As a network of units is told: `AU12L` to its intensity."""
        return {
            f"{unit}{side}": value
            for unit, sides in self.told.items()
            for side, value in zip("LR", sides, strict=True)
        }

    def change(self) -> ExpressionChange:
        """What moves in the photo's face; what it shows that none shows beside that goes away."""
        moved = {
            unit: sides if is_sided(unit) else (sum(sides) / 2,) * 2
            for unit, sides in self.asked.items()
            if any(sides)
        }
        return ExpressionChange(tuple(moved.items())).beside(self.told)


def fineface_commands(units: Sequence[str], prompts: Sequence[str] = PROMPTS) -> list[Command]:
    """Each prompt at rest and with each unit alone at each level, and the combinations."""
    found = []
    for number, prompt in enumerate(prompts):
        rest = f"{number:02d}/rest"
        asks: list[tuple[str, dict[str, float], tuple[str, ...]]]
        asks = [("rest", {}, tuple(units))] + [
            (f"{unit}-{level:.0f}", {unit: level}, (unit,)) for unit in units for level in LEVELS
        ]
        for name, told, judged in asks:
            asked = {unit: (told.get(unit, 0.0),) * 2 for unit in units}
            place = f"{number:02d}/{name}"
            found.append(Command(place, "single", rest, prompt, asked, judged, asked, rest))
    for number, told in enumerate(_combinations(units, LEVELS)):
        who = number % len(prompts)
        asked = {unit: (told.get(unit, 0.0),) * 2 for unit in units}
        rest, place = f"{who:02d}/rest", f"{who:02d}/combined-{number:02d}"
        judged = tuple(told)
        found.append(Command(place, "combined", rest, prompts[who], asked, judged, asked, rest))
    return found


@dataclass(frozen=True)
class PhotoToChange:
    """A photo and what its units are; `who`: the person, `units`: left and right, 0 to 5."""

    key: str
    who: str
    caption: str
    units: Mapping[str, Sides]


def magicface_commands(units: Sequence[str], photos: Sequence[PhotoToChange]) -> list[Command]:
    """Each photo with each unit changed alone by each of `CHANGES`, and combinations of changes.

    A change beyond 0 or 5 is asked for as far as there; one below `LEAST_CHANGE` is left out.
    """
    found = []
    for photo in photos:
        for unit in units:
            for change in CHANGES:
                made = _changed(photo, units, {unit: change}, f"{unit}{change:+.0f}", "single")
                found += [made] if made is not None else []
    for number, changes in enumerate(_combinations(units, CHANGES)):
        photo = photos[number % len(photos)]
        made = _changed(photo, units, changes, f"combined-{number:02d}", "combined")
        found += [made] if made is not None else []
    return found


def _changed(
    photo: PhotoToChange, units: Sequence[str], changes: Mapping[str, float], name: str, part: Part
) -> Command | None:
    """A photo with some units changed; None where none of them has room to change."""
    told, asked = dict(photo.units), dict.fromkeys(units, (0.0, 0.0))
    for unit, change in changes.items():
        before = photo.units[unit]
        left, right = (min(max(one + change, 0.0), MAXIMUM_INTENSITY) for one in before)
        told[unit] = (left, right) if is_sided(unit) else (max(left, right),) * 2
        asked[unit] = (told[unit][0] - before[0], told[unit][1] - before[1])
    judged = tuple(unit for unit in changes if max(map(abs, asked[unit])) >= LEAST_CHANGE)
    if not judged:
        return None
    place = f"{photo.key}/{name}"
    return Command(place, part, photo.who, photo.caption, asked, judged, told, photo.key, photo.key)


def _combinations(units: Sequence[str], values: Sequence[float]) -> Iterator[dict[str, float]]:
    """`COMBINATIONS` of units that a face can show at once; none of fewer than two units."""
    if len(units) < TOGETHER[0]:
        return
    random = np.random.default_rng(derive_seed("combinations of units", *units) % 2**32)
    made, most = 0, min(TOGETHER[1], len(units))
    for _ in range(100 * COMBINATIONS):  # of two that no face shows at once there is none
        chosen = random.choice(units, random.integers(TOGETHER[0], most + 1), replace=False)
        if made == COMBINATIONS:
            return
        if not any({one, other} <= set(chosen) for one, other in EXCLUSIVE_UNITS):
            made += 1
            yield {str(unit): float(random.choice(values)) for unit in chosen}
