"""Probes of edited faces: the head fitted again, what changed around it, and noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfe_core.arrays import Floats
from sfe_core.evaluation.instruments.network_probes import PerceptualProbe
from sfe_core.evaluation.instruments.probes import Batch, Instrument, as_array
from sfe_core.evaluation.physical_codes import WIDTHS, codes_of
from sfe_core.evaluation.physical_commands import PARTS
from sfe_core.faces.changed_head import maker_of
from sfe_core.faces.reconstruction import Reconstructor
from sfe_core.sampling.editing.noise import most_noise, noise_level

REFIT, OUTSIDE, NOISE = "refit", "outside", "noise"


class RefitProbe:
    """The head behind a picture, fitted anew from the face that the detector finds.

    Columns: the parts of `PARTS`, [B, D] each, see `codes_of`; nan where no face was found. Where
    it is known whose face it is, all but the shape are of the head fitted under that shape.
    """

    beside = True
    of_photos = True
    needs: tuple[str, ...] = ()
    searches = True
    name = REFIT

    def __init__(
        self,
        backend: str,
        weights: str,
        fitted: Reconstructor,
        shapes: Mapping[str, Floats],
        at: str,
    ) -> None:
        """Take who fits, known shapes by the pictures' names, and how pictures are measured."""
        self._fitted, self._shapes = fitted, shapes
        tool = Instrument(backend, weights, at, "reconstruction")
        self.instruments: Mapping[str, Instrument] = {REFIT: tool}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        columns = {str(part): np.full((len(batch.keys), WIDTHS[part]), np.nan) for part in PARTS}
        searched = [(place, one.levels, one.face) for place, one in enumerate(batch.searched())]
        found = [(place, levels, face) for place, levels, face in searched if face is not None]
        if not found:
            return columns
        heads = self._fitted.reconstruct(
            [levels for _, levels, _ in found],
            np.stack([face.landmarks for _, _, face in found]),
            np.stack([np.asarray(face.box) for _, _, face in found]),
        )
        for (place, _, face), head in zip(found, heads, strict=True):
            shape = self._shapes.get(batch.keys[place])
            codes = codes_of(head)
            if shape is not None:
                known = maker_of(head).refit(head, shape, face.landmarks)
                codes = codes_of(known) | {"shape": codes["shape"]}
            for part, code in codes.items():
                columns[part][place] = code
        return columns


class OutsideProbe:
    """What an edit changed where neither the head was nor the edited one is.

    Columns: `difference`, mean absolute, grey levels of 255; `distance`, perceptual, of a picture
    whose head is the photo's. nan where the head fills the picture. What counts as outside is asked
    of the originals' corpus: see `EditedCorpus`.
    """

    beside = False
    of_photos = False
    needs: tuple[str, ...] = ("outside_sha256",)
    searches = False
    name = OUTSIDE

    def __init__(self, perceptual: PerceptualProbe, at: str) -> None:
        """Take the network of the perceptual distance, and how pictures are measured."""
        self._perceptual = perceptual
        (inner,) = perceptual.instruments.values()
        tool = Instrument(inner.backend, inner.weights_sha256, f"{at}; outside the head", "mask")
        self.instruments: Mapping[str, Instrument] = {OUTSIDE: tool}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        corpus: Any = batch.originals.corpus
        masks = torch.from_numpy(np.stack([corpus.outside(key) for key in batch.keys]))
        mask = masks[:, None].to(batch.images)
        covered = mask.mean(dim=(1, 2, 3))
        change = ((batch.images - batch.photos).abs() * mask).mean(dim=(1, 2, 3))
        nothing = as_array(covered) == 0.0
        difference = 127.5 * as_array(change / covered.clamp(min=1e-9))
        laid = batch.images * mask + batch.photos * (1.0 - mask)
        distance = self._perceptual.read(_Pair(laid, batch.photos))["distance"]  # type: ignore[arg-type]
        return {
            "difference": np.where(nothing, np.nan, difference),
            "distance": np.where(nothing, np.nan, distance),
        }


@dataclass(frozen=True)
class _Pair:
    """What a perceptual distance asks of a batch."""

    images: Tensor
    photos: Tensor


class NoiseProbe:
    """How noisy a picture is, and its photo.

    Columns: `level`, grey levels of 255, and `noisy`, 1.0 where `sfe edit` would call it so.
    """

    beside = False
    of_photos = True
    needs: tuple[str, ...] = ()
    searches = False
    name = NOISE

    def __init__(self, at: str) -> None:
        """Take how pictures are measured."""
        tool = Instrument("Immerkær's estimate", "", at, "noise")
        self.instruments: Mapping[str, Instrument] = {NOISE: tool}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        photos = ((batch.photos.clamp(-1, 1) + 1.0) * 127.5).round().byte()
        sources = photos.permute(0, 2, 3, 1).cpu().numpy()
        levels = np.array([noise_level(picture) for picture in batch.levels])
        most = np.array([most_noise(source) for source in sources])
        return {"level": levels, "noisy": (levels > most).astype(np.float64)}
