"""The sfe.yaml that `sfe init` writes."""

from __future__ import annotations

import re

import pytest

from sfe_core.config.init import init_workspace, inline_yaml
from sfe_core.config.loading import load_with_origins, load_workspace, preset_config
from sfe_core.config.presets import preset_names
from sfe_core.config.problems import known_keys
from sfe_core.errors import UserError


def uncommented(text: str) -> str:
    return re.sub(r"^( *)# ", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("preset", preset_names())
def test_the_file_as_written_and_with_every_line_uncommented_equals_the_preset(tmp_path, preset):
    file = init_workspace(tmp_path / "new", preset)
    assert load_workspace(tmp_path / "new").config == preset_config(preset)
    file.write_text(uncommented(file.read_text(encoding="utf-8")), encoding="utf-8")
    loaded = load_with_origins(tmp_path / "new")
    assert loaded.workspace.config == preset_config(preset)
    assert set(loaded.origins.values()) == {"sfe.yaml"}


def test_every_key_stands_in_it_with_its_meaning(tmp_path):
    text = init_workspace(tmp_path).read_text(encoding="utf-8")
    for dotted in known_keys():
        key = dotted.rpartition(".")[2]
        assert re.search(rf"^ *(# )?{key}: .+  # .+", text, re.MULTILINE), dotted


def test_photos_folder_is_made_and_a_file_is_kept_unless_forced(tmp_path):
    file = init_workspace(tmp_path)
    assert (tmp_path / "photos").is_dir()
    file.write_text("preset: stableface\n", encoding="utf-8")
    with pytest.raises(UserError, match="--force"):
        init_workspace(tmp_path)
    assert file.read_text(encoding="utf-8") == "preset: stableface\n"
    init_workspace(tmp_path, force=True)
    assert load_workspace(tmp_path).config.preset == "tiny"


def test_an_unknown_preset_writes_nothing(tmp_path):
    with pytest.raises(UserError, match="did you mean tiny"):
        init_workspace(tmp_path / "new", "tinny")
    assert not (tmp_path / "new").exists()


def test_settings_become_active_lines(tmp_path):
    init_workspace(tmp_path, settings={"train.steps": 7, "train.seed": 0})
    loaded = load_with_origins(tmp_path)
    assert loaded.workspace.config.train.steps == 7
    mine = {key for key, origin in loaded.origins.items() if origin == "sfe.yaml"}
    assert mine == {"preset", "train.steps", "train.seed"}


@pytest.mark.parametrize("value", ["", "a: b", "no", None, 5e-06, ["x"], [], {"a": 1.0}, "ü" * 200])
def test_a_value_on_one_line_reads_back(value):
    from sfe_core.config.yaml_reading import parse_yaml

    text = inline_yaml(value)
    assert "\n" not in text
    assert parse_yaml(text, "test") == value
