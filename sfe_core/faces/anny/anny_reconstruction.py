"""The shipped head fitted to the landmarks, as a reconstruction backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.anny.fitted_surface import FittedSurface
from sfe_core.faces.anny.fitting import HeadFit, fit_heads
from sfe_core.faces.head import HeadModel
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Camera


class AnnyReconstructor:
    """`fitting.fit_heads` behind `reconstruction.Reconstructor`; photos give colour only."""

    def __init__(self) -> None:
        self._head = HeadModel.load()

    def reconstruct(
        self, photos: Sequence[Pixels], landmarks: Floats, boxes: Floats
    ) -> list[Reconstruction]:
        """See `Reconstructor.reconstruct`."""
        del boxes
        fits = fit_heads(np.reshape(landmarks, (-1, 68, 2)), self._head)
        return [self._one(fits, place, photo) for place, photo in enumerate(photos)]

    def _one(self, fits: HeadFit, place: int, photo: Pixels) -> Reconstruction:
        yaw, pitch, roll = fits.angles[place].tolist()
        head = self._head
        points = self._points(fits.identity[place], fits.actions[place])
        camera = Camera(fits.rotation[place], float(fits.scale[place]), fits.translation[place])
        landmarks = fits.landmarks[place]
        return Reconstruction(
            points=points,
            faces=head.faces,
            camera=camera,
            angles=(yaw, pitch, roll),
            error=float(fits.error[place]),
            landmarks=landmarks,
            codes={"identity": fits.identity[place], "actions": fits.actions[place]},
            surface=FittedSurface(photo, points, head.faces, head.face_region, camera, landmarks),
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
