"""What `--protocol personal` draws: one person, every expression at several strengths.

Beside the person, the class prompt without the person's name: what a fine-tuning on one person
makes of everybody else. All pictures of one number start from one noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from sfe_core.config.model import Config
from sfe_core.corpus.annotations.captioning import class_word_of
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.csv_tables import write_table

NEUTRAL = "neutral"
EXPRESSIONS = tuple(emotion for emotion in EMOTIONS if emotion != NEUTRAL)
FULL = 1.0
Part = Literal["person", "class"]


@dataclass(frozen=True)
class PersonalCommand:
    """One picture of the protocol.

    Attributes:
        name: its file, below a folder and without a suffix.
        part: the person, or anybody of the person's class.
        number: of its noise.
        emotion: that is asked for.
        strength: of it; 0: the face at rest.
        prompt: the text.
        told: words and their strengths, where they are told as embeddings; empty: by the prompt.
        beside: the name of the picture that it is held against: of the person the same noise at
            rest, of the class another noise with the same expression.
    """

    name: str
    part: Part
    number: int
    emotion: str
    strength: float
    prompt: str
    told: Mapping[str, float]
    beside: str

    @property
    def who(self) -> str:
        """What is resampled together."""
        return f"noise {self.number}"


@dataclass(frozen=True)
class Names:
    """How prompts call the person, as "sks woman", and anybody of that kind, as "woman"."""

    person: str
    kind: str


def names_of(config: Config, album: str) -> Names:
    """As section evaluate says, or else captions: token and class word.

    Args:
        album: whose, see `corpus.people.albums.person_of`.

    Raises:
        UserError: neither tells of a person.
    """
    captions, settings = config.captions, config.evaluate
    kind = settings.person_class or class_word_of(captions, album)
    person = settings.person or (f"{captions.token} {kind}" if captions.token else "")
    if not person:
        raise UserError(
            "--protocol personal",
            "no person is named",
            "set captions.token, as the preset personal does, or evaluate.person, as 'sks woman'",
        )
    return Names(person, kind)


def personal_commands(
    names: Names, noises: int, strengths: Sequence[float], embedded: bool
) -> list[PersonalCommand]:
    """Every picture, noise by noise.

    Args:
        names: of person and class.
        noises: how many.
        strengths: above 0, rising, 1 among them; of words alone there is no other than 1.
        embedded: expressions of the person are told as embeddings, not in the prompt.
    """
    found: list[PersonalCommand] = []
    for number in range(noises):
        found += _of_person(names.person, number, strengths if embedded else (FULL,), embedded)
        for emotion in EMOTIONS:
            found.append(
                PersonalCommand(
                    _class_name(number, emotion),
                    "class",
                    number,
                    emotion,
                    FULL,
                    f"photo of {names.kind}, {emotion}",
                    {},
                    _class_name((number + 1) % noises, emotion),
                )
            )
    return found


def _of_person(
    person: str, number: int, strengths: Sequence[float], embedded: bool
) -> Iterator[PersonalCommand]:
    rest = f"person/{number:03d}/{NEUTRAL}"
    asks = [(rest, NEUTRAL, 0.0)] + [
        (f"person/{number:03d}/{emotion}-{strength:g}", emotion, strength)
        for emotion in EXPRESSIONS
        for strength in strengths
    ]
    for name, emotion, strength in asks:
        prompt = f"photo of {person}" if embedded else f"photo of {person}, {emotion}"
        told = {emotion: strength or FULL} if embedded else {}
        yield PersonalCommand(name, "person", number, emotion, strength, prompt, told, rest)


def _class_name(number: int, emotion: str) -> str:
    return f"class/{number:03d}/{emotion}"


def strengths_of(commands: Sequence[PersonalCommand]) -> list[float]:
    """Those that a person's expressions are asked for at, rising; without the face at rest."""
    return sorted({one.strength for one in commands if one.part == "person" and one.strength})


def at_strength(commands: Sequence[PersonalCommand], strength: float) -> list[PersonalCommand]:
    """Of each noise the person's eight expressions, the face at rest among them, in one order."""
    order = {emotion: place for place, emotion in enumerate(EMOTIONS)}
    chosen = [one for one in commands if one.part == "person" and one.strength in (0.0, strength)]
    return sorted(chosen, key=lambda one: (one.number, order[one.emotion]))


def of_class(commands: Sequence[PersonalCommand]) -> list[PersonalCommand]:
    """The class prompt's pictures, in the order of `at_strength`."""
    return [one for one in commands if one.part == "class"]


def write_personal_commands(path: Path, commands: Sequence[PersonalCommand]) -> None:
    """Write the list to draw by, elsewhere too: `told` as `happy=0.5`, noises by number."""
    rows = [
        {
            "name": one.name,
            "part": one.part,
            "noise": one.number,
            "emotion": one.emotion,
            "strength": one.strength,
            "prompt": one.prompt,
            "told": ",".join(f"{word}={strength:g}" for word, strength in one.told.items()),
        }
        for one in commands
    ]
    write_table(path, pd.DataFrame(rows))
