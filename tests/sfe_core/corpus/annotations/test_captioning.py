"""Captions put together from their sources, and the record of which made them."""

from __future__ import annotations

import pytest

from sfe_core.corpus.annotations.captioning import (
    Captioner,
    intensities_of,
    names_blip,
    read_sources,
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
