"""One caption out of several sources, and a record of which of them made it.

`captions.sources` lists the parts of a caption in order. A part is the name of a source, or several
separated by `|` of which the first that has a text counts:

| source | text |
| --- | --- |
| file | captions.json, word for word |
| template | preprocess.caption_template with the emotion, attributes and units filled in |
| attributes | age, ethnicity and gender of the labels: "a young East Asian woman" |
| action_units | the labels' action units in words, the strongest first |
| blip | what BLIP says of the crop |

Parts are joined by commas. Unless it begins with a text that someone wrote (file, template), the
emotion's word is put before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sfe_core.controls.action_units import ACTION_UNITS, describe_units
from sfe_core.corpus.annotations.attributes import (
    age_word,
    ethnicity_words,
    gender_word,
    person_phrase,
)
from sfe_core.corpus.annotations.captions import template_caption
from sfe_core.corpus.annotations.labels import Label
from sfe_core.errors import UserError

SOURCES = ("file", "template", "attributes", "action_units", "blip")
_WRITTEN = ("file", "template")
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
    """

    parts: tuple[tuple[str, ...], ...]
    template: str
    written: Mapping[str, str]
    origins: Mapping[str, str] = field(default_factory=dict)

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
        if source == "attributes":
            return person_phrase(label.extra)
        if source == "action_units":
            return describe_units(intensities_of(label))
        if source == "blip":
            return blip
        return template_caption(self.template, template_values(label))


def template_values(label: Label) -> dict[str, str]:
    """What fills the placeholders of a template; empty where unknown, but for `person`."""
    return {
        "emotion": label.emotion or "",
        "person": person_phrase(label.extra) or "a person",
        "age": age_word(label.extra),
        "gender": gender_word(label.extra),
        "ethnicity": ethnicity_words(label.extra),
        "action_units": describe_units(intensities_of(label)),
    }


def intensities_of(label: Label) -> dict[str, float | None]:
    """A label's action units: intensity 0 to 5, or None where it only says that a unit is there."""
    found: dict[str, float | None] = {}
    for code in ACTION_UNITS:
        value = label.extra.get(f"label_{code}")
        if isinstance(value, float):
            found[code] = value
        elif label.extra.get(f"label_{code}_present") == 1.0:
            found[code] = None
    return found
