"""FLAME's expression and jaw, and the 52 facial actions: each turned into the other.

FLAME: T. Li, T. Bolkart, M. J. Black, H. Li and J. Romero, "Learning a model of facial shape and
expression from 4D scans", ACM TOG 36(6), 2017. No table joins its components, which are principal
ones of scans and bear no names, to action units or blendshapes. What joins them is how far the 68
landmarks move: J. Noh and U. Neumann, "Expression cloning", SIGGRAPH 2001, carry a motion from one
face to another as displacements, scaled by the faces' size. Of all codes that move the landmarks
so, that nearest to rest is taken (V. Blanz and T. Vetter, "A morphable model for the synthesis of
3D faces", SIGGRAPH 1999, sec. 4: codes are normal with unit variance).

What no landmark shows is lost on the way: cheeks puffed or raised, the tongue, where the eyes look.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares, lsq_linear
from torch import Tensor

from sfe_core.arrays import Floats
from sfe_core.assets.store import locate
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.facial_actions import MOST_ACTIVATION
from sfe_core.controls.flame_code import MOST_DEVIATIONS, FlameExpression
from sfe_core.errors import UserError
from sfe_core.faces.emoca.flame_head import FLAME_ASSET, place_of
from sfe_core.faces.flame import files
from sfe_core.faces.flame.landmarks import LandmarkEmbedding, load_landmark_embedding
from sfe_core.faces.flame.model import Flame
from sfe_core.faces.flame.parameters import SHAPE_COUNT, FlameParameters, load_flame
from sfe_core.faces.head import ACTION_NAMES, HeadModel

USUAL_COMPONENTS = 50  # of DECA, EMOCA and SMIRK
_NOISE_M = 0.0005  # how far landmarks may stay off before codes far from rest are taken
_JAW_RAD = 0.2  # how far jaws usually turn
_OUTER_EYE_CORNERS = [36, 45]
_SHOWN = [place for place, name in enumerate(ACTION_NAMES) if not name.startswith("eyeLook")]


class FlameTranslator:
    """Turns FLAME's codes into facial actions and back.

    Args:
        parameters: of FLAME.
        embedding: of its landmarks.
        components: of the expression, the first ones.
    """

    def __init__(
        self,
        parameters: FlameParameters,
        embedding: LandmarkEmbedding,
        components: int = USUAL_COMPONENTS,
    ) -> None:
        held = parameters.shapedirs.shape[-1] - SHAPE_COUNT
        if components > held:
            raise UserError(
                "FLAME's expression", f"has {components} numbers, the model {held}", "cut it"
            )
        self.components = components
        self._flame = Flame(*_at_landmarks(parameters, embedding), 0, components, torch.float64)
        self._rest = self._landmarks(torch.zeros(components + 3, dtype=torch.float64))
        self._slopes = torch.func.jacfwd(self._landmarks)
        mean, _, actions = HeadModel.load().landmark_basis()
        here, there = (
            float(np.linalg.norm(np.subtract(*points[_OUTER_EYE_CORNERS])))
            for points in (mean, self._rest.numpy().reshape(68, 3))
        )
        self._actions: Floats = actions.reshape(len(ACTION_NAMES), -1) * (there / here)

    def _landmarks(self, code: Tensor) -> Tensor:
        """[204] metres, of expression and jaw [components + 3], seen from the front."""
        pose = torch.cat([torch.zeros_like(code[-3:]), code[-3:]])[None]
        vertices = self._flame(code[None, :0], code[None, :-3], pose)
        return self._flame.landmarks_2d(vertices, pose).flatten()

    def blendshapes(self, code: FlameExpression) -> AskedExpression:
        """The 52 facial actions that move the landmarks as this code does, 0 to 2.3.

        Raises:
            UserError: the code has more components than this translator.
        """
        if len(code.expression) > self.components:
            raise UserError(
                "FLAME's expression",
                f"has {len(code.expression)} numbers",
                f"give at most {self.components}",
            )
        full = torch.zeros(self.components + 3, dtype=torch.float64)
        full[: len(code.expression)] = torch.tensor(code.expression)
        full[-3:] = torch.tensor(code.jaw)
        moved = (self._landmarks(full) - self._rest).numpy() / _NOISE_M
        basis = np.concatenate([self._actions[_SHOWN].T / _NOISE_M, np.eye(len(_SHOWN))])
        aim = np.concatenate([moved, np.zeros(len(_SHOWN))])
        found = lsq_linear(basis, aim, (0.0, MOST_ACTIVATION)).x
        named = zip((ACTION_NAMES[place] for place in _SHOWN), found, strict=True)
        return AskedExpression(
            blendshapes=tuple((name, round(float(value), 6)) for name, value in named)
        )

    def flame(self, asked: AskedExpression) -> FlameExpression:
        """The code nearest to rest that moves FLAME's landmarks as an expression asks."""
        actions = np.asarray(asked.actions())
        moved = torch.tensor(actions[_SHOWN] @ self._actions[_SHOWN])
        spread = torch.ones(self.components + 3, dtype=torch.float64)
        spread[-3:] = _JAW_RAD

        def misses(code: Floats) -> Floats:
            full = torch.tensor(code) * spread
            off = (self._landmarks(full) - self._rest - moved) / _NOISE_M
            return np.concatenate([off.numpy(), code])

        def slopes(code: Floats) -> Floats:
            at = self._slopes(torch.tensor(code) * spread) * spread / _NOISE_M
            return np.concatenate([at.numpy(), np.eye(len(code))])

        start = np.zeros(self.components + 3)
        found = least_squares(
            misses, start, slopes, (-MOST_DEVIATIONS, MOST_DEVIATIONS), xtol=1e-6
        ).x
        found = np.round(found * spread.numpy(), 6)
        a, b, c = found[-3:].tolist()
        return FlameExpression(tuple(found[:-3].tolist()), (a, b, c))


def _at_landmarks(
    parameters: FlameParameters, embedding: LandmarkEmbedding
) -> tuple[FlameParameters, LandmarkEmbedding]:
    """The model without the vertices that neither a landmark nor a joint hangs on."""
    chosen = [embedding.static_faces, embedding.dynamic_faces[0]]
    corners = parameters.faces[np.concatenate(chosen)]
    kept, numbers = np.unique(
        np.concatenate([corners.ravel(), np.flatnonzero(parameters.J_regressor.any(axis=0))]),
        return_inverse=True,
    )
    smaller = replace(
        parameters,
        v_template=parameters.v_template[kept],
        faces=numbers[: corners.size].reshape(-1, 3),
        shapedirs=parameters.shapedirs[kept],
        posedirs=parameters.posedirs[kept],
        J_regressor=parameters.J_regressor[:, kept],
        weights=parameters.weights[kept],
    )
    static = len(embedding.static_faces)
    frontal = replace(
        embedding,
        static_faces=np.arange(static),
        dynamic_faces=np.arange(static, len(corners))[None],
        dynamic_weights=embedding.dynamic_weights[:1],
    )
    return smaller, frontal


def load_translator(
    flame: str | Path = FLAME_ASSET, components: int = USUAL_COMPONENTS
) -> FlameTranslator:
    """The translator of the user's FLAME.

    Args:
        flame: asset name, FLAME's .pkl, or a folder with it; the landmarks are taken from there or
            from the asset `deca-data`.
        components: of the expression.

    Raises:
        UserError: a file is missing, or not what it should be.
    """
    given = locate(flame)
    folder = given if given.is_dir() else given.parent
    embedding = load_landmark_embedding(place_of(folder, files.LANDMARKS))
    return FlameTranslator(load_flame(given), embedding, components)
