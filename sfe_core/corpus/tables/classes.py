"""Emotion classes of the public data sets, by number and by name.

Numbers differ from set to set, so that they are never guessed (`numbering` tells whose they are):

| scheme | numbers | source |
| --- | --- | --- |
| affectnet | 0 neutral … 7 contempt; 8 none, 9 uncertain, 10 no face | Mollahosseini et al. 2017 |
| raf-db | 1 surprise … 7 neutral | Li, Deng & Du 2017, basic set |
| fer2013 | 0 angry … 6 neutral | Goodfellow et al. 2013 |
| ferplus | 0 neutral … 7 contempt, in another order; 8 unknown, 9 no face | Barsoum et al. 2016 |
| expw | 0 angry … 6 neutral, as fer2013 | Zhang, Luo, Loy & Tang 2018 |
| ck+ | 0 neutral, 1 anger, 2 contempt … 7 surprise | Lucey et al. 2010 |
| ck-extended | 0 anger … 6 neutral, as fer2013; 7 contempt | CK+ as a table, ckextended.csv |
| aff-wild2 | 0 neutral … 6 surprise; 7 other, -1 none | Kollias & Zafeiriou 2019, ABAW |

A set that is not among them is named by its emotions in the order of their numbers, from 0:
`angry,disgust,fear,happy,neutral,sad,surprise`.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError

_FER = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SCHEMES: dict[str, dict[int, str]] = {
    "affectnet": dict(enumerate(EMOTIONS)),
    "raf-db": dict(
        enumerate(("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"), start=1)
    ),
    "fer2013": dict(enumerate(_FER)),
    "ferplus": dict(
        enumerate(("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt"))
    ),
    "expw": dict(enumerate(_FER)),
    "ck+": dict(
        enumerate(("neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprise"))
    ),
    "ck-extended": dict(enumerate((*_FER, "contempt"))),
    "aff-wild2": dict(
        enumerate(("neutral", "anger", "disgust", "fear", "happy", "sad", "surprise"))
    ),
}
# Numbers by which a scheme says that a face shows none of its emotions, or that there is no face.
UNLABELLED: dict[str, frozenset[int]] = {
    "affectnet": frozenset({8, 9, 10, -1}),
    "ferplus": frozenset({8, 9}),
    "aff-wild2": frozenset({7, -1}),
}
_SPELLINGS = {"ckplus": "ck+", "fer+": "ferplus", "fer": "fer2013"}

_OTHER_NAMES: dict[str, str] = {
    "neutrality": "neutral", "calm": "neutral",
    "happiness": "happy", "joy": "happy", "joyful": "happy",
    "sadness": "sad",
    "surprised": "surprise", "surprising": "surprise",
    "afraid": "fear", "fearful": "fear", "scared": "fear",
    "disgusted": "disgust",
    "angry": "anger",
    "contemptuous": "contempt",
}  # fmt: skip
# The codes of KDEF, JAFFE, CREMA-D and RaFD; as cells only: a folder may bear initials.
_CODES: dict[str, str] = {
    "ne": "neutral", "neu": "neutral", "ha": "happy", "hap": "happy", "sa": "sad",
    "su": "surprise", "sur": "surprise", "fe": "fear", "fea": "fear", "af": "fear",
    "di": "disgust", "dis": "disgust", "an": "anger", "ang": "anger", "con": "contempt",
}  # fmt: skip
_NO_NAMES = frozenset(
    {"", "none", "nan", "null", "na", "n/a", "unknown", "uncertain", "other", "others", "nf",
     "no-face", "noface", "no face", "no_face", "non-face", "unlabelled", "unlabeled"}
)  # fmt: skip
# `0_neutral`, `03-happiness`: the number in front orders the folders.
_ORDERED_FOLDER = re.compile(r"\d{1,2}[ ._-]+(.+)")


class WrongLabelError(Exception):
    """A cell that names no emotion of the scheme; the text says what was found and is allowed."""


def check_scheme(scheme: str, where: str = "--classes") -> str:
    """The scheme that a user names, as SCHEMES spells it; a list of emotions stays as it is.

    Raises:
        UserError: there is none of that name.
    """
    if "," in scheme:
        for name in scheme.split(","):
            if read_name(name) == "":
                raise UserError(where, f"{name.strip()!r} is not an emotion", _allowed())
        return scheme
    plain = re.sub(r"[\s_-]", "", scheme.lower())
    known = {name.replace("-", ""): name for name in SCHEMES} | _SPELLINGS
    if plain not in known:
        raise UserError(
            where,
            f"{scheme!r} is unknown",
            f"choose {', '.join(SCHEMES)}, or list the emotions from number 0: angry,disgust,…",
        )
    return known[plain]


@lru_cache(maxsize=64)
def numbers_of(scheme: str) -> dict[int, str | None]:
    """What each number of a checked scheme means; None for "none of them"."""
    if "," in scheme:
        return dict(enumerate(read_name(name) or None for name in scheme.split(",")))
    return {**SCHEMES[scheme], **dict.fromkeys(UNLABELLED.get(scheme, ()))}


def read_name(text: str) -> str | None:
    """The emotion of a name in any case; None for words that say "none"; empty for other texts."""
    name = text.strip().lower()
    if name in EMOTIONS:
        return name
    if name in _NO_NAMES:
        return None
    return _OTHER_NAMES.get(name) or _CODES.get(name, "")


def read_class(text: str, scheme: str | None) -> str | None:
    """The emotion that a cell or a folder's name means.

    Args:
        text: a name in any case (`happiness`, `Angry`), or a number (`3`, `3.0`).
        scheme: how numbers are meant; None refuses numbers.

    Returns:
        One of EMOTIONS; None where the data set says "none of them".

    Raises:
        WrongLabelError: neither a known name nor a number of the scheme.
    """
    name = read_name(text)
    if name != "":
        return name
    try:
        number = float(text)
    except ValueError:
        name = folder_class(text)
        if name:
            return name
        near = difflib.get_close_matches(text.strip().lower(), EMOTIONS, n=1, cutoff=0.75)
        hint = f" (meant {near[0]}?)" if near else ""
        raise WrongLabelError(f"{text!r} is not an emotion{hint}; {_allowed()}") from None
    if scheme is None:
        raise WrongLabelError(f"{text!r} is a number, and nothing says of which set")
    numbers = numbers_of(scheme)
    if number.is_integer() and int(number) in numbers:
        return numbers[int(number)]
    listed = ", ".join(f"{place} {name}" for place, name in numbers.items() if name)
    raise WrongLabelError(f"{text!r} is not in {scheme}: {listed}")


def folder_class(name: str) -> str | None:
    """The emotion that a folder is named after: `happy`, `Angry`, `0_neutral`; None for others."""
    plain = name.strip().lower()
    ordered = _ORDERED_FOLDER.fullmatch(plain)
    plain = ordered[1] if ordered else plain
    return plain if plain in EMOTIONS else _OTHER_NAMES.get(plain)


def is_number(text: str) -> bool:
    """Whether a folder may be the number of a class."""
    name = text.strip()
    return name.isdecimal() and len(name) <= 2


def _allowed() -> str:
    return f"known: {', '.join(EMOTIONS)}"
