"""Reading pictures: judge, perceptual distance and landmarks, batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfe_core.config.picture_sections import EvaluateConfig
from sfe_core.evaluation.pictures import Picture, PictureSet, RealPictures
from sfe_core.evaluation.readings import (
    Array,
    Readings,
    load_array,
    load_readings,
    save_array,
    save_readings,
)
from sfe_core.faces.detection import Detector, load_detector, predictor_path
from sfe_core.faces.recognisers import load_recogniser
from sfe_core.files import sha256_file, sha256_json
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.reporting import Reporter, Task

# The face detectors were made for faces of some hundred pixels; smaller pictures are enlarged.
DETECTION_PX = 256
SMALLEST_FACE_PX = 64
OUTER_EYE_CORNERS = (36, 45)
MEASURE_VERSION = 1  # counted up when a number below would change for the same picture


def weights_sha256(network: nn.Module) -> str:
    """Hex SHA-256 over the names, types and values of a network's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Instrument:
    """Where a number comes from: the backend's name, the hash of its weights, its resize rule."""

    backend: str
    weights_sha256: str
    resize: str


@dataclass(frozen=True)
class _PendingBatch:
    """A batch whose faces are still being looked for."""

    faults: np.ndarray
    read: tuple[np.ndarray, ...]  # of the networks: features, logits, valence, arousal, perceptual
    fidelity: Future[np.ndarray]

    def complete(self, task: Task) -> tuple[np.ndarray, ...]:
        """Wait for the faces; the columns of `Readings` after the keys."""
        found = self.fidelity.result()
        task.advance(len(self.faults))
        columns = (*self.read, found[:, 0], found[:, 1])
        return self.faults, *(_nan_where(self.faults != "", values) for values in columns)


class Meter:
    """The networks of one evaluation, and the side at which every picture is measured."""

    def __init__(self, settings: EvaluateConfig, resolution: int) -> None:
        """Load judge, perceptual network and detector; nothing is downloaded.

        Args:
            settings: section `evaluate` of sfe.yaml.
            resolution: side in pixels; real photos are shrunk to it, so that all are equally sharp.

        Raises:
            UserError: an asset is missing.
        """
        self.settings, self.resolution = settings, resolution
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.judge = load_recogniser(settings.judge).to(self.device)
        self.perceptual = load_perceptual(settings.perceptual_network).to(self.device).eval()
        self.detector: Detector = load_detector(settings.detector, SMALLEST_FACE_PX)
        side, enlarged = f"measured at {resolution} px", self._detection_px
        judge_side = getattr(getattr(self.judge, "config", None), "input_size", None)
        self.instruments = {
            "judge": Instrument(
                Path(settings.judge).name,
                weights_sha256(self.judge),
                f"{side}; brought to {f'{judge_side} px' if judge_side else 'its own side'} "
                "by the judge, bilinear, antialiased",
            ),
            "perceptual": Instrument(
                settings.perceptual_network, weights_sha256(self.perceptual), side
            ),
            "detector": Instrument(
                settings.detector,
                # face-alignment does not say which files it loads.
                sha256_file(predictor_path()) if settings.detector == "dlib" else "",
                side if enlarged == resolution else f"{side}; enlarged to {enlarged} px, bicubic",
            ),
        }

    @property
    def _detection_px(self) -> int:
        return max(self.resolution, DETECTION_PX)

    def fingerprint(self) -> str:
        """Changes whenever the same picture could be measured differently."""
        named = {name: vars(instrument) for name, instrument in self.instruments.items()}
        return sha256_json({"version": MEASURE_VERSION, "instruments": named})

    def read(
        self, pictures: PictureSet, keys: Sequence[str], originals: RealPictures, task: Task
    ) -> Readings:
        """Measure the pictures of `keys`, at least one, against the same keys' photos."""
        batches: list[tuple[np.ndarray, ...]] = []
        # dlib and torch both let go of the interpreter: faces are looked for in a thread while the
        # networks read the next batch. One thread only, as dlib's detector keeps state.
        with ThreadPoolExecutor(1) as finder:
            pending: _PendingBatch | None = None
            for part in _parts(keys, self.settings.batch_size):
                current = self._read_batch(pictures, part, originals, finder)
                if pending is not None:
                    batches.append(pending.complete(task))
                pending = current
            if pending is not None:
                batches.append(pending.complete(task))
        arrays = [np.concatenate(column) for column in zip(*batches, strict=True)]
        return Readings(np.array(keys, dtype=np.str_), *arrays)

    def read_features(self, pictures: PictureSet, keys: Sequence[str], task: Task) -> Array:
        """Only the judge's features, [M, D], of a reference set."""
        parts = []
        for part in _parts(keys, self.settings.batch_size):
            images = [pictures.picture(key, self.resolution).image for key in part]
            stack = torch.stack([image for image in images if image is not None])
            with torch.inference_mode():
                parts.append(_numpy(self.judge(stack.to(self.device)).features))
            task.advance(len(part))
        return np.concatenate(parts)

    def _read_batch(
        self,
        pictures: PictureSet,
        keys: Sequence[str],
        originals: RealPictures,
        finder: ThreadPoolExecutor,
    ) -> _PendingBatch:
        loaded = [pictures.picture(key, self.resolution) for key in keys]
        stack = torch.stack([self._image_or_grey(picture) for picture in loaded])
        faults = np.array([picture.fault for picture in loaded], dtype="<U16")
        asked = [originals.corpus.points(key).numpy() for key in keys]
        fidelity = finder.submit(self._fidelity, stack, asked, faults == "")
        with torch.inference_mode():
            on_device = stack.to(self.device)
            reading = self.judge(on_device)
            if isinstance(pictures, RealPictures):
                perceptual = np.full(len(keys), np.nan)
            else:
                photos = torch.stack([originals.corpus.image(k, self.resolution) for k in keys])
                perceptual = _numpy(self.perceptual(on_device, photos.to(self.device)).flatten())
        read = (reading.features, reading.logits, reading.valence, reading.arousal)
        return _PendingBatch(faults, (*map(_numpy, read), perceptual), fidelity)

    def _fidelity(
        self, stack: Tensor, asked: Sequence[np.ndarray], valid: np.ndarray
    ) -> np.ndarray:
        """[B, 2] of `_landmark_error`; nan for pictures that are not there."""
        return np.array(
            [
                self._landmark_error(image, points) if good else (np.nan, np.nan)
                for image, points, good in zip(stack, asked, valid, strict=True)
            ]
        )

    def _image_or_grey(self, picture: Picture) -> Tensor:
        """Something of the right shape, so that a faulty picture does not change its batch."""
        if picture.image is not None:
            return picture.image
        return torch.zeros(3, self.resolution, self.resolution)

    def _landmark_error(self, image: Tensor, asked: np.ndarray) -> tuple[float, float]:
        """(face found, mean distance to the asked landmarks in % of the inter-ocular distance).

        Args:
            image: [3, S, S] in [-1, 1].
            asked: [68, 2], (x, y) as fractions of the picture.
        """
        side = self._detection_px
        if image.shape[-1] != side:
            image = F.interpolate(
                image[None], size=(side, side), mode="bicubic", antialias=True, align_corners=False
            )[0]
        levels = ((image.clamp(-1, 1) + 1.0) * 127.5).round().byte().permute(1, 2, 0)
        found = self.detector.detect(np.ascontiguousarray(levels.numpy()))
        if not found:
            return 0.0, np.nan
        face = max(found, key=lambda candidate: candidate.score)
        points = np.asarray(face.landmarks, dtype=np.float64) / side
        return 1.0, landmark_error(points, asked)


