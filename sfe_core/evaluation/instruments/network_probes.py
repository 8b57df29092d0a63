"""The probes that are networks: recognisers, units' readers, distances, ImageNet's, CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfe_core.assets.reference import ModelReference
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.instruments.clip_similarity import ClipSimilarity, load_clip
from sfe_core.evaluation.instruments.dists import load_dists
from sfe_core.evaluation.instruments.efficientnet_lite0 import (
    EfficientNetLite0,
    load_efficientnet_lite0,
)
from sfe_core.evaluation.instruments.inception import Inception, InceptionRule, load_inception
from sfe_core.evaluation.instruments.probes import (
    Batch,
    Instrument,
    Kind,
    as_array,
    as_features,
    weights_sha256,
)
from sfe_core.evaluation.statistics.recognition import UNSEEN_LOGIT
from sfe_core.evaluation.yardstick import INCEPTION, UNITS
from sfe_core.faces.person_mask import load_person_mask
from sfe_core.faces.recognition.reading import EmotionRecogniser, cut_faces
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.losses.perceptual import load_perceptual

SMALLEST_OUTSIDE = 0.05  # of a picture: less is the mask's own edge


class RecogniserProbe:
    """An emotion recogniser: logits, valence, arousal and features.

    One that was made for faces cut out by their landmarks is shown them so: cut where the detector
    finds the face, or where it finds none, where the photo has it.
    """

    beside = False
    of_photos = True

    def __init__(
        self,
        name: str,
        model: ModelReference,
        measured_at: str,
        device: torch.device,
        kind: Kind,
        detector: str,
    ) -> None:
        """Load it.

        Args:
            name: of the instrument.
            detector: which finds the faces, see `Batch.searched`.

        Raises:
            UserError: the asset is missing, or is not a recogniser.
        """
        self.name = name
        self.network = load_recogniser(model.given).to(device)
        said = cast(EmotionRecogniser, self.network)
        self.square, self.side = said.face_square, said.input_px
        self.searches = self.square is not None
        self.needs: tuple[str, ...] = ("landmarks",) if self.searches else ()
        resize = (
            f"{measured_at}; brought to {self.side} px by the recogniser, bilinear, antialiased"
        )
        if self.searches:
            resize = f"{measured_at}; {self.square} as {detector} finds them, cut to {self.side} px"
        weights = weights_sha256(self.network)
        self.instruments: Mapping[str, Instrument] = {name: Instrument(name, weights, resize, kind)}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        images = batch.images
        if self.square is not None:
            images = cut_faces(images, batch.landmarks, self.square, self.side)
        found = self.network(images)
        logits = as_array(found.logits)
        # A network of fewer emotions cannot see the others: they come last, at no probability.
        unseen = np.full((len(logits), len(EMOTIONS) - logits.shape[1]), UNSEEN_LOGIT)
        return {
            "logits": np.concatenate([logits, unseen], axis=1),
            "valence": as_array(found.valence),
            "arousal": as_array(found.arousal),
            "features": as_features(found.features),
        }


class UnitsProbe:
    """A reader of action units.

    Columns: `AU12L`, `AU12R` and so on, the intensity on the person's left and right half, 0 to 5.
    """

    beside = False
    of_photos = True
    needs: tuple[str, ...] = ()
    searches = False
    name = UNITS

    def __init__(self, model: ModelReference, measured_at: str, device: torch.device) -> None:
        """Raises: UserError: the asset is missing, or reads no action units."""
        self.network = load_unit_reader(model.given).to(device)
        said = cast(Any, self.network)
        self.units, side = tuple(map(str, said.units)), int(said.input_px)
        resize = f"{measured_at}; brought to {side} px by the reader, bilinear, antialiased"
        tool = Instrument(model.name, weights_sha256(self.network), resize, "units")
        self.instruments: Mapping[str, Instrument] = {self.name: tool}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        found = as_array(self.network(batch.images))
        return {
            f"{unit}{side}": found[:, row, place]
            for place, unit in enumerate(self.units)
            for row, side in enumerate("LR")
        }


class PerceptualProbe:
    """A perceptual distance to the photo of the same key."""

    beside = False
    of_photos = False
    needs: tuple[str, ...] = ()
    searches = False

    def __init__(
        self, name: str, measured_at: str, device: torch.device, side: int | None = None
    ) -> None:
        """Load it.

        Args:
            name: one of `PERCEPTUAL_NETWORKS`, or dists.
            side: both pictures are brought to it, pixels; None = as they are measured.

        Raises:
            UserError: unknown, or its weights are missing.
        """
        self.name, self.side = name, side
        network = load_dists() if name == "dists" else load_perceptual(name)
        self.network = network.to(device).eval()
        resize = f"{measured_at}; both brought to {side} px, bicubic, antialiased"
        resize = resize if side else measured_at
        self.instruments: Mapping[str, Instrument] = {
            name: Instrument(name, weights_sha256(self.network), resize, "perceptual")
        }

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        pair = self._sized(batch.images), self._sized(batch.photos)
        return {"distance": as_array(self.network(*pair).flatten())}

    def _sized(self, images: Tensor) -> Tensor:
        if self.side in (None, images.shape[-1]):
            return images
        size = (self.side, self.side)
        large = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
        return large.clamp(-1.0, 1.0)


class FeaturesProbe:
    """Features of a network that learnt ImageNet, as distances between sets are taken on."""

    beside = False
    of_photos = True
    needs: tuple[str, ...] = ()
    searches = False

    def __init__(
        self, name: str, rule: InceptionRule, measured_at: str, device: torch.device
    ) -> None:
        """Load it.

        Args:
            name: inception, whose distances are FID and KID, or efficientnet-lite0.
            rule: how pictures are brought to Inception's size.

        Raises:
            UserError: the asset of that name is missing.
        """
        self.name = name
        network: Inception | EfficientNetLite0 = (
            load_inception(rule) if name == INCEPTION else load_efficientnet_lite0()
        )
        self.network = network.to(device)
        resize = f"{measured_at}; 8-bit levels; {self.network.resize}"
        weights = self.network.weights_sha256
        self.instruments: Mapping[str, Instrument] = {
            self.name: Instrument(self.name, weights, resize, "statistics")
        }

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        levels = torch.from_numpy(batch.levels).permute(0, 3, 1, 2).to(batch.images.device)
        return {"features": as_features(self.network(levels))}


class BackgroundProbe:
    """How far an edited photo differs from the photo outside the person.

    Outside is what neither picture's mask takes for the person. Columns: `difference`, the mean
    absolute difference there in grey levels of 255; nan where less than `SMALLEST_OUTSIDE` of the
    picture is outside.
    """

    beside = False
    of_photos = False
    needs: tuple[str, ...] = ()
    searches = False
    name = "background"

    def __init__(self, measured_at: str, device: torch.device) -> None:
        """Raises: UserError: the asset `selfie` is missing."""
        self.network = load_person_mask().to(device)
        resize = f"{measured_at}; the mask at 256 px"
        tool = Instrument("selfie", weights_sha256(self.network), resize, "mask")
        self.instruments: Mapping[str, Instrument] = {self.name: tool}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        masks = [self.network(one) for one in (batch.images, batch.photos)]
        outside = (torch.maximum(*masks) < 0.5).double()
        change = (batch.images - batch.photos).abs().mean(dim=1, keepdim=True).double() * 127.5
        share = outside.mean(dim=(1, 2, 3))
        mean = (change * outside).mean(dim=(1, 2, 3)) / share
        return {"difference": as_array(mean.where(share >= SMALLEST_OUTSIDE, torch.nan))}


class TextProbe:
    """Similarity of picture and caption by CLIP."""

    beside = False
    of_photos = True
    needs: tuple[str, ...] = ("caption",)
    searches = False
    name = "clip"

    def __init__(self, name_or_path: str, measured_at: str, device: torch.device) -> None:
        """Raises: UserError: the asset is missing, or is not a CLIP."""
        self.network: ClipSimilarity = load_clip(name_or_path).to(device)
        backend, weights = ModelReference(name_or_path).name, weights_sha256(self.network)
        resize = f"{measured_at}; {self.network.resize}"
        self.instruments: Mapping[str, Instrument] = {
            self.name: Instrument(backend, weights, resize, "text")
        }

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`; nan where there is no caption."""
        rows = [batch.originals.corpus.row(key)["caption"] for key in batch.keys]
        captions = [row if isinstance(row, str) and row.strip() else None for row in rows]
        return {"similarity": as_array(self.network(batch.images, captions))}
