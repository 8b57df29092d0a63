"""A folder of synthetic photographs with labels.csv and captions.json, same seed, same bytes."""

from __future__ import annotations

import csv
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfe_core.controls.facial_actions import SIDED_UNITS, UNITS
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import atomic_path, write_json
from sfe_core.reporting import Reporter
from sfe_core.synthesis.captions import caption
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import FaceSpec, sample_face

ITEM_STREAM, CAPTION_STREAM, ORDER_STREAM = 21, 22, 23
JPEG_QUALITY = 94
SIZE_LIMITS_PX = (32, 2048)
LABEL_COLUMNS: tuple[str, ...] = (
    "key", "emotion", "valence", "arousal", *UNITS, "identity", "age", "sex",
    "yaw", "pitch", "roll", "light", "background", "hair", "seed",
)  # fmt: skip
# Beside these where units are drawn at random: the person's left and right.
SIDE_COLUMNS: tuple[str, ...] = tuple(
    f"{unit}{side}" for unit in UNITS if unit in SIDED_UNITS for side in "LR"
)


@dataclass(frozen=True)
class PhotoPlan:
    """One photograph to render."""

    key: str  # path below photos/ without extension
    seed: int
    emotion: str | None
    identity: int


def plan_photos(
    count: int,
    seed: int,
    balanced: bool = True,
    expressions_per_identity: int = 8,
    identity_range: tuple[int, int] = (0, 4096),
) -> list[PhotoPlan]:
    """Which photographs a folder holds, in order; a longer plan begins with the shorter one.

    Args:
        count: number of photographs.
        seed: of the whole folder.
        balanced: emotions in equal numbers; otherwise in AffectNet's natural proportions.
        expressions_per_identity: photographs of a person before the next one's turn.
        identity_range: first identity and one past the last, rows of the identity table.
    """
    first, end = identity_range
    if count < 1 or expressions_per_identity < 1:
        raise UserError(
            "synthesize", f"count {count}, {expressions_per_identity} photos per identity",
            "both must be at least 1",
        )  # fmt: skip
    if not 0 <= first < end <= 4096:
        raise UserError("identity range", f"is {first}:{end}", "use 0 <= first < end <= 4096")
    order = first + np.random.default_rng([ORDER_STREAM, seed]).permutation(end - first)
    shuffle = np.random.default_rng([ORDER_STREAM, seed, 1])
    plans: list[PhotoPlan] = []
    cycle: list[str] = []
    for index in range(count):
        if not cycle:
            cycle = [EMOTIONS[k] for k in shuffle.permutation(len(EMOTIONS))]
        turn, number = divmod(index, expressions_per_identity)
        identity = int(order[turn % len(order)])
        # A person whose turn comes again continues the numbering of his photographs.
        number += expressions_per_identity * (turn // len(order))
        photo_seed = int(np.random.SeedSequence([ITEM_STREAM, seed, index]).generate_state(1)[0])
        emotion = cycle.pop() if balanced else None
        plans.append(PhotoPlan(f"{identity:04d}/{number:03d}", photo_seed, emotion, identity))
    return plans


def plan_albums(
    identities: Sequence[int], count: int, emotions: Sequence[str], seed: int = 0
) -> list[PhotoPlan]:
    """Which photographs `synthesize_albums` takes, in order; arguments as there."""
    return [
        PhotoPlan(
            f"{identity:04d}/{number:03d}",
            int(np.random.SeedSequence([ITEM_STREAM, seed, identity, number]).generate_state(1)[0]),
            emotions[number % len(emotions)],
            identity,
        )
        for identity in identities
        for number in range(count)
    ]


def label_row(key: str, spec: FaceSpec) -> dict[str, Any]:
    """The labels.csv row of a photograph, keys as LABEL_COLUMNS."""
    scene, person, expression = spec.scene, spec.person, spec.expression
    return {
        "key": key,
        "emotion": spec.emotion,
        "valence": expression.valence,
        "arousal": expression.arousal,
        **dict(zip(UNITS, expression.units, strict=True)),
        "identity": person.identity,
        "age": round(person.age, 1),
        "sex": "male" if person.male else "female",
        "yaw": round(scene.yaw, 2),
        "pitch": round(scene.pitch, 2),
        "roll": round(scene.roll, 2),
        "light": scene.light_name,
        "background": scene.background,
        "hair": f"{person.hair_style} {person.hair_name}",
        "seed": spec.seed,
    }


def side_row(spec: FaceSpec) -> dict[str, Any]:
    """What stands in the row of a photograph whose units were drawn at random.

    Each side's intensity, keys as SIDE_COLUMNS; no emotion, valence and arousal, which it has not.
    """
    sides = [dict(zip(UNITS, half, strict=True)) for half in spec.expression.units_of_sides]
    told = {name: sides["LR".index(name[-1])][name[:-1]] for name in SIDE_COLUMNS}
    return {"emotion": "", "valence": "", "arousal": "", **told}


def _render_one(job: tuple[PhotoPlan, str, int, bool, bool]) -> tuple[dict[str, Any], str]:
    """Render and save one photograph (in a worker); returns its label row and caption."""
    plan, folder, size_px, with_emotion, random_units = job
    spec = sample_face(plan.seed, plan.emotion, plan.identity, random_units=random_units)
    face = render_face(spec, size_px)
    with atomic_path(Path(folder) / "photos" / f"{plan.key}.jpg") as partial:
        Image.fromarray(face.image).save(partial, quality=JPEG_QUALITY, subsampling=0)
    words = np.random.default_rng([CAPTION_STREAM, plan.seed])
    row = label_row(plan.key, spec) | (side_row(spec) if random_units else {})
    return row, caption(spec, with_emotion and not random_units, words)


def synthesize(
    folder: Path,
    count: int,
    seed: int = 0,
    size_px: int = 256,
    balanced: bool = True,
    expressions_per_identity: int = 8,
    identity_range: tuple[int, int] = (0, 4096),
    workers: int = 1,
    captions_name_emotion: bool = True,
    reporter: Reporter | None = None,
    random_units: bool = False,
) -> int:
    """Write photos/<identity>/<nnn>.jpg, labels.csv and captions.json below `folder`.

    The bytes depend on every argument but `workers`, `folder` and `reporter`.

    Args:
        folder: the workspace.
        count, seed, balanced, expressions_per_identity, identity_range: see `plan_photos`.
        size_px: side of the square photographs, 32 to 2048.
        workers: processes to render with; 1 renders in this one.
        captions_name_emotion: begin each caption with the emotion's word.
        reporter: shown the progress.
        random_units: action units at random in place of emotions, and of each side in the labels.

    Returns:
        The number of photographs written.
    """
    _check_size(size_px)
    plans = plan_photos(count, seed, balanced, expressions_per_identity, identity_range)
    jobs = [(plan, str(folder), size_px, captions_name_emotion, random_units) for plan in plans]
    shown = reporter or Reporter()
    results = list(shown.track(_run(jobs, workers), "synthesize", total=len(jobs)))
    rows = [row for row, _ in results]
    with (
        atomic_path(Path(folder) / "photos" / "labels.csv") as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, LABEL_COLUMNS + SIDE_COLUMNS * random_units)
        writer.writeheader()
        writer.writerows(rows)
    captions = {row["key"]: text for row, text in results}
    write_json(Path(folder) / "photos" / "captions.json", captions)
    return len(rows)


def synthesize_albums(
    folder: Path,
    identities: Sequence[int],
    count: int,
    emotions: Sequence[str],
    seed: int = 0,
    size_px: int = 256,
    workers: int = 1,
    reporter: Reporter | None = None,
) -> dict[str, str]:
    """Write photos/<identity>/<nnn>.jpg of some people, a folder each, with no label and caption.

    As people's own albums are: they lack most expressions.

    Args:
        folder: the workspace.
        identities: rows of the identity table.
        count: photographs of each.
        emotions: that they show, in turn.
        seed, size_px, workers, reporter: see `synthesize`.

    Returns:
        Folder of photos/ to class word, man or woman.

    Raises:
        UserError: a size out of range, or an unknown emotion.
    """
    _check_size(size_px)
    unknown = sorted(set(emotions) - set(EMOTIONS))
    if unknown or not emotions:
        raise UserError("emotions", f"are {list(emotions)}", f"choose from {', '.join(EMOTIONS)}")
    plans = plan_albums(identities, count, emotions, seed)
    jobs = [(plan, str(folder), size_px, True, False) for plan in plans]
    shown = reporter or Reporter()
    done = list(shown.track(_run(jobs, workers), "synthesize", total=len(jobs)))
    return {
        plan.key.partition("/")[0]: "man" if row["sex"] == "male" else "woman"
        for plan, (row, _) in zip(plans, done, strict=True)
    }


def _check_size(size_px: int) -> None:
    if not SIZE_LIMITS_PX[0] <= size_px <= SIZE_LIMITS_PX[1]:
        low, high = SIZE_LIMITS_PX
        raise UserError("size", f"is {size_px} px", f"choose {low} to {high}")


def _run(jobs: list[Any], workers: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Results in the order of the jobs, from this process or a pool of fresh ones."""
    if workers <= 1 or len(jobs) < 2:
        yield from map(_render_one, jobs)
        return
    # Spawned, not forked: a parent that has started torch's threads cannot be forked safely.
    context = multiprocessing.get_context("spawn")
    with _single_threaded_children(), context.Pool(min(workers, len(jobs))) as pool:
        yield from pool.imap(_render_one, jobs, chunksize=4)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes started inside use one thread each: the pool already fills the cores."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
