"""Age, gender and ethnicity in words."""

from __future__ import annotations

import pytest

from sfe_core.corpus.annotations.attributes import (
    age_word,
    ethnicity_words,
    gender_word,
    person_phrase,
)


@pytest.mark.parametrize(
    ("labels", "phrase"),
    [
        ({"label_age": 27.0, "label_gender": "Female", "label_race": "East Asian"},
         "a young East Asian woman"),
        ({"label_age": 64.0, "label_sex": "male"}, "an old man"),
        ({"label_age": "40-49", "label_gender": "F", "label_ethnicity": "indian"},
         "a middle-aged Indian woman"),
        ({"label_ethnicity": "latino_hispanic"}, "a Latino Hispanic person"),
        ({"label_ethnicity": "European", "label_gender": "man"}, "a European man"),
        ({"label_ethnicity": "WHITE", "label_gender": "man"}, "a white man"),
        ({"label_age": "3-9", "label_gender": "female"}, "a girl"),
        ({"label_age": 7.0}, "a child"),
        ({"label_age": 15.0}, "a teenager"),
        ({"label_age": 15.0, "label_gender": "m"}, "a teenage boy"),
        ({"label_age": "elderly", "label_gender": "woman"}, "an elderly woman"),
        ({"label_age": 30.0}, "a young person"),
        ({"label_gender": 1.0, "label_age": "unknown", "label_race": "unsure"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_person(labels: dict[str, float | str], phrase: str) -> None:
    assert person_phrase(labels) == phrase


def test_age_groups_have_the_limits_of_synthetic_captions() -> None:
    words = [age_word({"label_age": years}) for years in (0.0, 13.0, 20.0, 34.9, 35.0, 57.9, 58.0)]
    assert words == ["child", "teenage", "young", "young", "middle-aged", "middle-aged", "old"]
    assert age_word({"label_age": float("nan")}) == age_word({"label_age": -1.0}) == ""


def test_single_words() -> None:
    assert gender_word({"label_gender": "unsure", "label_sex": "girl"}) == "woman"
    assert ethnicity_words({"label_ethnicity": 3.0, "label_race": "black"}) == "black"
