"""An edit carried out on a face: the head of a photo, changed as was asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.asked_light import NAMED_LIGHTS, as_bright, named_light, read_light
from sfe_core.controls.expression_text import compose
from sfe_core.controls.facial_actions import MOST_ACTIVATION
from sfe_core.corpus.artefacts.edited_scene import (
    Angles,
    changed_scene,
    upright_angles,
    wrapped_degrees,
)
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.errors import UserError
from sfe_core.faces.changed_head import maker_of
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.faces.reconstruction import HeadChange, Reconstruction
from sfe_core.sampling.asked_face import at_rest
from sfe_core.sampling.editing.request import Edit
from sfe_core.sampling.editing.terms import ExpressionTerms

Targets = Mapping[str, FaceScene]  # name of `Edit.targets` to the face on that photo


def edited_scene(
    source: FaceScene, edit: Edit, targets: Targets, terms: ExpressionTerms
) -> FaceScene:
    """The source's face with the edit, in its own crop.

    Each of expression, pose, light and shape is worked out by itself, so that all at once gives the
    codes that each alone gives.

    Args:
        source: the face, with the shape that it is to keep.
        edit: what is to change.
        targets: faces that the edit takes something from.
        terms: of expressions.

    Raises:
        UserError: a target's terms do not fit the source's, or no light was found.
    """
    return changed_scene(source, head_change(source, edit, targets, terms))


def head_change(
    source: FaceScene, edit: Edit, targets: Targets, terms: ExpressionTerms
) -> HeadChange:
    """What of the source's head the edit changes; see `edited_scene`."""
    share = edit.strength
    return HeadChange(
        identity=_shape(source, targets.get("shape"), share),
        expression=_expression(source, edit, targets.get("expression"), terms),
        angles=_angles(source, edit, targets.get("pose")),
        light=_light(source, edit, targets.get("light")),
    )


def light_of(scene: FaceScene) -> Floats:
    """The light [9, 3] on a face.

    Raises:
        UserError: its reconstruction has none.
    """
    surface = scene.head.surface
    light = None if surface is None else surface.light
    if light is None:
        raise UserError("the reconstruction", "finds no light", "choose another")
    return np.asarray(light, np.float64)


def codes_record(head: Reconstruction) -> dict[str, list[float]]:
    """A head in numbers: its backend's expression and shape, its light, yaw, pitch and roll."""
    maker = maker_of(head)
    light = None if head.surface is None else head.surface.light
    numbers = {
        "expression": maker.expression(head.codes),
        "shape": maker.identity(head.codes),
        "angles": np.asarray(head.angles),
        "light": np.zeros(0) if light is None else np.asarray(light).ravel(),
    }
    return {name: np.asarray(code, float).round(6).tolist() for name, code in numbers.items()}


def _expression(
    source: FaceScene, edit: Edit, target: FaceScene | None, terms: ExpressionTerms
) -> Floats | None:
    if not edit.changes_expression:
        return None
    head = source.head
    before: Floats = np.asarray(maker_of(head).expression(head.codes), np.float64)
    after: Floats = before
    if target is not None and edit.asked is None:
        after = terms.code_of(head, target.head)
    elif target is not None:
        shown = _as_asked(terms.actions(target.head))
        asked = compose(given=shown, units=edit.asked.units if edit.asked else ())
        assert asked is not None
        after = terms.code(head, asked.actions())
    elif edit.asked is not None:
        after = terms.code(head, edit.asked.actions())
    elif edit.change is not None:
        rest = at_rest()
        own = terms.actions(head) + rest
        after = terms.moved_code(head, own - rest, edit.change.of_actions(own, rest) - rest)
    if edit.jaw is not None:
        after = terms.with_jaw(head, after, edit.jaw)
    moved = before + edit.strength * (after - before)
    if maker_of(head).terms == "anny":
        moved = np.clip(moved, 0.0, MOST_ACTIVATION)
    return moved.astype(np.float32)


def _as_asked(actions: Floats) -> AskedExpression:
    """Facial actions [52] as an expression that units can be laid over."""
    named = zip(ACTION_NAMES, np.clip(actions, 0.0, MOST_ACTIVATION), strict=True)
    return AskedExpression(blendshapes=tuple((name, float(value)) for name, value in named))


def _angles(source: FaceScene, edit: Edit, target: FaceScene | None) -> Angles | None:
    if not edit.turns:
        return None
    before = upright_angles(source)
    begin = upright_angles(target) if target is not None else before
    if edit.frontal:
        begin = (0.0, 0.0, 0.0)
    turns = (edit.yaw, edit.pitch, edit.roll)
    # The short way round, and only as far as the strength says.
    yaw, pitch, roll = (
        wrapped_degrees(own + edit.strength * wrapped_degrees(start + turn - own))
        for own, start, turn in zip(before, begin, turns, strict=True)
    )
    return yaw, pitch, roll


def _light(source: FaceScene, edit: Edit, target: FaceScene | None) -> Floats | None:
    if edit.light is None and target is None:
        return None
    before = light_of(source)
    if target is not None:
        after = light_of(target)
        if maker_of(target.head).terms != maker_of(source.head).terms:
            after = as_bright(after, before)
    elif edit.light in NAMED_LIGHTS:
        after = named_light(str(edit.light), before)
    else:
        after = as_bright(read_light(Path(str(edit.light))), before)
    return (before + edit.strength * (after - before)).astype(np.float32)


def _shape(source: FaceScene, target: FaceScene | None, share: float) -> Floats | None:
    if target is None:
        return None
    maker, others = maker_of(source.head), maker_of(target.head)
    if maker.terms != others.terms:
        raise UserError(
            "--shape-of",
            f"the source's shape is in terms of {maker.terms}, the target's of {others.terms}",
            "give both the same reconstruction",
        )
    before = np.asarray(maker.identity(source.head.codes), np.float64)
    after = np.asarray(others.identity(target.head.codes), np.float64)
    return (before + share * (after - before)).astype(np.float32)
