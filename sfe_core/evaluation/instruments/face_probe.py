"""The probe that looks for the drawn face: landmarks, pose, order in depth, identity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfe_core.evaluation.instruments.guidance_fidelity import (
    depth_order,
    heads_of,
    map_at,
    rotation_angle,
)
from sfe_core.evaluation.instruments.probes import Batch, Instrument, Searched
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.dlib_detector import predictor_path
from sfe_core.faces.drawn_faces import DrawnFaceFinder, landmark_error
from sfe_core.faces.recognition.identity import IdentityEmbedder
from sfe_core.files import sha256_file


def identity_name(embedder: str) -> str:
    """The instrument that an embedder of identity is."""
    return f"identity_{embedder}"


class FaceProbe:
    """A detector, and what follows from the 68 landmarks that it finds.

    Columns: `detected` (1.0 or 0.0), `landmark_error` (% of the inter-ocular distance),
    `pose_error` (degrees), `depth_order` (share); all but the first are nan where no face is found.
    With an embedder also `embedding` [B, D].
    """

    beside = True
    of_photos = True
    needs: tuple[str, ...] = ("landmarks", "depth_sha256")
    searches = True
    name = "detector"

    def __init__(self, detector: str, resolution: int, embedder: IdentityEmbedder | None) -> None:
        """Raises: UserError: the detector's weights are missing."""
        self.finder = DrawnFaceFinder(detector, resolution)
        self.embedder, self.side = embedder, self.finder.side
        side = f"measured at {resolution} px"
        resize = side if self.side == resolution else f"{side}; enlarged to {self.side} px, bicubic"
        # face-alignment does not say which files it loads.
        weights = sha256_file(predictor_path()) if detector == "dlib" else ""
        found = {self.name: Instrument(detector, weights, resize, "detector")}
        if embedder is not None:
            found[identity_name(embedder.name)] = Instrument(
                embedder.name, embedder.weights_sha256, f"{resize}; {embedder.crop}", "identity"
            )
        self.instruments: Mapping[str, Instrument] = found

    def search(self, batch: Batch) -> list[Searched]:
        """Look for the face on every picture of a batch, see `Batch.searched`."""
        levels = [self.finder.levels(image) for image in batch.images.cpu()]
        return [
            Searched(picture, self.finder.find(picture) if good else None)
            for picture, good in zip(levels, batch.valid, strict=True)
        ]

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        count, searched = len(batch.keys), batch.searched()
        faces = {place: one.face for place, one in enumerate(searched) if one.face is not None}
        places, found = list(faces), list(faces.values())
        columns = {
            "detected": np.array([float(place in faces) for place in range(count)]),
            **self._fidelity(batch, faces),
        }
        if self.embedder is not None:
            embedding = np.full((count, self.embedder.width), np.nan)
            embedding[places] = self.embedder.embed(
                [searched[place].levels for place in places], found
            )
            columns["embedding"] = embedding
        return columns

    def _fidelity(self, batch: Batch, faces: Mapping[int, Face]) -> dict[str, np.ndarray]:
        """How far the faces found, by place in the batch, are those of their photos."""
        names = ("landmark_error", "pose_error", "depth_order")
        columns = {name: np.full(len(batch.keys), np.nan) for name in names}
        places = [place for place in faces if batch.originals.has(batch.keys[place])]
        if not places:
            return columns
        found = [faces[place].landmarks / self.side for place in places]
        corpus = batch.originals.corpus
        keys = [batch.keys[place] for place in places]
        asked = [corpus.points(key).numpy().astype(np.float64) for key in keys]
        rotations, depths = heads_of(np.stack([*found, *asked]))
        half = len(places)
        columns["pose_error"][places] = rotation_angle(rotations[:half], rotations[half:])
        for place, key, here, there, depth in zip(
            places, keys, found, asked, depths[:half], strict=True
        ):
            columns["landmark_error"][place] = landmark_error(here, there)
            wanted = corpus.maps(key, self.side, ("depth",))["depth"][0].numpy()
            columns["depth_order"][place] = depth_order(depth, map_at(wanted, there))
        return columns
