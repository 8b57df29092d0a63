"""The faces the tiny networks learn from: rendered, cropped as preprocess crops, kept as arrays."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.crop import CropTransform, crop, crop_around
from sfe_core.files import atomic_path, derive_seed
from sfe_core.synthesis.captions import caption
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import FaceSpec, sample_face
from sfe_core.synthesis.tiny.settings import FaceSet, Settings

PART = 500  # faces that are rendered and kept at once: a stopped build loses no more
IMAGES, LABELS = "images.npy", "labels.npz"


@dataclass(frozen=True)
class Faces:
    """Crops and what is known of them.

    Attributes:
        images: [N, S, S, 3] uint8 RGB; of a whole set they stay in their file until looked at.
        emotion: [N] int, index into `EMOTIONS`.
        valence: [N] in [-1, 1].
        arousal: [N] in [-1, 1].
        units_left, units_right: [N, 18] action units of the two halves of the face, the person's
            left and right, 0 to 5, in the order of `facs.UNITS`.
        identity: [N] int, who it is.
        named: [N] captions that begin with the emotion.
        unnamed: [N] captions that do not speak of it.
    """

    images: np.ndarray
    emotion: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    units_left: np.ndarray
    units_right: np.ndarray
    identity: np.ndarray
    named: np.ndarray
    unnamed: np.ndarray

    def rows(self, chosen: np.ndarray) -> Faces:
        """The faces of these row numbers."""
        return Faces(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


def draw_spec(index: int, seed: int, faces: FaceSet, rng: np.random.Generator) -> FaceSpec:
    """Who and what a face of the set shows: emotions in turn, or by the set's shares."""
    emotion = EMOTIONS[index % len(EMOTIONS)]
    if faces.shares:
        emotion = EMOTIONS[rng.choice(len(EMOTIONS), p=np.array(faces.shares) / sum(faces.shares))]
    identity = int(rng.integers(*faces.identities))
    return sample_face(seed, emotion, identity, wide=faces.wide, random_units=faces.random_units)


def cut_as_framed(
    exact: CropTransform, settings: Settings, rng: np.random.Generator
) -> CropTransform:
    """As cameras frame: the face larger or smaller and off the middle, all within the render.

    Beyond a render's edge there would be nothing but its last pixels, drawn out to streaks.
    """
    frame = settings.render_px
    side = exact.side * rng.uniform(*settings.wide_crop_scale) / settings.crop_scale
    side = float(np.clip(side, settings.image_px, frame))
    shift = rng.normal(0, 0.05 * side, 2)
    x, y = np.clip(np.add((exact.center_x, exact.center_y), shift), side / 2, frame - side / 2)
    return CropTransform(float(x), float(y), side)


def cut_as_detected(
    exact: CropTransform, settings: Settings, rng: np.random.Generator
) -> CropTransform:
    """A detector's landmarks are a little off; so are these crops."""
    x, y = rng.normal(0, 0.012 * exact.side / settings.crop_scale, 2)
    side = exact.side * float(np.exp(rng.normal(0, 0.02)))
    return CropTransform(exact.center_x + x, exact.center_y + y, side)


def _one_face(index: int, faces: FaceSet, settings: Settings) -> tuple:
    seed = derive_seed(faces.seed, index, "tiny-face")
    rng = np.random.default_rng(seed)
    spec = draw_spec(index, seed, faces, rng)
    face = render_face(spec, settings.render_px)
    exact = crop_around(face.landmarks, settings.crop_scale)
    cut = (cut_as_framed if faces.wide else cut_as_detected)(exact, settings, rng)
    left, right = spec.expression.units_of_sides
    return (
        crop(face.image, cut, settings.image_px),
        EMOTIONS.index(spec.emotion),
        spec.expression.valence,
        spec.expression.arousal,
        left,
        right,
        spec.person.identity,
        caption(spec, with_emotion=True, rng=np.random.default_rng(seed)),
        caption(spec, with_emotion=False, rng=np.random.default_rng(seed)),
    )


def render_few_faces(count: int, settings: Settings) -> Faces:
    """The first faces of the base's set, rendered in this process and not kept."""
    rows = [_one_face(index, settings.base_faces, settings) for index in range(count)]
    return Faces(*(np.array(column) for column in zip(*rows, strict=True)))


def make_faces(faces: FaceSet, settings: Settings, target: Path, workers: int) -> Faces:
    """Render a set, or read it where it stands already; goes on where an earlier call was stopped.

    Of two processes that ask for the same set, the second waits for the first.

    Args:
        faces: what is in it.
        settings: sizes.
        target: the folder that keeps it.
        workers: processes.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not target.exists():
                _render(faces, settings, target, workers)
    return read_faces(target)


def _render(faces: FaceSet, settings: Settings, target: Path, workers: int) -> None:
    parts = target.with_name(f"{target.name}.parts")
    parts.mkdir(parents=True, exist_ok=True)
    starts = range(0, faces.count, PART)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in starts:
            if _part(parts, start).exists():
                continue
            indices = range(start, min(start + PART, faces.count))
            one = partial(_one_face, faces=faces, settings=settings)
            columns = zip(*pool.map(one, indices, chunksize=8), strict=True)
            names = list(Faces.__dataclass_fields__)
            with atomic_path(_part(parts, start)) as partial_path:
                arrays = {name: np.array(c) for name, c in zip(names, columns, strict=True)}
                # NumPy's hint takes any name for its option allow_pickle.
                np.savez(partial_path, **arrays)  # type: ignore[arg-type]
    with atomic_path(target) as folder:
        _join([_part(parts, start) for start in starts], folder, faces.count, settings.image_px)
    shutil.rmtree(parts)


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:06d}.npz"


def _join(parts: list[Path], folder: Path, count: int, side: int) -> None:
    """Write the parts as one set, holding one part at a time."""
    folder.mkdir()
    images = open_memmap(folder / IMAGES, "w+", np.uint8, (count, side, side, 3))
    labels: dict[str, list[np.ndarray]] = {}
    place = 0
    for path in parts:
        with np.load(path, allow_pickle=False) as stored:
            some = stored["images"]
            images[place : place + len(some)] = some
            place += len(some)
            for name in set(stored) - {"images"}:
                labels.setdefault(name, []).append(stored[name])
    images.flush()
    joined = {name: np.concatenate(values) for name, values in labels.items()}
    np.savez(folder / LABELS, **joined)  # type: ignore[arg-type]


def read_faces(folder: Path) -> Faces:
    """A set as `make_faces` kept it."""
    # Copy on write: torch warns of arrays that nobody may write to.
    images = np.load(folder / IMAGES, mmap_mode="c")
    with np.load(folder / LABELS, allow_pickle=False) as labels:
        return Faces(images=images, **{name: labels[name] for name in labels})
