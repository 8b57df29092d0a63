"""Instruments: each reads one kind of number off a batch of pictures, and says what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sfe_core.arrays import Pixels
from sfe_core.evaluation.pictures import PictureSet, RealPictures
from sfe_core.faces.detection import Face
from sfe_core.files import sha256_json

Kind = Literal[
    "judge",
    "witness",
    "recogniser",
    "statistics",
    "perceptual",
    "detector",
    "identity",
    "text",
    "mask",
    "units",
    "reconstruction",
    "noise",
]


@dataclass(frozen=True)
class Instrument:
    """Where a number comes from: the backend's name, the hash of its weights, its resize rule."""

    backend: str
    weights_sha256: str
    resize: str
    kind: Kind


@dataclass(frozen=True)
class Searched:
    """A picture in which a face was looked for.

    Attributes:
        levels: [side, side, 3] uint8, what was searched.
        face: what was found, in pixels of `levels`; None where there is none.
    """

    levels: Pixels
    face: Face | None


def _not_searched() -> Sequence[Searched]:
    raise RuntimeError("no face was looked for in this batch")


@dataclass(frozen=True)
class Batch:
    """Pictures that are measured together.

    Attributes:
        keys: B names.
        images: [B, 3, S, S] in [-1, 1], on the device of the networks; black where there is none.
        valid: [B] bool, False where there is no picture.
        originals: the photos of the same keys.
        are_originals: the pictures are the photos themselves.
        searched: B pictures that the detector looked at, once for all probes; waits for it.
        pictures: the set that they are of.
    """

    keys: Sequence[str]
    images: Tensor
    valid: np.ndarray
    originals: RealPictures
    are_originals: bool
    searched: Callable[[], Sequence[Searched]] = _not_searched
    pictures: PictureSet | None = None

    @cached_property
    def landmarks(self) -> Tensor:
        """[B, 68, 2] in pixels of `images`: as found, or where no face is, as on the photo."""
        side = self.images.shape[-1]
        asked = torch.stack([self.originals.corpus.points(key) for key in self.keys]) * side
        for place, one in enumerate(self.searched()):
            if one.face is not None:
                scale = side / one.levels.shape[0]
                asked[place] = torch.from_numpy(np.asarray(one.face.landmarks) * scale)
        return asked

    @cached_property
    def photos(self) -> Tensor:
        """[B, 3, S, S] in [-1, 1], the photos at the pictures' size and device."""
        side = self.images.shape[-1]
        read = [self.originals.corpus.image(key, side) for key in self.keys]
        return torch.stack(read).to(self.images.device)

    def halves(self) -> tuple[Batch, Batch]:
        """Its first and its second half; at least two pictures."""
        middle = len(self.keys) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def _part(self, part: slice) -> Batch:
        kept = self.keys[part], self.images[part], self.valid[part]
        of = self.originals, self.are_originals
        return Batch(*kept, *of, lambda: self.searched()[part], self.pictures)

    @cached_property
    def levels(self) -> np.ndarray:
        """[B, S, S, 3] uint8 RGB."""
        levels = ((self.images.clamp(-1, 1) + 1.0) * 127.5).round().byte()
        return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())


class Probe(Protocol):
    """Reads columns off pictures by one instrument, or by some that work hand in hand.

    Attributes:
        name: of its columns, and of its file in the cache.
        instruments: by name; one stands beside every number.
        beside: it works on the processor and can run beside the networks, in a thread.
        of_photos: the real photos are measured as well.
        needs: columns of the manifest that decide a reading, beside the picture and the photo.
        searches: it asks for the face that the detector found, see `Batch.searched`.
    """

    name: str
    instruments: Mapping[str, Instrument]
    beside: bool
    of_photos: bool
    needs: tuple[str, ...]
    searches: bool

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """Columns by name, [B] or [B, D] each; rows that are not valid are ignored."""
        ...


def fingerprint(probe: Probe, version: int) -> str:
    """Changes whenever the same picture could be measured differently by `probe`."""
    named = {name: vars(instrument) for name, instrument in probe.instruments.items()}
    return sha256_json({"version": version, "name": probe.name, "instruments": named})


def weights_sha256(network: nn.Module) -> str:
    """Hex SHA-256 over the names, types and values of a network's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def as_array(values: Tensor) -> np.ndarray:
    """A tensor as float64 on the processor."""
    return values.detach().double().cpu().numpy()


def as_features(values: Tensor) -> np.ndarray:
    """A tensor as float32 on the processor: what networks give, at half the memory."""
    return values.detach().float().cpu().numpy()
