"""What edits of synthetic people come to, against what was asked and against exact truth.

A unit is one person's album. The truth of a synthetic photo is the scene that it was drawn from:
its angles, its head's facial actions, its lamp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sfe_core.arrays import Doubles
from sfe_core.evaluation.physical_codes import ball_normals
from sfe_core.evaluation.physical_commands import CHANGED
from sfe_core.evaluation.statistics.agreement import pooled_pearson
from sfe_core.evaluation.summary import EditsOfMode, EvaluationSummary, PartOfEdit
from sfe_core.faces.head import HeadModel
from sfe_core.faces.reconstruction import HeadChange
from sfe_core.faces.shading import sh_basis
from sfe_core.synthesis.lighting import GAMMA
from sfe_core.synthesis.scene import Scene
from sfe_core.synthesis.spec import FaceSpec
from sfe_core.wording import markdown_table
from tests.benchmarks.personal_measures import Figure, figure

PARTS = CHANGED
LEAST_R, IDENTITY_DOWN, MARGIN = 0.8, -0.05, 0.15
# Key of a unit's numbers to its heading.
COLUMNS = {
    **{f"r_{part}": f"{part} alone: r with what was asked" for part in PARTS},
    **{f"r_{part}_all": f"{part}, all three at once: r" for part in PARTS},
    **{f"truth_{part}": f"{part} alone: r with the truth" for part in PARTS},
    **{f"truth_{part}_all": f"{part}, all three at once: r with the truth" for part in PARTS},
    **{f"asked_{part}": f"{part}: r of what was asked with the truth" for part in PARTS},
    **{f"reach_{part}": f"{part} by all, how far over alone" for part in PARTS},
    **{f"error_{part}": f"{part} by all, error over alone" for part in PARTS},
    **{f"kept_{part}": f"{part} by all, r over alone" for part in PARTS},
    "identity_own": "identity, drawn back",
    "identity": "identity, all edits",
    "identity_kept": "that, less drawn back",
    "outside": "changed outside, grey levels",
    "noisy": "noisy, share",
    "face_found": "face found, share",
    "train_s": "updates, s",
}
Unit = Mapping[str, float | None]


def truth_of(spec: FaceSpec) -> dict[str, Doubles]:
    """What a photo shows, in the numbers of `codes_of`."""
    scene, head = spec.scene, HeadModel.load()
    actions = np.asarray(spec.expression.actions, np.float32)
    moved = (head.landmarks(actions=actions[None]) - head.landmarks())[0]
    shading = shading_of(scene, ball_normals())
    return {
        "expression": 1000.0 * (moved[:, :2] * (1.0, -1.0)).ravel(),
        "pose": np.array([scene.yaw, scene.pitch, scene.roll]),
        "light": shading / shading.mean(),
    }


def shading_of(scene: Scene, normals: Doubles) -> Doubles:
    """What the lamp and the sky of `synthesis.lighting` make of surfaces that face `normals`.

    Values of a picture, without shadows.
    """
    strength = 1.75 - 1.5 * scene.ambient
    facing = np.clip(normals @ np.asarray(scene.light, np.float64), 0.0, None)
    return (strength * facing + 0.37 * scene.ambient) ** (1.0 / GAMMA)


def exact_change(spec: FaceSpec) -> HeadChange:
    """A head's codes that say what a photo shows."""
    scene = spec.scene
    random = np.random.default_rng(0).normal(size=(2000, 3))
    normals = random / np.linalg.norm(random, axis=1, keepdims=True)
    normals = normals[normals[:, 2] > 0.0]  # no other is seen
    light, *_ = np.linalg.lstsq(sh_basis(normals), shading_of(scene, normals))
    return HeadChange(
        expression=np.asarray(spec.expression.actions, np.float32),
        angles=(scene.yaw, scene.pitch, scene.roll),
        light=np.repeat(light[:, None], 3, axis=1),
    )


def unit_of(
    summary: EvaluationSummary, specs: Mapping[str, FaceSpec], train_s: float | None
) -> dict[str, float | None]:
    """One person's numbers, of the rig's edits.

    Args:
        summary: of `--protocol physical`; its folder holds codes.npz and commands.csv.
        specs: of the photos, by key.
        train_s: seconds of training; None: nothing was trained.
    """
    assert summary.physical is not None
    found = summary.physical.sets["package"]
    modes = {edits.mode: edits for edits in found.modes}
    numbers: dict[str, float | None] = {"train_s": train_s}
    for part in PARTS:
        numbers[f"r_{part}"] = _part(modes[part], part).correlation.value
        numbers[f"r_{part}_all"] = _part(modes["all"], part).correlation.value
        numbers[f"reach_{part}"] = found.combined_reach[part].value
        numbers[f"error_{part}"] = found.combined[part].value
        alone, every = numbers[f"r_{part}"], numbers[f"r_{part}_all"]
        numbers[f"kept_{part}"] = every / alone if alone and every else None
    edited = [edits for mode, edits in modes.items() if mode not in ("own", "photo")]
    numbers["identity_own"] = modes["own"].identity.value
    for name in ("identity", "identity_kept", "outside", "noisy", "face_found"):
        numbers[name] = _mean([getattr(edits, name).value for edits in edited])
    return numbers | _against_truth(summary.folder, specs)


