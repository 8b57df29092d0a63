"""Captions made ready for sampling, and what to tell of prompts before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from sfe_core.config.sampling_presets import is_named_negative_prompt
from sfe_core.diffusion.prompt_marks import PromptRules, unread_marks, without_weights
from sfe_core.reporting import Reporter
from sfe_core.sampling.settings import DrawSettings
from sfe_core.text_window import TextWindow
from sfe_core.wording import listed

# Captioners describe the photo's quality too; asked of a sampler, these words would be obeyed.
_UNWANTED = re.compile(r"\b(?:blurred|grainy|blurry)\b", re.IGNORECASE)
_MARK_LENGTH, _MARKS_SHOWN = 60, 5  # characters of a mark and marks that a warning shows
_LOW_QUALITY = re.compile(r"\blow([- ])quality\b", re.IGNORECASE)


def clean_prompt(caption: str) -> str:
    """The caption as it is given to the sampler.

    The words blurred, grainy and blurry are removed and low-quality becomes high-quality, as
    StableFaceEmotion does before sampling; commas and spaces left over by that are tidied up.

    >>> clean_prompt("happy, blurry, a low-quality photo")
    'happy, a high-quality photo'
    """
    text = _UNWANTED.sub("", caption)
    text = _LOW_QUALITY.sub(r"high\1quality", text)
    clauses = [" ".join(clause.split()) for clause in text.split(",")]
    return ", ".join(clause for clause in clauses if clause)


def tell_of_prompts(
    source: Path, prompts: Sequence[str], settings: DrawSettings, name: str, reporter: Reporter
) -> None:
    """Warn of words that have no part in the pictures, and of marks that are taken for words.

    Args:
        source: the pipeline's folder.
        prompts: all that are counted, at least one.
        settings: of the series, for the negative prompt.
        name: of one of the prompts, e.g. caption.
    """
    rules, negative = settings.prompt_rules, settings.negative_prompt
    window = None if rules.chunks else TextWindow.of_pipeline(source)
    for texts, what in ((prompts, name), ((negative,), "negative prompt")):
        words = [without_weights(text) for text in texts] if rules.weights else texts
        cut = window.told(words, what) if window else None
        told = [f"{cut} (sampling.long_prompts=chunks reads them)"] if cut else []
        # Their authors drew with the named negative prompts as they stand.
        if not is_named_negative_prompt(texts[0]):
            told += _told_of_marks(texts, what, rules)
        for sentence in told:
            reporter.warn(sentence)


def _told_of_marks(texts: Sequence[str], name: str, rules: PromptRules) -> list[str]:
    """What to tell of weights and other marks that are drawn as text, if there are any."""
    marks = [unread_marks(text, rules.weights, rules.chunks) for text in texts]
    found = [one for one in marks if one]
    if not found:
        return []
    distinct = list(dict.fromkeys(mark for one in found for mark in one))
    shown = listed([f"`{shorten(mark, _MARK_LENGTH)}`" for mark in distinct], _MARKS_SHOWN)
    where = f"in {len(found)} of {len(texts)} {name}s" if len(texts) > 1 else f"in the {name}"
    remedies = []
    if not rules.weights and any(set(mark) & set("()[]\\") for mark in distinct):
        remedies.append("prompt_weights=a1111 reads brackets as weights")
    if not rules.chunks and "BREAK" in distinct:
        remedies.append("long_prompts=chunks reads BREAK")
    remedy = "".join(f"; sampling.{one}" for one in remedies)
    return [f"drawn as text {where}: {shown}{remedy}"]
