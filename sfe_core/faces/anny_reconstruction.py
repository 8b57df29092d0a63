"""The shipped head fitted to the landmarks, as a reconstruction backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfe_core.faces.fitting import HeadFit, fit_heads
from sfe_core.faces.head import HeadModel
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Camera

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]


class AnnyReconstructor:
    """`fitting.fit_heads` behind `reconstruction.Reconstructor`; the photos play no part."""

    def __init__(self) -> None:
        self._head = HeadModel.load()

    def reconstruct(
        self, photos: Sequence[Pixels], landmarks: Floats, boxes: Floats
    ) -> list[Reconstruction]:
        """See `Reconstructor.reconstruct`."""
        del photos, boxes
        fits = fit_heads(np.reshape(landmarks, (-1, 68, 2)), self._head)
        return [self._one(fits, place) for place in range(len(fits.error))]

    def _one(self, fits: HeadFit, place: int) -> Reconstruction:
        yaw, pitch, roll = fits.angles[place].tolist()
        return Reconstruction(
            points=self._points(fits.identity[place], fits.actions[place]),
            faces=self._head.faces,
            camera=Camera(fits.rotation[place], float(fits.scale[place]), fits.translation[place]),
            angles=(yaw, pitch, roll),
            error=float(fits.error[place]),
            landmarks=fits.landmarks[place],
            codes={"identity": fits.identity[place], "actions": fits.actions[place]},
        )

    def _points(self, identity: Floats, actions: Floats) -> Floats:
        """Vertices [V, 3] of one head."""
        # einsum instead of `head.vertices`: a threaded matrix product rounds differently with the
        # number of threads, which 16-bit depth would show.
        return (
            self._head.mean
            + np.einsum("k,kvc->vc", identity, self._head.identity_basis)
            + np.einsum("k,kvc->vc", actions, self._head.action_deltas)
        )
