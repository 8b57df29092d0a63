"""Texts that people wrote for faces: captions.json, and a template led by the emotion."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.corpus.annotations.attributes import with_article
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import check_key
from sfe_core.wording import listed

# The known caption files of this field come in a variant whose keys end in two more characters.
TRAILING_CHARACTERS = 2
_SHOWN = 3
# What a caption template may hold in braces, and what it stands for.
PLACEHOLDERS: dict[str, str] = {
    "emotion": "the emotion's word",
    "person": "age, ethnicity and gender with an article, or a person",
    "age": "child, teenage, young, middle-aged or old",
    "gender": "woman or man",
    "sex": "female or male",
    "ethnicity": "as labelled",
    "action_units": "the units in words, the strongest first",
    "unit_names": "the units by their FACS names, as lip corner puller",
    "unit_codes": "the units by their FACS numbers, as AU12",
    "subject": "an album's person: token and class word; without a token, a and the class word",
}
# How the action-unit DreamBooth put its captions: words without blanks between commas. What is
# unknown of a face is left out.
TAGS = "{ethnicity},{sex},close-up,whole-face,front-face,{age},{unit_names}"


@dataclass(frozen=True)
class Captions:
    """Captions by photo key, how many entries found no photo, and what a person should know."""

    by_key: dict[str, str]
    unmatched: int = 0
    notes: tuple[str, ...] = ()


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, whose keys may come twice."""


@dataclass(frozen=True)
class CaptionFile:
    """A caption file, read once: (name of a photo, its text) in the file's order."""

    path: Path
    entries: tuple[tuple[str, str], ...] = ()

    def of(self, keys: Iterable[str]) -> Captions:
        """The captions of photos.

        Args:
            keys: of the photos there are.
        """
        matcher = KeyMatcher(keys)
        by_key: dict[str, str] = {}
        differing: list[str] = []
        unmatched = 0
        for name, text in self.entries:
            key = matcher.exact(name) or matcher.exact(name[:-TRAILING_CHARACTERS])
            if key is None:
                unmatched += 1
            elif text and by_key.setdefault(key, text) != text:
                differing.append(f"{key} ({name!r})")
        if not differing:
            return Captions(by_key, unmatched)
        shown = listed(differing, _SHOWN)
        note = f"{self.path.name}: photos with two texts, of which the first stands: {shown}"
        return Captions(by_key, unmatched, (note,))


def read_captions(path: Path) -> CaptionFile:
    """Read a caption file: an object of key → text, or key → [text, …] of which the first counts.

    Args:
        path: the JSON; no file means no captions.

    Raises:
        UserError: not such an object, or a key that leaves the photos folder.
    """
    if not path.is_file():
        return CaptionFile(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(path, f"is not JSON ({error})", "correct it or remove it") from error
    if not isinstance(entries, _Pairs):
        raise UserError(path, f"holds a {type(entries).__name__}", 'write {"key": "caption", …}')
    found = []
    for name, value in entries:
        check_key(name, str(path))
        text = first_text(dict(value) if isinstance(value, _Pairs) else value)
        if text is None:
            remedy = "write a text or a list of texts"
            raise UserError(f"{path}: {name}", f"{value!r} is not a text", remedy)
        found.append((name, text))
    return CaptionFile(path, tuple(found))


def first_text(value: object) -> str | None:
    """The first text of a caption file's value that is not blank, with single spaces.

    Args:
        value: a text, a list of texts, or an object with `caption` or `tags` (kohya's).

    Returns:
        An empty text where all are blank; None where one is not text.
    """
    if isinstance(value, dict):
        named = [value[name] for name in ("caption", "tags") if value.get(name)]
        return first_text(named[0]) if named else None
    given = value if isinstance(value, list) else [value]
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        return None
    return next((" ".join(text.split()) for text in texts if text.strip()), "")


def check_template(template: str) -> str:
    """Return a caption template, or say what is wrong with it.

    Raises:
        UserError: it has another placeholder than those of PLACEHOLDERS, or a stray brace.
    """
    where = "sfe.yaml: preprocess.caption_template"
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UserError(where, f"{template!r} ({error})", "write {{ for a brace") from error
    if names - PLACEHOLDERS.keys():
        found = ", ".join(sorted(f"{{{name}}}" for name in names - PLACEHOLDERS.keys()))
        allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise UserError(where, f"unknown placeholder {found}", f"allowed: {allowed}")
    return template


def template_caption(template: str, values: Mapping[str, str]) -> str:
    """A checked template filled in; where a value is missing, what surrounds it is tidied.

    Args:
        template: as `check_template` returns it.
        values: text by placeholder; missing or empty where unknown. Of an unknown person it says
            "a person".
    """
    known = {name: values.get(name, "") for name in PLACEHOLDERS}
    known["person"] = known["person"] or "a person"
    text = template.format(**known)
    if all(known[name] for _, name, _, _ in string.Formatter().parse(template) if name):
        return text
    text = re.sub(r"\s+(?=[,.;:])", "", " ".join(text.strip(" ,.;:-").split()))
    return re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)


def without_emotion(text: str) -> str:
    """A text without the emotions that stand between its commas, as captions name them.

    >>> without_emotion("Happy, close-up portrait of a man"), without_emotion("photo, sad")
    ('Close-up portrait of a man', 'photo')
    """
    parts = [part.strip() for part in text.split(",")]
    kept = [part for part in parts if part and part.lower() not in EMOTIONS]
    if parts[0].lower() in EMOTIONS and parts[0].istitle() and kept:
        kept[0] = kept[0][0].upper() + kept[0][1:]
    return ", ".join(kept) if len(kept) < len(parts) else text


def without_token(text: str, token: str, class_word: str) -> str:
    """A text about anyone of a person's class: the person's token left out.

    >>> without_token("photo of sks woman, happy", "sks", "woman")
    'photo of a woman, happy'
    >>> without_token("The sks woman at sks, a sks man", "sks", "woman")
    'a woman at, a man'
    """
    if not token:
        return text
    bare, kind = re.escape(token), re.escape(class_word)
    articles = r"(?:\b(?:an?|the)\s+)?"
    named = rf"{articles}(?<!\w){bare}\s+{kind}\b"
    text = re.sub(named, with_article(class_word), text, flags=re.IGNORECASE)
    return re.sub(rf"\s*(?<!\w){bare}(?!\w)", "", text, flags=re.IGNORECASE).strip()


def hyphenated(text: str) -> str:
    """The parts of a text as single words between commas.

    >>> hyphenated("East Asian, lip corner puller,")
    'East-Asian,lip-corner-puller'
    """
    return ",".join("-".join(part.split()) for part in text.split(",") if part.strip())
