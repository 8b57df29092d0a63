"""Fit the reader of units by geometry: `python -m sfe_core.synthesis.tiny.geometry --work DIR`.

On the faces of the tiny weights' build, units at random: what `build` left in DIR, or rendered
here. Tells each unit's correlation on people who were not fitted on, and leaves the reader of all
units in DIR/geometry-units. `tests.benchmarks.geometry_on_photos` then tells which of them hold on
photos of people; `--ship` writes the reader of those, with its card, into the embedded assets.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfe_core.assets.store import EMBEDDED
from sfe_core.faces.recognition.face_mesh import FaceMesh, load_face_mesh
from sfe_core.faces.recognition.geometry_units import (
    DISTANCES_OF_UNIT,
    FILE,
    GeometryUnits,
    fit_geometry,
    load_geometry,
    save_geometry,
)
from sfe_core.files import atomic_path, write_json, write_text
from sfe_core.synthesis.facs import UNITS
from sfe_core.synthesis.tiny.faces import Faces, make_faces
from sfe_core.synthesis.tiny.readers import units_of
from sfe_core.synthesis.tiny.settings import SETTINGS, Settings

log = logging.getLogger(__name__)

BATCH, PART = 8, 200
NAME, SCORES = "geometry-units", "scores-geometry-units.json"
LEARNT_FROM, TESTED_ON = ("units_loss", "units_judge"), "units_validation"
_CARD = """---
license: apache-2.0
---
# {name}

Reads the intensities of {units} in each half of a face, by the points that MediaPipe's face mesh
finds (the asset `face-mesh`, whose weights are not here: `sfe assets fetch face-mesh`).

Fitted by this project to {count} synthetic faces with action units at random (Anny heads, Apache
2.0), with `python -m sfe_core.synthesis.tiny.geometry`; no photograph of a person was fitted to.
Each unit is a sum of piecewise linear functions of a few distances on its half of the face.

## Scores

`r` is Pearson's, on {faces} rendered faces of people it was not fitted to: of halves of faces, and
of whole faces. `AUC` is how often a photo of the emotion reads higher than a neutral one, with a
95 % interval over people drawn anew. The distances were chosen on {first} people, whose is `AUC
before`; what is shipped was decided on {people} others. These were not wholly untouched: a first,
plain regression on all points and some looks at single landmarks had been over all photos.
`neutral` is the mean reading of neutral photos.

The photos: {photos}. They are no part of this project. Nobody graded units on them: they show that
the direction is right, not how strong a unit is.

{table}

Photos ({emotions}).
A unit is shipped where r of halves is at least 0.5, AUC at least 0.65, its interval above 0.5, and
photos of the emotion at least 30. Those that are not stand here too.

## Limits

