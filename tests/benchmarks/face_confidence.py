"""The weights of `sfe_core.faces.detectors.confidence`, and how well they tell right from wrong.

`python -m tests.benchmarks.face_confidence` collects every hit of the upright detector on turned,
cut, covered, averted, small and dark synthetic portraits and on pictures without a face, fits a
logistic regression to whether its landmarks are right (mean error under 8 % of the distance between
the outer eye corners), and writes results/face_confidence.md. The people of every second portrait
are left out of the fit and only measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sfe_core.faces.backends import load_detector
from sfe_core.faces.detectors import confidence as rated
from sfe_core.faces.detectors.confidence import Evidence, looked_at_twice, mirror_gaps
from tests.benchmarks.face_pictures import (
    RIGHT,
    Picture,
    covered,
    cut,
    portrait,
    scaled,
    things,
    turned,
)

RESULT = Path(__file__).parent / "results" / "face_confidence.md"
FACES = 32
FAR = 0.2  # an error beyond this is of landmarks that are invented, not merely inexact
_RIDGE = 0.05


def pictures(faces: int) -> Iterator[tuple[str, int, Picture]]:
    """Kind, person and picture."""
    random = np.random.default_rng(0)
    edges = ("left", "right", "top", "bottom")
    for number in range(faces):
        person = portrait(number)
        angles = [0, *random.uniform(-45, 45, 2), *random.uniform(45, 315, 3), 180]
        yield from (("turned", number, turned(person, angle)) for angle in angles)
        yield "cut", number, cut(person, random.uniform(0, 0.5), edges[number % 4])
        for what in ("mask", "glasses", "hand"):
            yield what, number, covered(person, what)
        yield "small", number, scaled(person, random.choice([20, 30, 40]))
        yield "dark", number, replace(person, pixels=(person.pixels * 0.1).astype(np.uint8))
        yaw = random.uniform(30, 90) * random.choice([-1, 1])
        yield "yaw", number, portrait(number, yaw=yaw)
    for number, (_, thing) in enumerate(things()):
        yield "no face", number, thing
        yield "no face", number, turned(thing, 180)


def collect(faces: int) -> pd.DataFrame:
    """Evidence and error of every hit."""
    detector = load_detector("dlib")
    rows: list[dict[str, Any]] = []
    for kind, number, picture in pictures(faces):
        for face in detector.detect(picture.pixels):
            (gap,) = mirror_gaps(detector, [picture.pixels], [face])
            evidence = looked_at_twice(picture.pixels, face, Evidence(gap, face.score))
            rows.append(
                {"kind": kind, "held_out": number % 2 == 1, **vars(evidence)}
                | {"error": picture.error(face.landmarks)}
            )
    return pd.DataFrame(rows)


def inputs(table: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """[N, 1 + names] a constant and the evidence, lengths as logarithms."""
    columns = [np.ones(len(table))]
    for name in names:
        values = table[name].to_numpy(float)
        is_length = name in ("mirror_gap", "fit_error")
        columns.append(np.log(np.maximum(values, 1e-3)) if is_length else values)
    return np.stack(columns, axis=1)


def fit(table: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Weights [1 + names] by Newton's method, with a slight ridge."""
    seen, right = inputs(table, names), (table["error"] < RIGHT).to_numpy(float)
    weights = np.zeros(seen.shape[1])
    ridge = _RIDGE * np.diag([0.0, *np.ones(len(names))])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-seen @ weights))
        slope = seen.T @ (right - likely) - ridge @ weights
        bend = (seen.T * (likely * (1 - likely))) @ seen + ridge
        weights = weights + np.linalg.solve(bend, slope)
    return weights


def measured(table: pd.DataFrame, value: np.ndarray, limit: float) -> list[str]:
    """Area under the ROC, and what passes a limit, as cells of a table."""
    right, far = (table["error"] < RIGHT).to_numpy(), (table["error"] > FAR).to_numpy()
    ranks = pd.Series(value).rank().to_numpy()
    count = right.sum()
    area = (ranks[right].sum() - count * (count + 1) / 2) / max(count * (~right).sum(), 1)
    passed = value >= limit
    return [
        f"{area:.3f}",
        f"{(passed & right).sum()} of {count}",
        f"{(passed & ~right).sum()} of {(~right).sum()}",
        f"{(passed & far).sum()} of {far.sum()}",
    ]


def main(faces: int = FACES) -> None:
    table = collect(faces)
    fitted = table[~table["held_out"]]
    lines = ["# Confidence of faces", "", *(__doc__ or "").splitlines()[2:], ""]
    kinds = table.groupby("kind")["error"].agg(["size", lambda error: int((error < RIGHT).sum())])
    lines += ["| Kind | hits | right |", "| --- | --- | --- |"]
    lines += [f"| {kind} | {hits} | {right} |" for kind, hits, right in kinds.itertuples()]
    lines += ["", "| Evidence | people | weights | area under ROC | limit | right passed |"]
    lines[-1] += " wrong passed | invented passed |"
    lines.append("| --- " * 8 + "|")
    for names in rated._WEIGHTS:
        weights = fit(fitted, names)
        shown = ", ".join(f"{weight:.2f}" for weight in weights)
        for people, some in (("fitted", fitted), ("held out", table[table["held_out"]])):
            value = 1 / (1 + np.exp(-inputs(some, names) @ weights))
            for limit in (0.5, 0.9):
                area, *passed = measured(some, value, limit)
                cells = [" + ".join(names), people, shown, area, f"{limit:g}", *passed]
                lines.append("| " + " | ".join(cells) + " |")
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
