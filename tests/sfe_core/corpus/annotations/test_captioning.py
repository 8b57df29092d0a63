"""Captions put together from their sources, and the record of which made them."""

from __future__ import annotations

import pytest

from sfe_core.config.corpus_sections import CaptionsConfig
from sfe_core.corpus.annotations.captioning import (
    Captioner,
    intensities_of,
    names_blip,
    read_sources,
    subject_of,
)
from sfe_core.corpus.annotations.labels import Label
from sfe_core.errors import UserError

HAPPY = Label(
    "happy",
    extra={
        "label_AU12": 4.0,
        "label_AU6": 0.0,
        "label_AU25_present": 1.0,
        "label_AU1_present": 0.0,
        "label_age": 30.0,
        "label_gender": "female",
    },
)
TEMPLATE = "{emotion}, close-up photo of a face"
UNITS_TEXT = "lip corners pulled up strongly, lips parted"


def captioner(*sources: str, template: str = TEMPLATE) -> Captioner:
    return Captioner(read_sources(sources), template, {"a": "Happy, A woman laughs."})


@pytest.mark.parametrize(
    ("sources", "key", "caption", "made_by"),
    [
        (["file|template"], "a", "Happy, A woman laughs.", "file"),
        (["file|template"], "b", "happy, close-up photo of a face", "template"),
        (["file | blip"], "b", "happy, a face in red", "blip"),
        (["file", "action_units"], "a", f"Happy, A woman laughs, {UNITS_TEXT}",
         "file+action_units"),
        (["attributes", "action_units"], "a", f"happy, a young woman, {UNITS_TEXT}",
         "attributes+action_units"),
        (["template", "attributes", "blip"], "b",
         "happy, close-up photo of a face, a young woman, a face in red",
         "template+attributes+blip"),
        (["action_units", "file"], "a", f"happy, {UNITS_TEXT}, Happy, A woman laughs",
         "action_units+file"),
    ],
)  # fmt: skip
def test_parts_in_their_order(sources: list[str], key: str, caption: str, made_by: str) -> None:
    made = captioner(*sources).caption(key, HAPPY, blip="a face in red")
    assert made == (caption, made_by)


def test_what_is_unknown_is_left_out_and_not_named() -> None:
    every = captioner("file", "attributes", "action_units", "blip")
    assert every.caption("b", Label()) == ("", "")
    assert every.caption("b", Label("fear")) == ("fear", "")
    assert every.caption("b", Label("fear"), blip="a wall") == ("fear, a wall", "blip")


def test_blip_that_names_the_emotion_does_not_hear_it_twice() -> None:
    assert captioner("blip").caption("b", Label("sad"), blip="Sad man") == ("Sad man", "blip")


def test_template_with_every_placeholder() -> None:
    full = "{emotion}, portrait of {person}, {age} {ethnicity} {gender}, {action_units}"
    known = Label("happy", extra=HAPPY.extra | {"label_race": "Korean"})
    made, _ = captioner("template", template=full).caption("b", known)
    assert made == (f"happy, portrait of a young Korean woman, young Korean woman, {UNITS_TEXT}")
    bare, _ = captioner("template", template=full).caption("b", Label("sad"))
    assert bare == "sad, portrait of a person"


@pytest.mark.parametrize("sources", [[], ["file|"], ["blipp"], ["file", "units"]])
def test_unknown_sources_are_refused_by_name(sources: list[str]) -> None:
    with pytest.raises(UserError, match="captions.sources"):
        read_sources(sources)


def test_blip_is_known_wherever_it_stands() -> None:
    assert names_blip(["file | blip", "attributes"]) and not names_blip(["file|template"])


def test_intensity_is_preferred_to_presence() -> None:
    both = Label(extra={"label_AU12": 2.0, "label_AU12_present": 1.0, "label_AU4_present": 1.0})
    assert intensities_of(both) == {"AU12": 2.0, "AU4": None}
    assert intensities_of(Label(extra={"label_AU4_present": 0.0})) == {"AU4": 0.0}


# Action units as text


def units_captioner(*sources: str, template: str = TEMPLATE, **settings) -> Captioner:
    return Captioner(read_sources(sources), template, {}, settings=CaptionsConfig(**settings))


ASIAN = Label(
    "happy",
    extra={
        "label_ethnicity": "asian",
        "label_gender": "F",
        "label_age": "20-29",
        **{f"label_{code}_present": float(code in ("AU10", "AU12")) for code in
           ("AU1", "AU4", "AU10", "AU12")},
    },
)  # fmt: skip


def test_tags_are_the_seeds_line() -> None:
    made = units_captioner("tags").caption("a", ASIAN)
    assert made == (
        "Asian,female,close-up,whole-face,front-face,young,upper-lip-raiser,lip-corner-puller",
        "tags",
    )
    unknown = units_captioner("tags").caption("a", Label("happy"))
    assert unknown == ("close-up,whole-face,front-face", "tags")


@pytest.mark.parametrize(
    ("source", "caption"),
    [
        ("unit_names", "happy, upper lip raiser, lip corner puller"),
        ("unit_codes", "happy, AU10, AU12"),
        ("template", "face of a young Asian woman, female, upper lip raiser, lip corner puller"),
    ],
)
def test_units_by_name_and_number(source: str, caption: str) -> None:
    captions = units_captioner(source, template="face of {person}, {sex}, {unit_names}")
    assert captions.caption("a", ASIAN)[0] == caption


def test_absent_units_are_named_where_asked() -> None:
    captions = units_captioner("unit_names", absent_units=9)
    text, _ = captions.caption("a", ASIAN)
    assert text.endswith("lip corner puller, no inner brow raiser, no brow lowerer")
    tags, _ = units_captioner("tags", absent_units=1).caption("a", ASIAN)
    assert tags.split(",")[-1] in ("no-inner-brow-raiser", "no-brow-lowerer")


def test_from_which_intensity_a_unit_is_there() -> None:
    weak = Label(extra={"label_AU12": 1.0, "label_AU6": 3.0})
    assert units_captioner("unit_codes").caption("a", weak)[0] == "AU6, AU12"
    assert units_captioner("unit_codes", units_from=2).caption("a", weak)[0] == "AU6"


def test_an_albums_person_is_told_by_token_and_class_word() -> None:
    settings = CaptionsConfig(token="sks", class_words={"anna": "woman"})
    captioner = Captioner(
        read_sources(("template",)),
        "photo of {subject}, {emotion}",
        {},
        settings=settings,
        person_of=lambda key: key.partition("/")[0],
    )
    told = {key: captioner.caption(key, Label(emotion="sad"))[0] for key in ("anna/1", "ben/1")}
    assert told == {"anna/1": "photo of sks woman, sad", "ben/1": "photo of sks person, sad"}
    assert subject_of(CaptionsConfig(class_word="old man"), "") == "an old man"
