"""Weights as AUTOMATIC1111's web UI reads them; the cases are those of its documentation."""

from __future__ import annotations

import pytest

from sfe_core.diffusion.prompt_marks import parse_weights, split_at_breaks, unread_marks


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("normal text, 10:30", [("normal text, 10:30", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        (r"saber \(fate\) a\\b", [("saber (fate) a\\b", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("a (happy:1.5) face", [("a ", 1.0), ("happy", 1.5), (" face", 1.0)]),
        ("(a: .5), b)", [("a", 0.5), (", b)", 1.0)]),
        ("[less]", [("less", 1 / 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),
    ],
)
def test_weights(text: str, pieces: list[tuple[str, float]]):
    found = parse_weights(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_breaks_are_words_in_capitals():
    assert split_at_breaks("a man BREAK smiling\nBREAK\nbreak, BREAKFAST") == [
        "a man", "smiling", "break, BREAKFAST",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "as_text", "always"),
    [
        ("a happy man, 10:30, 50+ years -- old", [], []),
        ("a (happy:1.5) man, ((old)) [hat]", ["(happy:1.5)", "((old))", "[hat]"], []),
        (r"saber \(fate\)", [r"\(", r"\)"], []),
        ("a man BREAK smiling", ["BREAK"], []),
        ("a man <lora:film:0.8>", ["<lora:film:0.8>"], ["<lora:film:0.8>"]),
        ("a man AND a dog", ["AND"], ["AND"]),
        ("[sad:happy:0.5] man", ["[sad:happy:0.5]"], ["[sad:happy:0.5]"]),
        ("[old|young] man", ["[old|young]"], ["[old|young]"]),
        ("happy++ man", ["happy++"], ["happy++"]),
    ],
)
def test_marks_that_nobody_reads(text: str, as_text: list[str], always: list[str]):
    assert unread_marks(text, weights=False, breaks=False) == as_text
    assert unread_marks(text, weights=True, breaks=True) == always
