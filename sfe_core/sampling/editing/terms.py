"""One expression in the terms of each kind of head: facial actions, or FLAME's code and jaw."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.facial_actions import MOST_ACTIVATION
from sfe_core.controls.flame_code import MOST_DEVIATIONS, FlameExpression
from sfe_core.controls.flame_translator import USUAL_COMPONENTS, FlameTranslator, load_translator
from sfe_core.faces.changed_head import maker_of
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.sampling.asked_face import at_rest

_GAZE = [place for place, name in enumerate(ACTION_NAMES) if name.startswith("eyeLook")]
_JAW = ACTION_NAMES.index("jawOpen")


class ExpressionTerms:
    """Says what a head shows, and what it is to show, in the terms of any head.

    Args:
        flame: asset name or path of FLAME; read when a head needs it.
    """

    def __init__(self, flame: str) -> None:
        self._flame = flame

    @cached_property
    def _translator(self) -> FlameTranslator:
        return load_translator(self._flame)

    def actions(self, head: Reconstruction) -> Floats:
        """Facial actions [52] beyond those of a face at rest, without the gaze, 0 to 2.3."""
        maker = maker_of(head)
        code = np.asarray(maker.expression(head.codes), np.float64)
        if maker.terms == "flame":
            return np.asarray(self._translator.blendshapes(_as_flame(code)).actions())
        found = np.clip(code - at_rest(), 0.0, MOST_ACTIVATION)
        found[_GAZE] = 0.0
        return found

    def code(self, head: Reconstruction, actions: Floats) -> Floats:
        """The code of a head that shows facial actions [52] beyond rest; its gaze stays."""
        maker = maker_of(head)
        before = np.asarray(maker.expression(head.codes), np.float64)
        if maker.terms == "flame":
            return self._flame_code(actions, len(before))
        after = np.asarray(at_rest(actions), np.float64)
        after[_GAZE] = before[_GAZE]
        return after

    def code_of(self, head: Reconstruction, other: Reconstruction) -> Floats:
        """The code of a head that shows what another one does."""
        maker, others = maker_of(head), maker_of(other)
        if maker.terms != others.terms:
            return self.code(head, self.actions(other))
        after = np.array(others.expression(other.codes), np.float64)
        if maker.terms == "anny":
            after[_GAZE] = np.asarray(maker.expression(head.codes))[_GAZE]
        return after

    def moved_code(self, head: Reconstruction, before: Floats, after: Floats) -> Floats:
        """The head's code, moved as far as from one set of facial actions [52] to another.

        What the actions cannot say of the head's own expression is so kept.
        """
        maker = maker_of(head)
        code = np.asarray(maker.expression(head.codes), np.float64)
        if maker.terms == "anny":
            return np.clip(code + after - before, 0.0, MOST_ACTIVATION)
        length = len(code)
        return code + self._flame_code(after, length) - self._flame_code(before, length)

    def with_jaw(self, head: Reconstruction, code: Floats, opened: float) -> Floats:
        """A code of the head's with the jaw open so far, 0 to 1, and nothing else changed."""
        after = np.array(code, np.float64)
        if maker_of(head).terms == "anny":
            after[_JAW] = opened
        else:
            jaw = self._translator.flame(AskedExpression(blendshapes=(("jawOpen", opened),))).jaw
            after[-3:] = jaw
        return after

    def _flame_code(self, actions: Floats, length: int) -> Floats:
        """FLAME's code [length], expression and jaw, of facial actions [52] beyond rest."""
        shown = tuple(
            (name, float(value)) for name, value in zip(ACTION_NAMES, actions, strict=True)
        )
        found = self._translator.flame(AskedExpression(blendshapes=shown))
        code = np.zeros(length)
        code[: len(found.expression)] = found.expression
        code[-3:] = found.jaw
        return code


def _as_flame(code: Floats) -> FlameExpression:
    """A code as FLAME's, held within what a face can show."""
    kept = min(len(code) - 3, USUAL_COMPONENTS)
    a, b, c = np.clip(code[-3:], -np.pi / 2, np.pi / 2).tolist()
    expression = np.clip(code[:kept], -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return FlameExpression(tuple(expression.tolist()), (a, b, c))
