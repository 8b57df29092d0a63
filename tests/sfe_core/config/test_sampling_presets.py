"""Named ways of drawing, and where their values stand among the layers."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from sfe_core.config.loading import load_with_origins, load_workspace, preset_config
from sfe_core.config.picture_sections import SamplingConfig
from sfe_core.config.sampling_presets import negative_prompt_text, sampling_presets
from sfe_core.errors import UserError


def write(folder: Path, text: str) -> Path:
    (folder / "sfe.yaml").write_text(text, encoding="utf-8")
    return folder


def test_the_section_allows_the_shipped_names_and_own():
    allowed = get_args(SamplingConfig.model_fields["preset"].annotation)
    assert set(allowed) == {"own", *sampling_presets()}
    for name, values in sampling_presets().items():
        SamplingConfig.model_validate({"preset": name, **values})


def test_original_draws_as_stablefaceemotion_did(tmp_path: Path):
    write(tmp_path, "preset: tiny\nsampling: {preset: original}\n")
    sampling = load_workspace(tmp_path).config.sampling
    drawn = (sampling.scheduler, sampling.steps, sampling.guidance_scale, sampling.seed)
    assert drawn == ("ddpm", 300, 9.0, 42)
    assert sampling == preset_config("stableface").sampling.model_copy(
        update={"batch_size": sampling.batch_size}
    )


def test_both_negative_prompts_are_there_by_name():
    first, second = map(negative_prompt_text, ("stableface-1", "stableface-2"))
    shared = "(deformed iris, deformed pupils, semi-realistic, cgi, 3d, render, sketch, cartoon"
    assert first.startswith(shared) and second.startswith(shared)
    assert first.endswith("too many fingers, long neck")
    assert second.endswith("mutated, ugly, disgusting, amputation")
    assert "\n" not in first + second and "  " not in first + second
    assert negative_prompt_text("hats") == "hats"


def test_written_keys_win_over_the_preset_they_stand_beside(tmp_path: Path):
    write(tmp_path, "sampling: {steps: 50, preset: original}\n")
    loaded = load_with_origins(tmp_path)
    assert loaded.workspace.config.sampling.steps == 50
    assert loaded.origins["sampling.steps"] == "sfe.yaml"
    assert loaded.origins["sampling.scheduler"] == "sampling preset original"


def test_a_stronger_layers_preset_wins_over_weaker_layers_keys(tmp_path: Path):
    write(tmp_path, "preset: stableface\nsampling: {steps: 50}\n")
    sampling = load_workspace(tmp_path, ["sampling.preset=fast"]).config.sampling
    assert (sampling.preset, sampling.scheduler, sampling.steps) == ("fast", "dpm-solver++", 25)
    # What fast leaves open stays as it was.
    assert (sampling.guidance_scale, sampling.negative_prompt) == (9.0, "stableface-1")
    both = ["sampling.preset=fast", "sampling.steps=10"]
    assert load_workspace(tmp_path, both).config.sampling.steps == 10


def test_an_unknown_preset_lists_the_known(tmp_path: Path):
    with pytest.raises(UserError, match="sampling.preset: found 'slow'; .*original.*fast"):
        load_workspace(write(tmp_path, "sampling: {preset: slow}\n"))
