"""Which faces are found and read right, before and after: by angle, size, cut, yaw, cover, light.

`python -m tests.benchmarks.face_angles` writes results/face_angles.md. "Before" is the detector of
upright faces alone, every hit taken; "after" looks at every angle, and calls a face doubtful below
`quality.confidence`. Right is a mean landmark error under 8 % of the distance between the outer eye
corners as seen from the front, against the renderer's own landmarks. "Before" searches large photos
as finely as "after"; seconds are by the clock, of a machine that others may be using.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.faces.backends import load_detector
from sfe_core.faces.detection import Detector
from sfe_core.faces.detectors.any_angle import load_any_angle
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

RESULT = Path(__file__).parent / "results" / "face_angles.md"
LIMIT = QualityConfig().confidence[0]
FACES = 6
Case = tuple[str, str, Picture]  # table, row, picture


def cases(people: list[Picture]) -> Iterator[Case]:
    """Every picture of every table but those without a face."""
    for angle in range(0, 360, 15):
        for person in people:
            yield "Angle, degrees clockwise", str(angle), turned(person, angle)
    for size in (24, 32, 48, 64, 100, 200, 500, 1000, 2000):
        for person in people[:4]:
            yield "Size of the landmarks' box, pixels", str(size), scaled(person, size)
    for size in (60, 100, 200):
        for person in people[:3]:
            picture = scaled(person, size, (6000, 4000))
            yield "The same in a photo of 6000 x 4000 pixels", str(size), picture
    for share in (0.1, 0.2, 0.3, 0.4):
        for edge in ("left", "top", "right", "bottom"):
            for person in people[:3]:
                yield "Share of the face cut off", f"{share:.0%} {edge}", cut(person, share, edge)
    for yaw in range(0, 91, 15):
        for number in range(2 * len(people)):
            yield "Yaw, degrees", str(yaw), portrait(number, yaw=float(yaw * (-1) ** number))
    for what in ("mask", "glasses", "hand"):
        for person in people:
            yield "Covered by", what, covered(person, what)
    for person in people:
        yield from (("Light and colour", *one) for one in lights(person))


def lights(person: Picture) -> Iterator[tuple[str, Picture]]:
    """A person in other light, without colour, out of focus."""
    for share in (0.2, 0.1, 0.05):
        dark = (person.pixels * share).astype(np.uint8)
        yield f"at {share:.0%} of the light", replace(person, pixels=dark)
    picture = Image.fromarray(person.pixels)
    grey = np.asarray(picture.convert("L").convert("RGB"))
    yield "grey", replace(person, pixels=grey)
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(5)))
    yield "blurred by 5 of 256 pixels", replace(person, pixels=blurred)
    # Contours on paper: a drawing.
    drawn = picture.convert("L").filter(ImageFilter.CONTOUR).convert("RGB")
    yield "drawn", replace(person, pixels=np.asarray(drawn))


def verdict(detector: Detector, picture: Picture) -> str:
    """What becomes of a picture: right, wrong, doubtful or none."""
    faces = detector.detect(picture.pixels)
    if not faces:
        return "none"
    face = max(faces, key=lambda face: face.size)
    if face.confidence is not None and face.confidence < LIMIT:
        return "doubtful"
    return "right" if picture.error(face.landmarks) < RIGHT else "wrong"


def table(rows: dict[str, tuple[Counter[str], Counter[str]]], title: str) -> list[str]:
    """Markdown: of so many pictures, what was before and is after."""
    lines = [
        f"| {title} | of | before: right | wrong | none | after: right | wrong | doubtful | none |",
        "| --- " * 9 + "|",
    ]
    for name, (before, after) in rows.items():
        count = before.total()
        old = [before[key] for key in ("right", "wrong", "none")]
        new = [after[key] for key in ("right", "wrong", "doubtful", "none")]
        lines.append("| " + " | ".join(map(str, [name, count, *old, *new])) + " |")
    return [*lines, ""]


def measure(found: Iterable[Case]) -> dict[str, dict[str, tuple[Counter[str], Counter[str]]]]:
    """The verdicts before and after by table and row."""
    before, after = load_detector("dlib", 24), load_any_angle("dlib", 24)
    tables: dict[str, dict[str, tuple[Counter[str], Counter[str]]]] = {}
    for title, name, picture in found:
        counts = tables.setdefault(title, {}).setdefault(name, (Counter(), Counter()))
        for detector, count in zip((before, after), counts, strict=True):
            count[verdict(detector, picture)] += 1
    return tables


def seconds(detector: Detector, pictures: list[Picture]) -> float:
    """Seconds per picture, the least of three rounds."""
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        for picture in pictures:
            detector.detect(picture.pixels)
        rounds.append((time.perf_counter() - start) / len(pictures))
    return min(rounds)


def costs(people: list[Picture]) -> list[str]:
    """Seconds per photo before and after, one thread."""
    upright = load_detector("dlib")
    ones = {
        "upright portraits, 256 pixels": people,
        "upright portraits, 1024 pixels": [scaled(one, 600) for one in people[:3]],
        "upside down, 256 pixels": [turned(one, 180) for one in people],
        "no face, up to 512 pixels": [one for _, one in things()][:40:4],
        "no face, 6000 x 4000": [Picture(np.full((4000, 6000, 3), 128, np.uint8), None)],
    }
    lines = ["| Photos | seconds before | after | face_choice all |", "| --- | --- | --- | --- |"]
    every = load_any_angle("dlib", every_size=True, every_angle=True)
    for name, pictures in ones.items():
        spent = [seconds(one, pictures) for one in (upright, load_any_angle("dlib"), every)]
        lines.append(f"| {name} | " + " | ".join(f"{one:.3f}" for one in spent) + " |")
    return [*lines, ""]


def main(faces: int = FACES) -> None:
    people = [portrait(number) for number in range(faces)]
    text = ["# Faces found and read right", "", *(__doc__ or "").splitlines()[2:], ""]
    text += [f"{faces} synthetic portraits of 256 pixels; confidence at least {LIMIT:g}.", ""]
    for title, rows in measure(cases(people)).items():
        text += [f"## {title}", "", *table(rows, title)]
    empty = measure(("Pictures without a face", "all", picture) for _, picture in things())
    text += ["## Without a face", "", *table(*empty.values(), "Pictures")]
    text += ["## Cost of detection", "", *costs(people)]
    RESULT.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
