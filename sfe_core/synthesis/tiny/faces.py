"""The faces the tiny networks learn from: rendered, cropped as preprocess crops, kept as arrays."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.crop import CropTransform, crop, crop_around
from sfe_core.files import atomic_path, derive_seed
from sfe_core.synthesis.captions import caption
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from sfe_core.synthesis.tiny.settings import FaceSet, Settings


@dataclass(frozen=True)
class Faces:
    """Crops and what is known of them.

    Attributes:
        images: [N, S, S, 3] uint8 RGB.
        emotion: [N] int, index into `EMOTIONS`.
        valence: [N] in [-1, 1].
        arousal: [N] in [-1, 1].
        named: [N] captions that begin with the emotion.
        unnamed: [N] captions that do not speak of it.
    """

    images: np.ndarray
    emotion: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    named: np.ndarray
    unnamed: np.ndarray

    def rows(self, chosen: np.ndarray) -> Faces:
        """The faces of these row numbers."""
        return Faces(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


def _one_face(index: int, faces: FaceSet, settings: Settings) -> tuple:
    seed = derive_seed(faces.seed, index, "tiny-face")
    rng = np.random.default_rng(seed)
    emotion = EMOTIONS[index % len(EMOTIONS)]
    identity = int(rng.integers(*faces.identities))
    spec = sample_face(seed, emotion, identity, random_units=faces.random_units)
    face = render_face(spec, settings.render_px)
    # A detector's landmarks are a little off; so are these crops.
    jitter = rng.normal(0, 0.012 * np.ptp(face.landmarks[:, 0]), 2)
    exact = crop_around(face.landmarks, settings.crop_scale)
    moved = CropTransform(
        exact.center_x + jitter[0],
        exact.center_y + jitter[1],
        exact.side * float(np.exp(rng.normal(0, 0.02))),
    )
    return (
        crop(face.image, moved, settings.image_px),
        EMOTIONS.index(spec.emotion),
        spec.expression.valence,
        spec.expression.arousal,
        caption(spec, with_emotion=True, rng=np.random.default_rng(seed)),
        caption(spec, with_emotion=False, rng=np.random.default_rng(seed)),
    )


def make_faces(faces: FaceSet, settings: Settings, target: Path, workers: int) -> Faces:
    """Render a set, balanced over the emotions, or read it where it stands already.

    Args:
        faces: how many, of whom, under which seed.
        settings: sizes.
        target: the .npz file that keeps them.
        workers: processes.
    """
    if not target.exists():
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            rows = list(
                pool.map(
                    partial(_one_face, faces=faces, settings=settings),
                    range(faces.count),
                    chunksize=16,
                )
            )
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        names = list(Faces.__dataclass_fields__)
        with atomic_path(target) as partial_path:
            # NumPy's hint takes any name for its option allow_pickle.
            np.savez_compressed(partial_path, **dict(zip(names, columns, strict=True)))  # type: ignore[arg-type]
    return read_faces(target)


def read_faces(path: Path) -> Faces:
    """A set as `make_faces` kept it."""
    stored = np.load(path, allow_pickle=False)
    return Faces(**{name: stored[name] for name in Faces.__dataclass_fields__})


def merge(*sets: Faces) -> Faces:
    """Several sets as one."""
    return Faces(
        **{
            name: np.concatenate([getattr(one, name) for one in sets])
            for name in Faces.__dataclass_fields__
        }
    )
