"""Prompts that name action units as captions do; what is drawn of them is in test_generate."""

from __future__ import annotations

import pytest

from sfe_core.config.loading import preset_config
from sfe_core.sampling.unit_prompts import prompt_with_units


@pytest.mark.parametrize(
    ("settings", "prompt"),
    [
        ({}, None),
        ({"captions.sources": ["tags"]}, "portrait,lip-corner-puller"),
        ({"captions.sources": ["attributes", "unit_codes"]}, "portrait, AU12"),
        ({"preprocess.caption_template": "{emotion}, {unit_names}"}, "portrait, lip corner puller"),
        (
            {"captions.sources": ["unit_names"], "captions.absent_units": 1},
            "portrait, lip corner puller, no brow lowerer, no jaw drop",
        ),
    ],
)
def test_prompts_name_units_as_captions_do(settings: dict, prompt: str | None) -> None:
    asked = {"AU12": 3.0, "AU4": 0.0, "AU26": 0.0, "AU6": 0.8}
    assert prompt_with_units("portrait", asked, preset_config("tiny", settings)) == prompt