def landmark_error(found: np.ndarray, asked: np.ndarray) -> float:
    """Mean distance of 68 landmarks, in % of the asked face's outer-eye-corner distance.

    The normalised mean error of the 300-W challenge (Sagonas et al. 2013).

    Args:
        found, asked: [68, 2], in one and the same unit.
    """
    left, right = OUTER_EYE_CORNERS
    inter_ocular = float(np.linalg.norm(asked[left] - asked[right]))
    if inter_ocular == 0.0:
        return float("nan")
    return 100.0 * float(np.linalg.norm(found - asked, axis=1).mean()) / inter_ocular


def read_cached(
    meter: Meter,
    pictures: PictureSet,
    keys: Sequence[str],
    originals: RealPictures,
    cache: Path,
    title: str,
    reporter: Reporter,
) -> Readings:
    """`meter.read`, or what an earlier run read off exactly these pictures in the same way."""
    content = [[key, pictures.fingerprint(key), originals.fingerprint(key)] for key in keys]
    path = cache / f"{title}-{sha256_json([meter.fingerprint(), content])[:16]}.npz"
    readings = load_readings(path, keys)
    if readings is None:
        with reporter.task(f"Measuring {title}", len(keys)) as task:
            readings = meter.read(pictures, keys, originals, task)
        save_readings(path, readings)
    return readings


def read_features_cached(
    meter: Meter,
    pictures: RealPictures,
    keys: Sequence[str],
    cache: Path,
    title: str,
    reporter: Reporter,
) -> Array:
    """`meter.read_features`, or what an earlier run read off exactly these photos."""
    content = [[key, pictures.fingerprint(key)] for key in keys]
    path = cache / f"{title}-features-{sha256_json([meter.fingerprint(), content])[:16]}.npz"
    features = load_array(path)
    if features is None or len(features) != len(keys):
        with reporter.task(f"Measuring {title} photos", len(keys)) as task:
            features = meter.read_features(pictures, keys, task)
        save_array(path, features)
    return features


def _parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _nan_where(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[rows] = np.nan
    return values
