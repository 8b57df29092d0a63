"""Age, gender and ethnicity of labels in words, as in "a young East Asian woman"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

LabelValues = Mapping[str, float | str]

_WOMAN = frozenset({"female", "woman", "women", "f", "girl", "w"})
_MAN = frozenset({"male", "man", "men", "m", "boy"})
_UNKNOWN = frozenset({"", "unknown", "unsure", "nan", "none", "other", "others", "n/a", "-"})
# Upper limits of age groups in years; the last one has none. 35 and 58 as in synthetic captions.
_CHILD, _TEENAGER, _YOUNG, _MIDDLE_AGED = 13, 20, 35, 58
_UNCAPITALISED = frozenset({"white", "black", "mixed", "and"})


def age_word(labels: LabelValues) -> str:
    """child, teenage, young, middle-aged or old, from `label_age`; empty where unknown.

    The age is a number of years, a range as in `20-29`, or words, which are taken as they are.
    """
    value = labels.get("label_age")
    if isinstance(value, str):
        numbers = [float(text) for text in re.findall(r"\d+(?:\.\d+)?", value)]
        if not numbers:
            text = " ".join(value.split()).lower()
            return "" if text in _UNKNOWN else text
        value = sum(numbers) / len(numbers)
    if value is None or math.isnan(value) or value < 0:
        return ""
    for limit, word in (
        (_CHILD, "child"),
        (_TEENAGER, "teenage"),
        (_YOUNG, "young"),
        (_MIDDLE_AGED, "middle-aged"),
    ):
        if value < limit:
            return word
    return "old"


def gender_word(labels: LabelValues) -> str:
    """woman or man, from `label_gender` or `label_sex`; empty where unknown or a number."""
    for name in ("label_gender", "label_sex"):
        text = str(labels.get(name, "")).strip().lower()
        if text in _WOMAN:
            return "woman"
        if text in _MAN:
            return "man"
    return ""


def sex_word(labels: LabelValues) -> str:
    """female or male, from `label_gender` or `label_sex`; empty where unknown or a number."""
    return {"woman": "female", "man": "male", "": ""}[gender_word(labels)]


def ethnicity_words(labels: LabelValues) -> str:
    """`label_ethnicity` or `label_race` as words: `east_asian` is East Asian; empty if unknown."""
    for name in ("label_ethnicity", "label_race"):
        value = labels.get(name)
        if not isinstance(value, str):
            continue
        words = value.replace("_", " ").split()
        if " ".join(words).lower() not in _UNKNOWN:
            return " ".join(map(_capitalised, words))
    return ""


def person_phrase(labels: LabelValues) -> str:
    """Who is seen, with an article; empty where age, gender and ethnicity are all unknown."""
    age, gender, ethnicity = age_word(labels), gender_word(labels), ethnicity_words(labels)
    if not (age or gender or ethnicity):
        return ""
    if age == "child":
        age, noun = "", {"woman": "girl", "man": "boy", "": "child"}[gender]
    elif age == "teenage":
        age, noun = (age, "girl" if gender == "woman" else "boy") if gender else ("", "teenager")
    else:
        noun = gender or "person"
    words = " ".join(word for word in (age, ethnicity, noun) if word)
    return with_article(words)


def with_article(words: str) -> str:
    """The words with a or an before them."""
    return f"{_article(words)} {words}"


def _article(words: str) -> str:
    sounds_like_consonant = words.lower().startswith(("eu", "uni", "one"))
    return "an" if words[0].lower() in "aeiou" and not sounds_like_consonant else "a"


def _capitalised(word: str) -> str:
    lower = word.lower()
    if lower in _UNCAPITALISED:
        return lower
    return word if word[:1].isupper() else word[:1].upper() + word[1:]
