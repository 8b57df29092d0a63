"""Captions made ready for sampling."""

from __future__ import annotations

import re

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
