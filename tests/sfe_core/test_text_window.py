"""Which words of a text a text encoder does not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from sfe_core.text_window import TextWindow
from tests.tiny import make_tiny_tokenizer


@pytest.fixture(scope="module")
def window() -> TextWindow:
    """32 tokens, start and end mark among them; every letter is one."""
    return TextWindow(make_tiny_tokenizer())


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("", ""),
        ("x " * 30, ""),
        ("x " * 31, "x"),
        ("a" * 30 + ", smiling", "smiling"),
        ("an old man, smiling at the seaside, sun", "sun"),
        ("A man,  and the word is\n Portraiture, Young", "Young"),
        ("日" * 10 + "月火", "月火"),  # three bytes each, none of them known as a whole
    ],
)
def test_the_very_words_that_fall_off_are_told(window: TextWindow, text: str, lost: str):
    assert window.measure([text])[0][1] == lost


def test_what_is_told_counts_every_text_and_shows_the_first_ones_words(window: TextWindow):
    texts = ["short", "x " * 31 + "end", "short", "x " * 40, "x " * 31 + "end"]
    told = window.told(texts, "caption")
    assert told.startswith("3 of 5 captions are longer than the text encoder's 32 tokens")
    assert told.endswith("(longest 42); words lost, e.g. x end")
    assert window.told(["short"], "caption") is None and window.told([], "caption") is None
    assert window.told(["x " * 31] * 9, "caption").startswith("9 of 9 captions")
    assert window.told(["x " * 31], "prompt").endswith("(it has 33); these words are not read: x")


def test_agrees_with_what_the_tokenizer_cuts(window: TextWindow):
    text = "the quick brown fox jumps over it, others"
    kept = window.tokenizer(text, truncation=True, max_length=32).input_ids
    lost = window.measure([text])[0][1]
    whole = window.tokenizer(text.removesuffix(lost)).input_ids
    assert lost == "others" and whole[:-1] == kept[: len(whole) - 1]


def test_a_tokenizer_without_a_limit_has_the_encoders(tmp_path: Path):
    tokenizer = make_tiny_tokenizer()
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert CLIPTokenizer.from_pretrained(tmp_path / "tokenizer").model_max_length > 1e6
    assert TextWindow.of_pipeline(tmp_path).tokens == 77
    (tmp_path / "text_encoder").mkdir()
    config = json.dumps({"max_position_embeddings": 40})
    (tmp_path / "text_encoder" / "config.json").write_text(config)
    assert TextWindow.of_pipeline(tmp_path).tokens == 40
    assert TextWindow.of_pipeline(tmp_path / "nowhere") is None
