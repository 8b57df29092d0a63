"""Caption files in their variants, and the template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfe_core.corpus.annotations.captions import check_template, read_captions, template_caption
from sfe_core.errors import UserError

KEYS = ["a/one", "two"]


def write(folder: Path, value: object) -> Path:
    path = folder / "captions.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_text_list_extension_and_trailing_characters(tmp_path: Path) -> None:
    texts = {"a/one.jpg": ["", " Sad,  a man "], "two_1": "Happy, a face", "no": "x"}
    captions = read_captions(write(tmp_path, texts)).of(KEYS)
    assert captions.by_key == {"a/one": "Sad, a man", "two": "Happy, a face"}
    assert captions.unmatched == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"two": "Sad", "two": "Happy"}', "two ('two')"),
        ('{"two": "Sad", "two.jpg": "Happy"}', "two ('two.jpg')"),
        ('{"two_1": "Sad", "two_2": "Happy", "a/one": "x"}', "two ('two_2')"),
        ('{"two": "Sad", "two.png": "Sad"}', ""),
    ],
)
def test_a_photo_with_two_texts_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(text, encoding="utf-8")
    captions = read_captions(path).of(KEYS)
    assert captions.by_key["two"] == "Sad"
    assert [note.endswith(told) for note in captions.notes] == [True] * bool(told)


@pytest.mark.parametrize(
    ("value", "message"),
    [([1], "holds a list"), ({"a/../b": "x"}, r"a/\.\./b"), ({"two": 5}, "5 is not a text")],
)
def test_odd_files_are_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_captions(write(tmp_path, value))


def test_broken_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text('{"a": ', encoding="utf-8")
    with pytest.raises(UserError, match="not JSON"):
        read_captions(path)


def test_template_begins_with_the_emotion_or_does_without() -> None:
    template = check_template("{emotion}, close-up photo of a face")
    assert template_caption(template, {"emotion": "fear"}) == "fear, close-up photo of a face"
    assert template_caption(template, {}) == "close-up photo of a face"


@pytest.mark.parametrize("template", ["{mood} face", "{} face", "{emotion face", "{emotion.upper}"])
def test_bad_templates_name_the_field(template: str) -> None:
    with pytest.raises(UserError, match="caption_template"):
        check_template(template)
