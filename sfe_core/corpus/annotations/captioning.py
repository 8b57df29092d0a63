"""One caption out of several sources, and a record of which of them made it.

`captions.sources` lists the parts of a caption in order. A part is the name of a source, or several
separated by `|` of which the first that has a text counts:

| source | text |
| --- | --- |
| file | captions.json, word for word |
| template | preprocess.caption_template with the emotion, attributes and units filled in |
| tags | attributes and FACS names, hyphenated: Asian,female,close-up,…,young,lip-corner-puller |
| attributes | age, ethnicity and gender of the labels: "a young East Asian woman" |
| action_units | the labels' action units in words, the strongest first |
| unit_names | the same by their FACS names: "lip corner puller" |
| unit_codes | the same by their FACS numbers: "AU12" |
| blip | what BLIP says of the crop |

Parts are joined by commas. Unless it begins with a text that someone wrote (file, template, tags),
the emotion's word is put before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sfe_core.config.corpus_sections import CaptionsConfig
from sfe_core.controls.action_units import ACTION_UNITS, describe_units, name_units
from sfe_core.corpus.annotations.attributes import (
    age_word,
    ethnicity_words,
    gender_word,
    person_phrase,
    sex_word,
    with_article,
)
from sfe_core.corpus.annotations.captions import TAGS, hyphenated, template_caption
from sfe_core.corpus.annotations.labels import Label
from sfe_core.errors import UserError

# Those that are about units are called as the placeholders of a template are.
UNIT_SOURCES = ("action_units", "unit_names", "unit_codes")
SOURCES = ("file", "template", "tags", "attributes", *UNIT_SOURCES, "blip")
_WRITTEN = ("file", "template", "tags")
_WHERE = "sfe.yaml: captions.sources"


def read_sources(entries: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The parts of a caption, each a tuple of alternatives.

    Raises:
        UserError: no part at all, or a source that there is not.
    """
    if not entries:
        raise UserError(_WHERE, "is empty", f"name at least one of {', '.join(SOURCES)}")
    parts = tuple(tuple(name.strip() for name in entry.split("|")) for entry in entries)
    for name in (name for part in parts for name in part):
        if name not in SOURCES:
            allowed = f"allowed: {', '.join(SOURCES)}, and a|b for the first that has a text"
            raise UserError(_WHERE, f"{name!r} is unknown", allowed)
    return parts


def names_blip(entries: Sequence[str]) -> bool:
    """Whether captions ask for BLIP."""
    return any("blip" in part for part in read_sources(entries))


@dataclass(frozen=True)
class Captioner:
    """Makes captions.

    Attributes:
        parts: from `read_sources`.
        template: a checked caption template.
        written: captions of files, by key.
        origins: by key, the name of the source of those that are not in captions.json.
        settings: how units, and persons of albums, are named.
        person_of: whose album a key is of; "" where nobody's is told.
    """

    parts: tuple[tuple[str, ...], ...]
    template: str
    written: Mapping[str, str]
    origins: Mapping[str, str] = field(default_factory=dict)
    settings: CaptionsConfig = field(default_factory=CaptionsConfig)
    person_of: Callable[[str], str] = field(default=lambda key: "")

    def caption(self, key: str, label: Label, blip: str = "") -> tuple[str, str]:
        """The caption of a face, and the names of the sources that made it, joined by `+`.

        Args:
            key: of the face.
            label: what is known of it.
            blip: what BLIP says of its crop, if anything.
        """
        made: list[tuple[str, str]] = []
        for part in self.parts:
            texts = ((name, self._text(name, key, label, blip)) for name in part)
            found = next(((name, text) for name, text in texts if text), None)
            if found:
                made.append(found)
        file = self.origins.get(key, "file")
        names = "+".join(file if name == "file" else name for name, _ in made)
        if len(made) == 1 and made[0][0] in _WRITTEN:
            return made[0][1], names
        text = ", ".join(text.rstrip(" .,;") for _, text in made)
        emotion = label.emotion
        written = bool(made) and made[0][0] in _WRITTEN
        if emotion and not written and not text.lower().startswith(emotion):
            text = f"{emotion}, {text}" if text else emotion
        return text, names

    def _text(self, source: str, key: str, label: Label, blip: str) -> str:
        if source == "file":
            return self.written.get(key, "")
        if source == "blip":
            return blip
        if source == "attributes":
            return person_phrase(label.extra)
        if source in UNIT_SOURCES:
            return unit_texts(intensities_of(label), self.settings, key)[source]
        values = template_values(label, self.settings, key, self.person_of(key))
        if source == "tags":
            return hyphenated(template_caption(TAGS, values))
        return template_caption(self.template, values)


def template_values(
    label: Label, settings: CaptionsConfig, key: str, person: str = ""
) -> dict[str, str]:
    """What fills the placeholders of a template; empty where unknown."""
    return {
        "emotion": label.emotion or "",
        "person": person_phrase(label.extra),
        "age": age_word(label.extra),
        "gender": gender_word(label.extra),
        "sex": sex_word(label.extra),
        "ethnicity": ethnicity_words(label.extra),
        **unit_texts(intensities_of(label), settings, key),
        "subject": subject_of(settings, person),
    }


def subject_of(settings: CaptionsConfig, person: str) -> str:
    """What stands for an album's person, e.g. "sks woman"; "a woman" without a token."""
    word = class_word_of(settings, person)
    return f"{settings.token} {word}".strip() if settings.token else with_article(word)


def class_word_of(settings: CaptionsConfig, person: str) -> str:
    """What a person is, see `corpus.people.albums.person_of`."""
    return settings.class_words.get(person, settings.class_word)


def unit_texts(
    units: Mapping[str, float | None], settings: CaptionsConfig, key: str
) -> dict[str, str]:
    """Units in each of the ways to speak of them, see `describe_units` and `name_units`."""
    least, absent = settings.units_from, settings.absent_units
    return {
        "action_units": describe_units(units),
        "unit_names": ", ".join(name_units(units, least, absent, key)),
        "unit_codes": ", ".join(name_units(units, least, absent, key, codes=True)),
    }


def intensities_of(label: Label) -> dict[str, float | None]:
    """A label's action units: intensity 0 to 5, or None where it only says that a unit is there.

    One that it only says is not there has intensity 0.
    """
    found: dict[str, float | None] = {}
    for code in ACTION_UNITS:
        value, present = (label.extra.get(f"label_{code}{end}") for end in ("", "_present"))
        if isinstance(value, float):
            found[code] = value
        elif isinstance(present, float):
            found[code] = None if present == 1.0 else 0.0
    return found