A reading's zero is that of rendered faces: see `neutral`. Compare photos, best of one person;
do not take a single reading for a grade. Heads turned far aside read wrong.
"""
FITTED = tuple(unit for unit in UNITS if unit in DISTANCES_OF_UNIT)


def mesh_points(network: FaceMesh, faces: Faces, cache: Path, name: str) -> Tensor:
    """[N, 478, 3]: points of the faces, `PART` of them kept in a file each below `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for start in range(0, len(faces.identity), PART):
        path = cache / f"{name}-{start:05d}.npz"
        if not path.exists():
            read = _read(network, faces.images[start : start + PART])
            with atomic_path(path) as partial:
                np.savez(partial, points=read.numpy())
        with np.load(path, allow_pickle=False) as kept:
            found.append(torch.from_numpy(kept["points"]))
    return torch.cat(found)[: len(faces.identity)]


def _read(network: FaceMesh, images: np.ndarray) -> Tensor:
    found = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.array(images[start : start + BATCH]))
        with torch.inference_mode():
            found.append(network(batch.permute(0, 3, 1, 2).float() / 127.5 - 1).points)
    return torch.cat(found)


def correlations(
    reader: GeometryUnits, points: Tensor, intensities: Tensor
) -> dict[str, dict[str, float]]:
    """Pearson's r of read and true intensities [N, 2, U] of the reader's units.

    Returns:
        Unit to "halves", each half of a face counted on its own, and "faces", on their means.
    """
    read = reader(points).double()
    return {
        unit: {
            "halves": _pearson(one.flatten(), other.flatten()),
            "faces": _pearson(one.mean(dim=1), other.mean(dim=1)),
        }
        for unit, one, other in zip(
            reader.units, read.unbind(2), intensities.double().unbind(2), strict=True
        )
    }


def _pearson(one: Tensor, other: Tensor) -> float:
    return round(float(torch.corrcoef(torch.stack([one, other]))[0, 1]), 3)


def fit(
    work: Path, settings: Settings = SETTINGS, most: int | None = None, workers: int = 1
) -> tuple[GeometryUnits, dict[str, dict[str, float]]]:
    """Fit on some sets of people, score on another.

    Args:
        work: folder of the faces, see `build`; points and scores are kept there.
        settings: of the faces.
        most: how many of each set, at most.
        workers: rendering processes.

    Returns:
        The reader of all units of `FITTED`, and their correlations.
    """
    network = load_face_mesh()
    columns = [UNITS.index(unit) for unit in FITTED]

    def gathered(name: str) -> tuple[Tensor, Tensor]:
        chosen = getattr(settings, f"{name}_faces")
        faces = make_faces(chosen, settings, work / f"faces-{name}", workers)
        faces = faces.rows(np.arange(min(most or chosen.count, len(faces.identity))))
        units = torch.from_numpy(units_of([faces])).float()[..., columns]
        return mesh_points(network, faces, work / "mesh-points", name), units

    points, units = (torch.cat(parts) for parts in zip(*map(gathered, LEARNT_FROM), strict=True))
    reader = fit_geometry(points, units, FITTED)
    unseen, truth = gathered(TESTED_ON)
    scores = correlations(reader, unseen, truth)
    write_json(
        work / SCORES,
        {"learnt_from": len(points), "faces": len(unseen), "correlation": scores},
    )
    return reader, scores


def ship(work: Path, measured: Mapping[str, Any], embedded: Path = EMBEDDED) -> None:
    """Write the reader of the units that hold on photos, and its card.

    Args:
        work: what `fit` left, and the reader of all units.
        measured: what `tests.benchmarks.geometry_on_photos` found.
        embedded: where to.
    """
    scores = json.loads((work / SCORES).read_text(encoding="utf-8"))
    holding = tuple(measured["holding"])
    reader = load_geometry(work / NAME / FILE).only(holding)
    with atomic_path(embedded / NAME) as partial:
        save_geometry(reader, partial / FILE)
        write_text(partial / "README.md", _card(scores, measured, holding))


def _card(scores: Mapping[str, Any], measured: Mapping[str, Any], holding: tuple[str, ...]) -> str:
    before, decided = measured["halves"]
    columns = (
        *("unit", "r of halves", "r of faces"),
        *("emotion", "AUC", "95 %", "AUC before", "neutral", "shipped"),
    )
    rows = [f"| {' | '.join(columns)} |", "|---|---:|---:|---|---:|---|---:|---:|---|"]
    for unit, r in scores["correlation"].items():
        found = decided["units"][unit]
        on_photos = ["", "", "", ""]
        if "auc" in found:
            low, high = found["interval"]
            first = before["units"][unit]["auc"]
            on_photos = [
                found["emotion"], f"{found['auc']:.2f}", f"{low:.2f} to {high:.2f}", f"{first:.2f}"
            ]  # fmt: skip
        cells = [unit, f"{r['halves']:.2f}", f"{r['faces']:.2f}", *on_photos]
        cells += [f"{found['neutral_mean']:.1f}", "yes" * (unit in holding)]
        rows.append(f"| {' | '.join(cells)} |")
    photos = ", ".join(f"{count} {emotion}" for emotion, count in decided["photos"].items())
    return _CARD.format(
        name=NAME,
        units=", ".join(holding),
        count=scores["learnt_from"],
        faces=scores["faces"],
        people=decided["people"],
        first=before["people"],
        photos=measured["photos"],
        emotions=photos,
        table="\n".join(rows),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the faces")
    parser.add_argument("--most", type=int, help="how many faces of each set, at most")
    parser.add_argument("--workers", type=int, default=1, help="rendering processes")
    parser.add_argument("--ship", type=Path, metavar="JSON", help="what was measured on photos")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if asked.ship:
        ship(asked.work, json.loads(asked.ship.read_text(encoding="utf-8")))
        return
    reader, scores = fit(asked.work, most=asked.most, workers=asked.workers)
    for unit, found in scores.items():
        log.info("%s r %.2f, of whole faces %.2f", unit, found["halves"], found["faces"])
    folder = asked.work / NAME
    folder.mkdir(exist_ok=True)
    save_geometry(reader, folder / FILE)


if __name__ == "__main__":
    main()
