"""Reading a rig's edits beside their photos, by a reconstruction that looks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import numpy as np
from torch import Tensor

from sfe_core.arrays import Floats, Mask
from sfe_core.assets.needs import hash_models, reconstruction_assets
from sfe_core.assets.registry import registry
from sfe_core.assets.store import missing_files
from sfe_core.config.model import Config
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.instruments.edit_probes import NoiseProbe, OutsideProbe, RefitProbe
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.instruments.network_probes import PerceptualProbe
from sfe_core.evaluation.physical_commands import PhysicalCommand
from sfe_core.evaluation.physical_faces import PhysicalFaces
from sfe_core.evaluation.pictures import RealPictures
from sfe_core.faces.backends import load_reconstructor
from sfe_core.sampling.editing.plan import reconstructed_by

RECONSTRUCTIONS = ("emoca", "deca", "anny")


def looks_again(config: Config) -> str:
    """The reconstruction that fits edited faces: the one asked for, or one that did not edit.

    Where only the one that edits is there, it is that.
    """
    asked, edits = config.evaluate.reconstruction, config.preprocess.reconstruction
    if asked != "auto":
        return asked
    known = registry()
    for name in RECONSTRUCTIONS:
        needed = reconstruction_assets(reconstructed_by(config.preprocess, name))
        there = not any(missing_files(known[one]) for one in needed if one in known)
        if name != edits and there:
            return name
    return edits


def add_probes(
    meter: Meter, config: Config, faces: PhysicalFaces, commands: Sequence[PhysicalCommand]
) -> list[str]:
    """Give a meter what reads edits; the names of all probes that do.

    Args:
        meter: with the usual instruments.
        config: names who fits the faces again. Where that is who edits, it fits them under the
            shape that the edited head was given.
        faces: of the photos.
        commands: all pictures that are to be read.

    Raises:
        UserError: the reconstruction is not there.
    """
    settings = reconstructed_by(config.preprocess, looks_again(config))
    fitted = load_reconstructor(
        settings.reconstruction, model=settings.reconstruction_model, flame=settings.flame
    )
    at = f"measured at {meter.resolution} px"
    detail = f"{at}; the face that {config.evaluate.detector} finds at {meter.faces.side} px"
    weights = hash_models(reconstruction_assets(settings))
    shapes: dict[str, Floats] = {}
    if settings.reconstruction == config.preprocess.reconstruction:
        photo_of = {name: one.key for one in commands for name in (one.name, one.key)}
        known = {name: faces.shape_of(key) for name, key in photo_of.items()}
        shapes = {name: shape for name, shape in known.items() if shape is not None}
    if shapes:
        digest = sha256(b"".join(shapes[name].tobytes() for name in sorted(shapes))).hexdigest()
        detail += f"; under the mean shape of its album ({digest[:8]})"
    perceptual = meter.probes[meter.perceptual]
    assert isinstance(perceptual, PerceptualProbe)
    own = (
        RefitProbe(settings.reconstruction, weights, fitted, shapes, detail),
        OutsideProbe(perceptual, at),
        NoiseProbe(at),
    )
    meter.probes |= {probe.name: probe for probe in own}
    return [meter.faces.name, meter.perceptual, *(probe.name for probe in own)]


class EditedPhotos(RealPictures):
    """The photos that pictures were edited from, by the pictures' names."""

    def __init__(
        self, corpus: Corpus, commands: Sequence[PhysicalCommand], outside: Mapping[str, Mask]
    ) -> None:
        """`outside`: picture to [S, S], where no head is."""
        self._photo_of = {command.name: command.key for command in commands}
        self._photos = RealPictures(corpus)
        super().__init__(cast(Corpus, EditedCorpus(corpus, self._photo_of, outside)))

    def has(self, key: str) -> bool:
        """Whether a picture is to show its photo's landmarks: none is."""
        del key
        return False

    def fingerprint(self, key: str) -> str:
        """See `RealPictures`."""
        return self._photos.fingerprint(self._photo_of[key])


@dataclass(frozen=True)
class EditedCorpus:
    """What instruments ask of a corpus, by the names of edited pictures."""

    corpus: Corpus
    photo_of: Mapping[str, str]
    masks: Mapping[str, Mask]

    def row(self, name: str) -> Mapping[Any, Any]:
        """What decides readings beside picture and photo."""
        digest = sha256(np.packbits(self.masks[name]).tobytes()).hexdigest()
        return {"landmarks": (), "depth_sha256": "", "outside_sha256": digest}

    def outside(self, name: str) -> Mask:
        """[S, S], where neither the head nor the edited one is."""
        return self.masks[name]

    def points(self, name: str) -> Tensor:
        """See `Corpus`."""
        return self.corpus.points(self.photo_of[name])

    def image(self, name: str, size: int) -> Tensor:
        """See `Corpus`."""
        return self.corpus.image(self.photo_of[name], size)
