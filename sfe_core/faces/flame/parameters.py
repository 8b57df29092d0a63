"""FLAME 2020 and 2023 as downloaded: `generic_model.pkl` or `flame2023.pkl`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfe_core.arrays import Floats, Integers
from sfe_core.errors import UserError
from sfe_core.faces.flame.files import FLAME_PAGE, MODEL, locate
from sfe_core.faces.flame.unpickling import as_array, load_arrays

# Of the published 400 blend shapes the first 300 are identity, the rest expression.
SHAPE_COUNT = 300
JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")


@dataclass(frozen=True)
class FlameParameters:
    """The numbers of the model, under the names of the SMPL family; metres.

    V vertices (5,023), F faces (9,976), K blend shapes (400), J joints (5, see `JOINTS`).
    """

    v_template: Floats  # [V, 3] mean head; x to image right, y up, z to the viewer
    faces: Integers  # [F, 3] vertex numbers
    shapedirs: Floats  # [V, 3, K] per standard deviation, identity then expression
    posedirs: Floats  # [V, 3, 9 (J - 1)] correctives, per entry of R - I of the joints but the root
    J_regressor: Floats  # [J, V] joint positions from vertices
    weights: Floats  # [V, J] skinning weights, rows sum to 1
    parents: Integers  # [J] -1 for the root


def load_flame(folder_or_pkl: Path) -> FlameParameters:
    """Read FLAME; neither chumpy nor any code of the file is used.

    Args:
        folder_or_pkl: the .pkl itself, or a folder that holds it (see `flame.files`).

    Raises:
        UserError: no such file, it cannot be read safely, or it is not a FLAME model.
    """
    given = Path(folder_or_pkl)
    path = given if given.suffix == ".pkl" else locate(given, MODEL)
    stored = load_arrays(path, FLAME_PAGE)
    if not isinstance(stored, dict):
        raise UserError(path, f"is not a FLAME model but a {type(stored).__name__}", _remedy())
    missing = [name for name in (*_ARRAYS, "f", "kintree_table") if name not in stored]
    if missing:
        raise UserError(path, f"is not a FLAME model: it has no {', '.join(missing)}", _remedy())
    arrays = {name: as_array(stored[name], f"{path}: {name}") for name in _ARRAYS}
    # The root's parent is stored as 2^32 - 1.
    parents = as_array(stored["kintree_table"], f"{path}: kintree_table")[0].astype(np.int64)
    parents[0] = -1
    faces = as_array(stored["f"], f"{path}: f").astype(np.int64)
    parameters = FlameParameters(faces=faces, parents=parents, **arrays)
    _check(parameters, path)
    return parameters


def _check(found: FlameParameters, path: Path) -> None:
    """Refuse a model whose arrays do not fit together."""
    vertices, joints = len(found.v_template), len(found.parents)
    expected = {
        "v_template": (vertices, 3),
        "faces": (len(found.faces), 3),
        "shapedirs": (vertices, 3, found.shapedirs.shape[-1]),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
    }
    for name, shape in expected.items():
        if getattr(found, name).shape != shape:
            raise UserError(
                f"{path}: {name}", f"has shape {getattr(found, name).shape}, not {shape}", _remedy()
            )
    if joints != len(JOINTS) or found.shapedirs.shape[-1] <= SHAPE_COUNT:
        raise UserError(
            path,
            f"has {joints} joints and {found.shapedirs.shape[-1]} blend shapes",
            "FLAME has 5 and 400; " + _remedy(),
        )
    if found.faces.min() < 0 or found.faces.max() >= vertices:
        raise UserError(f"{path}: f", f"names vertices beyond the {vertices} there are", _remedy())


def _remedy() -> str:
    return f"use generic_model.pkl of FLAME 2020 or flame2023.pkl from {FLAME_PAGE}"
