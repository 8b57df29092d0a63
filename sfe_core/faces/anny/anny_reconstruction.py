"""The shipped head fitted to the landmarks, as a reconstruction backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.anny.fitted_surface import FittedSurface, RegionSurface
from sfe_core.faces.anny.fitting import HeadFit, fit_heads, rotation_angles
from sfe_core.faces.head import HeadModel
from sfe_core.faces.reconstruction import HeadChange, Reconstruction, Surface
from sfe_core.faces.rendering import Camera, rotation_matrix


class AnnyReconstructor:
    """`fitting.fit_heads` behind `reconstruction.Reconstructor`; photos give colour only.

    Also a `reconstruction.HeadMaker`: codes are `identity` [K] and `actions` [52].
    """

    terms: Literal["anny", "flame"] = "anny"

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
            maker=self,
        )

    def identity(self, codes: Mapping[str, Floats]) -> Floats:
        """[K]."""
        return codes["identity"]

    def expression(self, codes: Mapping[str, Floats]) -> Floats:
        """[52] facial actions."""
        return codes["actions"]

    def remake(self, head: Reconstruction, change: HeadChange) -> Reconstruction:
        """See `HeadMaker.remake`."""
        identity, actions = (
            np.asarray(code if given is None else given, np.float32)
            for given, code in (
                (change.identity, head.codes["identity"]),
                (change.expression, head.codes["actions"]),
            )
        )
        camera, angles = head.camera, head.angles
        if change.angles is not None:
            angles = change.angles
            camera = replace(camera, rotation=rotation_matrix(*angles))
        points = self._points(identity, actions)
        before = head.camera.project(self._landmarks(head.points))[:, :2]
        moved = camera.project(self._landmarks(points))[:, :2] - before
        return replace(
            head,
            points=points,
            camera=camera,
            angles=angles,
            landmarks=head.landmarks + moved,
            codes={"identity": identity, "actions": actions},
            surface=self._relit(head.surface, change.light),
        )

    def refit(self, head: Reconstruction, identity: Floats, landmarks: Floats) -> Reconstruction:
        """See `HeadMaker.refit`; light and colours stay those that were found."""
        fits = fit_heads(np.asarray(landmarks)[None], self._head, identity)
        yaw, pitch, roll = fits.angles[0].tolist()
        return replace(
            head,
            points=self._points(fits.identity[0], fits.actions[0]),
            camera=Camera(fits.rotation[0], float(fits.scale[0]), fits.translation[0]),
            angles=(yaw, pitch, roll),
            error=float(fits.error[0]),
            landmarks=fits.landmarks[0],
            codes={"identity": fits.identity[0], "actions": fits.actions[0]},
        )

    def restore(self, codes: Mapping[str, Floats], surface: Mapping[str, Floats]) -> Reconstruction:
        """See `HeadMaker.restore`."""
        camera = Camera(
            codes["camera_rotation"],
            float(codes["camera_scale"]),
            codes["camera_translation"],
        )
        yaw, pitch, roll = rotation_angles(camera.rotation[None])[0].tolist()
        points = self._points(codes["identity"], codes["actions"])
        return Reconstruction(
            points=points,
            faces=self._head.faces,
            camera=camera,
            angles=(yaw, pitch, roll),
            error=0.0,
            landmarks=camera.project(self._landmarks(points))[:, :2],
            codes={name: codes[name] for name in ("identity", "actions")},
            surface=RegionSurface(surface["light"], surface["colours"], self._head.face_region)
            if {"light", "colours"} <= surface.keys()
            else None,
            maker=self,
        )

    def _relit(self, surface: Surface | None, light: Floats | None) -> Surface | None:
        if light is None or surface is None:
            return surface
        colours = surface.arrays()["colours"]
        return RegionSurface(np.asarray(light), colours, self._head.face_region)

    def _landmarks(self, points: Floats) -> Floats:
        """The 68 points [68, 3] of a mesh [V, 3]."""
        corners = points[self._head.faces[self._head.landmark_faces]]
        return np.einsum("lcx,lc->lx", corners, self._head.landmark_bary)

    def _points(self, identity: Floats, actions: Floats) -> Floats:
        """Vertices [V, 3] of one head."""
        # einsum instead of `head.vertices`: a threaded matrix product rounds differently with the
        # number of threads, which 16-bit depth would show.
        return (
            self._head.mean
            + np.einsum("k,kvc->vc", identity, self._head.identity_basis)
            + np.einsum("k,kvc->vc", actions, self._head.action_deltas)
        )