def _against_truth(folder: Path, specs: Mapping[str, FaceSpec]) -> dict[str, float | None]:
    commands = pd.read_csv(folder / "commands.csv", keep_default_na=False, dtype=str)
    found: dict[str, float | None] = {}
    with np.load(folder / "codes.npz") as codes:
        for part in PARTS:
            for mode, ending in ((part, ""), ("all", "_all")):
                donors = commands.loc[commands["mode"] == mode, f"{part}_of"]
                truth = np.stack([truth_of(specs[key])[part] for key in donors])
                for name, kind in ((f"truth_{part}{ending}", "found"), (f"asked_{part}", "asked")):
                    seen = codes[f"package/{mode}/{part}/{kind}"].astype(float)
                    r = float(pooled_pearson(*seen.T, *truth.T))
                    found[name] = r if np.isfinite(r) else None
    return found


def _part(edits: EditsOfMode, part: str) -> PartOfEdit:
    return next(one for one in edits.parts if one.part == part)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# ---- What the issue asks for ---------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether a measure is met; `met` None: it was not measured."""

    what: str
    shown: str
    met: bool | None

    @property
    def word(self) -> str:
        """For people."""
        return {True: "met", False: "missed", None: "not measured"}[self.met]


def figures(units: Mapping[str, Unit]) -> dict[str, Figure | None]:
    """Of one row, by key of `COLUMNS`: mean and interval over people."""
    return {key: figure([unit.get(key) for unit in units.values()]) for key in COLUMNS}


def verdicts(found: Mapping[str, Figure | None]) -> list[Verdict]:
    """Each measure of one row's `figures`."""
    told = []
    for ending, which in (("", "alone"), ("_all", "all at once")):
        for part in PARTS:
            for kind, what in (("r", "what was asked"), ("truth", "the truth")):
                key = f"{kind}_{part}{ending}"
                told.append(_least(f"{part} {which}, r with {what} 0.8", found[key], LEAST_R))
    kept = found["identity_kept"]
    told.append(_least("identity down by 0.05 at most", kept, IDENTITY_DOWN))
    for part in PARTS:
        kept = found[f"kept_{part}"]
        told.append(_least(f"{part} by all within 15 % of alone, r", kept, 1.0 - MARGIN))
        reach = found[f"reach_{part}"]
        told.append(_least(f"{part} by all within 15 % of alone, how far", reach, 1.0 - MARGIN))
        error = found[f"error_{part}"]
        met = None if error is None else bool(error.value <= 1.0 + MARGIN)
        shown = "-" if error is None else error.shown()
        told.append(Verdict(f"{part} by all within 15 % of alone, error", shown, met))
    return told


def _least(what: str, one: Figure | None, bound: float) -> Verdict:
    if one is None:
        return Verdict(what, "-", None)
    return Verdict(what, one.shown(), bool(one.value >= bound))


def numbers_of(rows: Mapping[str, Mapping[str, Unit]]) -> dict[str, Any]:
    """All numbers, as they go into the .json: row to units, figures and verdicts."""
    return {
        row: {
            "units": {name: dict(unit) for name, unit in units.items()},
            "figures": {key: one and asdict(one) for key, one in figures(units).items()},
            "verdicts": [asdict(one) for one in verdicts(figures(units))],
        }
        for row, units in rows.items()
    }


def rows_table(rows: Mapping[str, Mapping[str, Unit]]) -> str:
    """A line a measure, a column a row."""
    every = {row: figures(units) for row, units in rows.items()}
    return markdown_table(["", *every], [
        [title, *("-" if one[key] is None else one[key].shown() for one in every.values())]  # type: ignore[union-attr]
        for key, title in COLUMNS.items()
    ])  # fmt: skip


def verdicts_table(units: Mapping[str, Unit]) -> str:
    """A line a measure of one row: what was found, and whether that is enough."""
    found = verdicts(figures(units))
    return markdown_table(["", "found", ""], [[one.what, one.shown, one.word] for one in found])
