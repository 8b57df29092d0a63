"""Emotion classes of the public data sets, by number and by name.

Numbers differ from set to set, so that they are never guessed:

| scheme | numbers | source |
| --- | --- | --- |
| affectnet | 0 neutral … 7 contempt; 8 none, 9 uncertain, 10 no face | Mollahosseini et al. 2017 |
| raf-db | 1 surprise … 7 neutral | Li, Deng & Du 2017, basic set |
| fer2013 | 0 angry … 6 neutral | Goodfellow et al. 2013 |
| ferplus | 0 neutral … 7 contempt, in another order than AffectNet | Barsoum et al. 2016 |
"""

from __future__ import annotations

from collections.abc import Iterable

from sfe_core.corpus.labels import UNLABELLED_CODES
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError

SCHEMES: dict[str, dict[int, str]] = {
    "affectnet": dict(enumerate(EMOTIONS)),
    "raf-db": dict(
        enumerate(("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"), start=1)
    ),
    "fer2013": dict(enumerate(("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"))),
    "ferplus": dict(
        enumerate(("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt"))
    ),
}
# Numbers by which a scheme says that a face shows none of its emotions, or that there is no face.
UNLABELLED: dict[str, frozenset[int]] = {"affectnet": UNLABELLED_CODES}

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
_NO_NAMES = frozenset({"", "none", "nan", "unknown", "uncertain", "no-face", "noface", "no face"})


class WrongLabelError(Exception):
    """A cell that names no emotion of the scheme; the text says what was found and is allowed."""


def check_scheme(scheme: str) -> str:
    """Return the name of a scheme.

    Raises:
        UserError: there is none of that name.
    """
    if scheme not in SCHEMES:
        raise UserError("--classes", f"{scheme!r} is unknown", f"choose {', '.join(SCHEMES)}")
    return scheme


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
    name = text.strip().lower()
    if name in EMOTIONS:
        return name
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    if name in _NO_NAMES:
        return None
    try:
        number = float(name)
    except ValueError:
        raise WrongLabelError(f"{text!r} is no emotion; known: {', '.join(EMOTIONS)}") from None
    if scheme is None:
        raise WrongLabelError(f"{text!r} is a number; name its scheme with --classes")
    if number.is_integer():
        if int(number) in SCHEMES[scheme]:
            return SCHEMES[scheme][int(number)]
        if int(number) in UNLABELLED.get(scheme, ()):
            return None
    listed = ", ".join(f"{place} {name}" for place, name in SCHEMES[scheme].items())
    raise WrongLabelError(f"{text!r} is not in {scheme}: {listed}")


def is_class_name(text: str) -> bool:
    """Whether a folder of this name may hold a class: an emotion's name or a small number."""
    name = text.strip().lower()
    return name in EMOTIONS or name in _OTHER_NAMES or (name.isdecimal() and len(name) <= 2)


def need_scheme(names: Iterable[str], scheme: str | None, where: str) -> None:
    """Refuse numbered classes without a scheme.

    Raises:
        UserError: one of `names` is a number and `scheme` is None.
    """
    numbers = sorted({name for name in names if name.strip().isdecimal()})
    if numbers and scheme is None:
        raise UserError(
            where,
            f"classes are numbers ({', '.join(numbers[:8])}), which mean different emotions "
            "in different data sets",
            f"say which with --classes {' | '.join(SCHEMES)}",
        )
