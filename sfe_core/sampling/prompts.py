"""Captions made ready for sampling, and what to tell of prompts before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sfe_core.reporting import Reporter
from sfe_core.sampling.settings import DrawSettings
from sfe_core.text_window import TextWindow

# Captioners describe the photo's quality too; asked of a sampler, these words would be obeyed.
_UNWANTED = re.compile(r"\b(?:blurred|grainy|blurry)\b", re.IGNORECASE)
_LOW_QUALITY = re.compile(r"\blow([- ])quality\b", re.IGNORECASE)


def clean_prompt(caption: str) -> str:
    """The caption as it is given to the sampler.

    The words blurred, grainy and blurry are removed and low-quality becomes high-quality, as
    StableFaceEmotion does before sampling; commas and spaces left over by that are tidied up.
    """
    text = _UNWANTED.sub("", caption)
    text = _LOW_QUALITY.sub(r"high\1quality", text)
    clauses = [" ".join(clause.split()) for clause in text.split(",")]
    return ", ".join(clause for clause in clauses if clause)


def tell_of_prompts(
    source: Path, prompts: Sequence[str], settings: DrawSettings, name: str, reporter: Reporter
) -> None:
    """Warn of words that have no part in the pictures.

    Args:
        source: the pipeline's folder.
        prompts: one for each picture.
        settings: of the series, for the negative prompt.
        name: of one of the prompts, e.g. caption.
    """
    window = TextWindow.of_pipeline(source)
    if window is None:
        return  # loading the pipeline says in words what is wrong with it
    for texts, what in ((prompts, name), ((settings.negative_prompt,), "negative prompt")):
        told = window.told(texts, what)
        if told is not None:
            reporter.warn(told)
