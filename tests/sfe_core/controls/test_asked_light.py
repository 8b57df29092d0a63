"""Lights from a side and from files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sfe_core.controls.asked_light import (
    NAMED_LIGHTS,
    as_bright,
    lamp_light,
    named_light,
    read_light,
)
from sfe_core.errors import UserError
from sfe_core.faces.shading import sh_basis, sh_shading

LEFT, RIGHT, UP, DOWN, FRONT = np.array(
    [[-0.8, 0, 0.6], [0.8, 0, 0.6], [0, 0.8, 0.6], [0, -0.8, 0.6], [0, 0, 1.0]]
)
WARM = np.zeros((9, 3))
WARM[0] = (4.0, 3.0, 2.0)


def test_a_lamp_is_the_clamped_cosine_as_far_as_nine_bands_go() -> None:
    random = np.random.default_rng(0).normal(size=(500, 3))
    normals = random / np.linalg.norm(random, axis=1, keepdims=True)
    towards = np.array([0.3, -0.5, 0.81])
    towards /= np.linalg.norm(towards)
    shown = sh_basis(normals) @ lamp_light((0.3, -0.5, 0.81))
    assert np.abs(shown - np.maximum(normals @ towards, 0.0)).max() < 0.11


@pytest.mark.parametrize(
    ("name", "bright", "dark"),
    [("left", LEFT, RIGHT), ("right", RIGHT, LEFT), ("top", UP, DOWN), ("bottom", DOWN, UP)],
)
def test_the_named_side_is_the_bright_one(name: str, bright: np.ndarray, dark: np.ndarray) -> None:
    light = named_light(name, WARM)
    assert (sh_shading(bright, light) > 1.5 * sh_shading(dark, light)).all()
    assert (sh_shading(FRONT, light) > 0).all()


@pytest.mark.parametrize("name", NAMED_LIGHTS)
def test_level_and_colour_stay(name: str) -> None:
    light = named_light(name, WARM)
    np.testing.assert_allclose(light[:, 0], 2.0 * light[:, 2])
    again = as_bright(3.0 * light, WARM)
    np.testing.assert_allclose(again, light)
    relief = sh_shading(np.stack([LEFT, RIGHT, UP, DOWN, FRONT]), light).std(axis=0)
    soft = sh_shading(np.stack([LEFT, RIGHT, UP, DOWN, FRONT]), named_light("soft", WARM)).std(0)
    assert (relief >= soft).all()


def test_files_of_every_form_are_read(tmp_path: Path) -> None:
    light = np.arange(27.0).reshape(9, 3)
    np.save(tmp_path / "a.npy", light.ravel())
    np.savez(tmp_path / "b.npz", light=light[None], exp=np.zeros(50))
    (tmp_path / "c.json").write_text(json.dumps({"light": light.tolist()}), encoding="utf-8")
    (tmp_path / "d.json").write_text(json.dumps(light.ravel().tolist()), encoding="utf-8")
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_light(path), light)


def test_what_is_no_light_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros(9))
    np.savez(tmp_path / "other.npz", exp=np.zeros(50))
    (tmp_path / "torn.json").write_text("{", encoding="utf-8")
    for path in (*tmp_path.iterdir(), tmp_path / "none.npy"):
        with pytest.raises(UserError, match="27|light"):
            read_light(path)
    with pytest.raises(UserError, match="left"):
        named_light("behind", WARM)
    with pytest.raises(UserError, match="dark"):
        as_bright(np.zeros((9, 3)), WARM)
