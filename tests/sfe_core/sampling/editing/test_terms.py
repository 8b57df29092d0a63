"""Expressions across kinds of heads: the facial actions of Anny's, FLAME's code and jaw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sfe_core.arrays import Floats
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.flame_code import FlameExpression
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.errors import UserError
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.faces.reconstruction import HeadChange, Reconstruction
from sfe_core.sampling.asked_face import at_rest, head_scene
from sfe_core.sampling.editing.faces import head_change
from sfe_core.sampling.editing.request import Edit
from sfe_core.sampling.editing.terms import ExpressionTerms

SMILE, JAW = ACTION_NAMES.index("mouthSmileLeft"), ACTION_NAMES.index("jawOpen")
# Of the stand-in's FLAME: component 0 is a smile of two, the first number of the jaw opens it.
SCALE, RADIANS = 2.0, 0.5


class StandIn:
    """A translator of a FLAME that knows a smile and the jaw."""

    def blendshapes(self, code: FlameExpression) -> AskedExpression:
        smile = max(code.expression[0] / SCALE, 0.0)
        said = (("mouthSmileLeft", smile), ("jawOpen", max(code.jaw[0] / RADIANS, 0.0)))
        return AskedExpression(blendshapes=said)

    def flame(self, asked: AskedExpression) -> FlameExpression:
        actions = asked.actions()
        expression = (float(SCALE * actions[SMILE]), *[0.0] * 4)
        return FlameExpression(expression, (float(RADIANS * actions[JAW]), 0.0, 0.0))


class FlameMaker:
    """A maker of heads in FLAME's terms."""

    terms = "flame"

    def identity(self, codes: Mapping[str, Floats]) -> Floats:
        return codes["shape"]

    def expression(self, codes: Mapping[str, Floats]) -> Floats:
        return np.concatenate([codes["exp"], codes["pose"][3:]])

    def remake(self, head: Reconstruction, change: HeadChange) -> Reconstruction:
        raise NotImplementedError

    def restore(self, codes: Any, surface: Any) -> Reconstruction:
        raise NotImplementedError


class Lit:
    """A surface that knows nothing but its light."""

    def __init__(self, light: Floats) -> None:
        self.light = light


@pytest.fixture
def terms(monkeypatch: pytest.MonkeyPatch) -> ExpressionTerms:
    monkeypatch.setattr(ExpressionTerms, "_translator", StandIn())
    return ExpressionTerms("flame-2020")


def anny(smile: float = 0.0, light: float = 3.5) -> FaceScene:
    scene = head_scene(PreprocessConfig(crop_size=64))
    actions = np.array(scene.head.codes["actions"])
    actions[SMILE] = smile
    codes = dict(scene.head.codes) | {"actions": actions}
    return replace(scene, head=replace(scene.head, codes=codes, surface=_lit(light)))


def flame(smile: float = 0.0, jaw: float = 0.0, light: float = 3.5) -> FaceScene:
    scene = head_scene(PreprocessConfig(crop_size=64))
    exp, pose = np.zeros(8), np.zeros(6)
    exp[0], exp[5], pose[3] = SCALE * smile, 1.25, RADIANS * jaw
    codes = {"shape": np.zeros(100), "exp": exp, "pose": pose}
    maker: Any = FlameMaker()
    return replace(scene, head=replace(scene.head, codes=codes, maker=maker, surface=_lit(light)))


def _lit(level: float) -> Any:
    light = np.zeros((9, 3))
    light[0], light[1] = level, 0.1 * level
    return Lit(light)


def expression(source: FaceScene, edit: Edit, target: FaceScene | None, terms: Any) -> Floats:
    targets = {} if target is None else {"expression": target}
    found = head_change(source, edit, targets, terms).expression
    assert found is not None
    return np.asarray(found, np.float64)


@pytest.fixture
def of(tmp_path: Any) -> Any:
    (tmp_path / "target.png").write_bytes(b"")
    return tmp_path / "target.png"


def test_flames_smile_on_annys_head_and_back(terms: ExpressionTerms, of: Any) -> None:
    edit = Edit(expression_of=of)
    on_anny = expression(anny(), edit, flame(smile=0.6, jaw=0.5), terms)
    assert on_anny[SMILE] == pytest.approx(0.6) and on_anny[JAW] == pytest.approx(0.5)
    rest = at_rest()
    others = [place for place in range(52) if place not in (SMILE, JAW)]
    np.testing.assert_allclose(on_anny[others], rest[others], atol=1e-6)
    on_flame = expression(flame(), edit, anny(smile=0.6), terms)
    assert on_flame[0] == pytest.approx(SCALE * 0.6) and len(on_flame) == 11
    # Between two of FLAME nothing is translated, and nothing is lost.
    same = expression(flame(), edit, flame(smile=0.3, jaw=0.2), terms)
    np.testing.assert_allclose(same, [0.6, 0, 0, 0, 0, 1.25, 0, 0, RADIANS * 0.2, 0, 0])


def test_a_change_keeps_what_actions_cannot_say(terms: ExpressionTerms) -> None:
    change = ExpressionChange((("AU12", (2.0, 2.0)),))
    code = expression(flame(smile=0.1, jaw=0.3), Edit(change=change), None, terms)
    assert code[0] > SCALE * 0.1 + 0.1 and code[5] == 1.25
    assert code[8] == pytest.approx(RADIANS * 0.3, abs=1e-6)


def test_the_jaw_alone_moves(terms: ExpressionTerms) -> None:
    code = expression(flame(smile=0.4), Edit(jaw=0.8), None, terms)
    np.testing.assert_allclose(code, [0.8, 0, 0, 0, 0, 1.25, 0, 0, RADIANS * 0.8, 0, 0])
    half = expression(flame(), Edit(jaw=0.8, strength=0.5), None, terms)
    assert half[8] == pytest.approx(RADIANS * 0.4)


def test_light_across_backends_keeps_the_sources_level(terms: ExpressionTerms, of: Any) -> None:
    edit = Edit(light_of=of)
    source, target = anny(light=3.5), flame(light=1.0)
    light = head_change(source, edit, {"light": target}, terms).light
    assert light is not None and light[0, 0] == pytest.approx(3.5, rel=0.05)
    same = head_change(source, edit, {"light": anny(light=1.0)}, terms).light
    assert same is not None and same[0, 0] == pytest.approx(1.0)


def test_shapes_of_other_terms_are_refused(terms: ExpressionTerms, of: Any) -> None:
    with pytest.raises(UserError, match="--shape-of"):
        head_change(anny(), Edit(shape_of=of), {"shape": flame()}, terms)
    assert AnnyReconstructor.terms == "anny"
