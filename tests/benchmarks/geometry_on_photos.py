"""Which units the reader by geometry reads in the right direction on photos of people.

`python -m tests.benchmarks.geometry_on_photos --work DIR --images IMAGES --legend CSV` takes what
`sfe_core.synthesis.tiny.geometry` left in DIR, and photos whose expression people named: a folder,
and a table with columns `image` and `emotion`. Nobody graded their units; what FACS expects of an
emotion (Ekman, Friesen & Hager 2002) should read higher on its photos than on neutral ones. Told
is how often it does, of two photos taken by chance (the area under the ROC curve), with an
interval over people drawn anew. People are split in two: the distances were chosen on the first
half, so what holds is decided on the second. It writes results/geometry_units.json; the photos are
no part of this project, and nothing is fitted on them.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import rankdata

from sfe_core.faces.crop import crop, crop_around
from sfe_core.faces.detectors.dlib_detector import load_dlib
from sfe_core.faces.recognition.face_mesh import SIDE, load_face_mesh
from sfe_core.faces.recognition.geometry_units import FILE, load_geometry
from sfe_core.files import atomic_path, write_json
from sfe_core.synthesis.tiny.geometry import NAME, SCORES

RESULTS = Path(__file__).parent / "results" / "geometry_units.json"
NEUTRAL = "neutral"
# The emotion that each unit is held against; where FACS knows none, nothing can be told here.
EXPECTED = {
    "AU1": "surprise", "AU2": "surprise", "AU4": "anger", "AU5": "surprise", "AU6": "happiness",
    "AU7": "anger", "AU9": "disgust", "AU10": "disgust", "AU12": "happiness", "AU15": "sadness",
    "AU17": "sadness", "AU20": "fear", "AU23": "anger", "AU24": "anger", "AU25": "surprise",
    "AU26": "surprise",
}  # fmt: skip
EMOTIONS = ("happiness", "surprise", "anger", "sadness", "disgust", "fear")
MOST_PX, MOST_OF_ONE, DRAWS = 500, 450, 500
# What a unit must reach to be shipped: on photos, and on rendered people who were not fitted on.
# Of fewer photos of an emotion nothing is concluded.
LEAST_AUC, LEAST_R, LEAST_PHOTOS = 0.65, 0.5, 30


@dataclass(frozen=True)
class Photos:
    """Faces that were found, as mesh points [N, 478, 3], their emotions and who they show."""

    points: np.ndarray
    emotion: np.ndarray
    person: np.ndarray

    def half(self, number: int) -> Photos:
        """One half of the people, 0 or 1."""
        chosen = np.array([zlib.crc32(name.encode()) % 2 == number for name in self.person])
        return Photos(self.points[chosen], self.emotion[chosen], self.person[chosen])


def chosen_photos(legend: Path) -> list[tuple[str, str]]:
    """Names and emotions, at most `MOST_OF_ONE` of each; pictures with two labels left out."""
    with legend.open(encoding="utf-8", newline="") as file:
        rows = [(row["image"], row["emotion"].lower()) for row in csv.DictReader(file)]
    labels = Counter(name for name, _ in rows)
    rng, found = np.random.default_rng(0), []
    for emotion in (NEUTRAL, *EMOTIONS):
        names = sorted({name for name, label in rows if label == emotion})
        single = [str(name) for name in rng.permutation(names) if labels[str(name)] == 1]
        found += [(name, emotion) for name in single[:MOST_OF_ONE]]
    return found


def person_of(name: str) -> str:
    """Who a photo shows, as data sets name files: `Jane_Roe_0012.jpg`; else the photo alone."""
    person = re.sub(r"[_-]?\d+\.\w+$", "", name).lower()
    return person if len(set(person)) > 3 else name


def read_photos(images: Path, legend: Path, cache: Path) -> Photos:
    """Find the mesh on every photo that dlib finds a face on, cropped as `preprocess` crops."""
    if not cache.exists():
        detector, predictor = load_dlib()
        network, kept = load_face_mesh(), []
        for name, emotion in chosen_photos(legend):
            photo = _opened(images / name)
            boxes = [] if photo is None else detector(photo, 0)
            if not boxes:
                continue
            parts = predictor(photo, max(boxes, key=lambda box: box.width())).parts()
            landmarks = np.array([(part.x + 0.5, part.y + 0.5) for part in parts])
            face = np.array(crop(photo, crop_around(landmarks, 1.5), SIDE))
            with torch.inference_mode():
                read = network(torch.from_numpy(face).permute(2, 0, 1)[None] / 127.5 - 1)
            kept.append((read.points[0].numpy(), emotion, name))
        points, emotions, names = (np.array(column) for column in zip(*kept, strict=True))
        with atomic_path(cache) as partial:
            np.savez(partial, points=points, label=emotions, name=names)
    with np.load(cache, allow_pickle=False) as stored:
        people = np.array([person_of(str(name)) for name in stored["name"]])
        return Photos(stored["points"], stored["label"], people)


def _opened(path: Path) -> np.ndarray | None:
    try:
        photo = Image.open(path).convert("RGB")
    except OSError:
        return None
    shrunk = max(photo.size) / MOST_PX
    if shrunk > 1:
        size = round(photo.width / shrunk), round(photo.height / shrunk)
        photo = photo.resize(size, Image.Resampling.BILINEAR)
    return np.array(photo)


def area(higher: np.ndarray, lower: np.ndarray) -> float:
    """How often one of the first is above one of the second, ties counted half."""
    ranks = rankdata(np.concatenate([higher, lower]))[: len(higher)]
    return float((ranks.mean() - (len(higher) + 1) / 2) / len(lower))


def draw_people(photos: Photos) -> list[np.ndarray]:
    """`DRAWS` times the rows of as many people as there are, drawn with replacement."""
    people, number = np.unique(photos.person, return_inverse=True)
    rows = [np.flatnonzero(number == index) for index in range(len(people))]
    rng = np.random.default_rng(0)
    return [
        np.concatenate([rows[index] for index in rng.integers(len(rows), size=len(rows))])
        for _ in range(DRAWS)
    ]


def interval(
    read: np.ndarray, photos: Photos, emotion: str, draws: Sequence[np.ndarray]
) -> list[float]:
    """95 % interval of the area against neutral photos."""
    found = []
    for drawn in draws:
        higher, lower = (
            read[drawn[photos.emotion[drawn] == label]] for label in (emotion, NEUTRAL)
        )
        if len(higher) and len(lower):
            found.append(area(higher, lower))
    return [round(float(value), 3) for value in np.quantile(found, [0.025, 0.975])]


def measure(readings: np.ndarray, units: Sequence[str], photos: Photos) -> dict[str, dict]:
    """Of each unit: its area with the interval, and those of the other emotions.

    Args:
        readings: [N, U], means of both halves of a face.
        units: FACS names of the U units.
        photos: the N photos.
    """
    neutral = photos.emotion == NEUTRAL
    draws = draw_people(photos)
    found: dict[str, dict] = {}
    for unit, read in zip(units, readings.T, strict=True):
        others = {
            emotion: round(area(read[photos.emotion == emotion], read[neutral]), 3)
            for emotion in EMOTIONS
        }
        found[unit] = {"all": others, "neutral_mean": round(float(read[neutral].mean()), 2)}
        if unit in EXPECTED:
            emotion = EXPECTED[unit]
            found[unit] |= {
                "emotion": emotion,
                "auc": others[emotion],
                "photos": int((photos.emotion == emotion).sum()),
                "interval": interval(read, photos, emotion, draws),
            }
    return found


def holds(measured: dict, r: float) -> bool:
    """Whether a unit may be shipped."""
    return (
        r >= LEAST_R
        and measured.get("photos", 0) >= LEAST_PHOTOS
        and measured["auc"] >= LEAST_AUC
        and measured["interval"][0] > 0.5
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the fitted reader")
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--legend", type=Path, required=True, help="CSV: image, emotion")
    parser.add_argument("--told", required=True, help="what the photos are, for the card")
    asked = parser.parse_args()
    reader = load_geometry(asked.work / NAME / FILE)
    scores = json.loads((asked.work / SCORES).read_text(encoding="utf-8"))
    photos = read_photos(asked.images, asked.legend, asked.work / "photo-points.npz")
    result = {"photos": asked.told, "halves": []}
    for number in (0, 1):
        half = photos.half(number)
        readings = reader(torch.from_numpy(half.points)).mean(dim=1).numpy()
        result["halves"].append(
            {
                "people": len(set(half.person)),
                "photos": dict(Counter(half.emotion.tolist())),
                "units": measure(readings, reader.units, half),
            }
        )
    decided = result["halves"][1]["units"]
    r = {unit: found["halves"] for unit, found in scores["correlation"].items()}
    result["holding"] = [unit for unit in decided if holds(decided[unit], r[unit])]
    write_json(RESULTS, result)
    for unit, found in decided.items():
        on_photos = [str(found.get(name, "")) for name in ("emotion", "auc", "interval")]
        holding = "holds" * (unit in result["holding"])
        print(f"{unit} r {r[unit]:.2f} {' '.join(on_photos)} {holding}")


if __name__ == "__main__":
    main()
