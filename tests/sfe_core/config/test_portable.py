from __future__ import annotations

import pytest

from sfe_core.config.portable import portable_yaml, without_places


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("/home/ann/clinic-7/rv6", "rv6"),
        ("/home/ann/clinic-7/rv6/", "rv6"),
        ("~/models/rv6", "rv6"),
        ("C:\\Users\\ann\\rv6", "rv6"),
        ("\\\\server\\share\\rv6", "rv6"),
        ("tiny-sd", "tiny-sd"),
        ("../models/rv6", "../models/rv6"),
        ("{emotion} face, 50/50 light", "{emotion} face, 50/50 light"),
        ("", ""),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_a_place_becomes_a_name_and_all_else_stays(value: object, left: object):
    assert without_places({"model": {"base": value}, "loss": [value]}) == {
        "model": {"base": left},
        "loss": [left],
    }


def test_yaml_without_places_stays_byte_for_byte():
    text = "model: {base: tiny-sd}  # the small one\n"
    assert portable_yaml(text) == text
    assert portable_yaml("model: {base: /a/b}\n") == "model:\n  base: b\n"
    assert portable_yaml("model: {base: /a/b") == ""
    assert portable_yaml("") == ""


def test_files_that_are_keys_lose_their_places_too():
    settings = {"sampling": {"loras": {"/home/ann/clinic-7/style.safetensors": 0.5}}}
    assert without_places(settings) == {"sampling": {"loras": {"style.safetensors": 0.5}}}
