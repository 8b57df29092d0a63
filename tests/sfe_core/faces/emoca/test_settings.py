"""Reading cfg.yaml: lengths, variants, and networks that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sfe_core.errors import UserError
from sfe_core.faces.emoca.settings import EmocaSettings, read_settings, settings_of
from tests.emoca_files import emoca_config


def test_the_published_lengths() -> None:
    settings = EmocaSettings()
    assert sum(settings.code_lengths.values()) == 236
    assert settings.condition_length == 181
    assert settings.expression_backbone is None


@pytest.mark.parametrize(
    ("jaw", "head", "length"),
    [(False, False, 50), (True, False, 53), (False, True, 53), (True, True, 56)],
)
def test_expression_encoder_length(jaw: bool, head: bool, length: int) -> None:
    model = emoca_config(exp_deca_jaw_pose=jaw, exp_deca_global_pose=head)
    assert settings_of(model, "here").expression_length == length


def test_the_detail_section_counts(tmp_path: Path) -> None:
    sections = {
        "coarse": {"model": emoca_config(exp_deca_jaw_pose=True)},
        "detail": {"model": emoca_config(expression_backbone="deca_parallel")},
    }
    (tmp_path / "cfg.yaml").write_text(yaml.safe_dump(sections))
    settings = read_settings(tmp_path / "cfg.yaml")
    assert settings.expression_backbone == "deca_parallel"
    assert not settings.expression_jaw_pose
    assert not settings.blends_detail_normals


@pytest.mark.parametrize("name", ["DECA", None])
def test_deca_has_no_expression_encoder(name: str | None) -> None:
    settings = settings_of(emoca_config(deca_class=name, exp_deca_jaw_pose=True), "here")
    assert settings.expression_backbone is None
    assert not settings.expression_jaw_pose


def test_conditions_come_in_the_decoders_order() -> None:
    model = emoca_config(detail_conditioning=["detail", "expression", "identity"])
    settings = settings_of(model, "here")
    assert settings.detail_conditioning == ("identity", "expression", "detail")
    assert settings.condition_length == 100 + 50 + 128


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("deca_class", "EMICA"),
        ("expression_backbone", "emonet_static"),
        ("e_flame_type", "swin_tiny_patch4_window7_224"),
        ("detail_conditioning_type", "adain"),
        ("n_detail_emo", 10),
        ("image_size", 448),
        ("detail_conditioning", ["jawpose", "weather"]),
    ],
)
def test_other_networks_are_refused_by_their_key(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=key) as caught:
        settings_of(emoca_config(**{key: value}), "cfg.yaml: detail.model")
    assert str(value if isinstance(value, str | int) else "weather") in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a list", "coarse: {}", "detail: {model: {}}", "a: [b"])
def test_a_torn_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cfg.yaml").write_text(text)
    with pytest.raises(UserError, match="cfg.yaml") as caught:
        read_settings(tmp_path / "cfg.yaml")
    assert "\n" not in str(caught.value)
