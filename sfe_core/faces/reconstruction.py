"""What every reconstruction of a head gives.

A backend answers with a mesh in its own metric frame and a scaled-orthographic camera into the
photo; one ray caster then draws the mesh in the crop, in the photo's own frame, or anywhere
between, so that all pictures of a face agree to the pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.rendering import Camera, Raster, raycast, rotation_matrix


class Surface(Protocol):
    """What a backend knows of a head's surface beyond its mesh; sampled where the rays hit.

    All arrays are [H, W, …] of the raster's size and zero where `raster.hit` is False. A raster
    may be of the crop or of the whole photo; its `face_index` counts in `Reconstruction.faces`.
    """

    @property
    def light(self) -> Floats | None:
        """[9, 3] spherical-harmonics lighting (band, RGB), None where the backend has none."""
        ...

    def normals(self, raster: Raster) -> Floats:
        """[H, W, 3] unit normals with the fine detail; x right, y up, z to the viewer."""
        ...

    def coarse_normals(self, raster: Raster) -> Floats:
        """[H, W, 3] normals of the mesh alone, as its published pictures are shaded from."""
        ...

    def albedo(self, raster: Raster) -> Floats | None:
        """[H, W, 3] RGB in [0, 1], None where the backend has no texture model."""
        ...

    def detailed_mesh(self) -> tuple[Floats, NDArray[np.integer[Any]]] | None:
        """Vertices [P, 3] in the frame of `Reconstruction.points`, and faces [D, 3]; None: none."""
        ...

    def arrays(self) -> dict[str, Floats]:
        """What must be stored beside the codes, so that the surface can be made again, by name."""
        ...


@dataclass(frozen=True)
class HeadChange:
    """What of a head is to be otherwise, in its backend's own terms; None: as it is.

    Args:
        identity: the person's shape, as `HeadMaker.identity` has it.
        expression: as `HeadMaker.expression` has it.
        angles: yaw, pitch and roll in the photo, degrees.
        light: [9, 3] spherical harmonics (band, RGB).
    """

    identity: Floats | None = None
    expression: Floats | None = None
    angles: tuple[float, float, float] | None = None
    light: Floats | None = None


class HeadMaker(Protocol):
    """A backend that can make a head that it found anew, from changed codes.

    Attributes:
        terms: whose codes: the facial actions of Anny's head, or FLAME's expression and jaw.
    """

    terms: Literal["anny", "flame"]

    def identity(self, codes: Mapping[str, Floats]) -> Floats:
        """[K] the person's shape, of a head's codes, standard deviations."""
        ...

    def expression(self, codes: Mapping[str, Floats]) -> Floats:
        """[E] the expression, jaw included, of a head's codes."""
        ...

    def remake(self, head: Reconstruction, change: HeadChange) -> Reconstruction:
        """The head with the change; its eyes' plane keeps its place, its camera all but the angles.

        See `changed_head`, which holds the face in place.
        """
        ...

    def refit(self, head: Reconstruction, identity: Floats, landmarks: Floats) -> Reconstruction:
        """The head of a person whose shape is known, on the same photo.

        A backend that fits finds pose and expression anew under that shape; one whose networks say
        both lays the shape on the landmarks.

        Args:
            head: as it was found.
            identity: [K] the known shape.
            landmarks: [68, 2] that it was found by, PHOTO pixels.
        """
        ...

    def restore(self, codes: Mapping[str, Floats], surface: Mapping[str, Floats]) -> Reconstruction:
        """A head out of its stored codes (with the camera) and what `Surface.arrays` gave."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """One head, posed, and the camera that saw it.

    `points` are in metres, x right, y up, z towards the viewer after `camera.rotation`, origin
    midway between the eyeballs (depth is measured from there). A backend that poses its vertices
    itself leaves the camera's rotation at the identity.
    """

    points: Floats  # [V, 3] float32 metres
    faces: NDArray[np.int32]  # [F, 3] vertex numbers, counter-clockwise seen from outside
    camera: Camera  # metres to PHOTO pixels
    angles: tuple[float, float, float]  # yaw (image right), pitch (up), roll (clockwise), degrees
    error: float  # mean landmark distance over the outer eye corners' distance
    landmarks: Floats  # [68, 2] of the head, PHOTO pixels
    codes: Mapping[str, Floats] = field(default_factory=dict)  # saved as .npz, names of the field
    surface: Surface | None = None  # detail, albedo, light; None: the mesh is all there is
    maker: HeadMaker | None = None  # makes it anew with changed codes; None: nobody can

    @property
    def vertices(self) -> Floats:
        """[V, 3] PHOTO pixels: x right, y down, z towards the viewer in the same unit."""
        return self.camera.project(self.points)

    @property
    def pixels_per_metre(self) -> float:
        """Of the photo, on the face."""
        return float(self.camera.scale)

    def camera_in(self, transform: CropTransform, size: int) -> Camera:
        """The camera into a crop of `size` pixels."""
        rotation = self.camera.rotation
        if transform.angle:
            rotation = rotation_matrix(0, 0, -transform.angle) @ rotation
        return Camera(
            rotation,
            float(self.camera.scale) * size / transform.side,
            transform.to_crop(self.camera.translation, size),
        )

    def raster_in_crop(self, transform: CropTransform, size: int) -> tuple[Raster, float]:
        """The head as seen in its crop.

        Args:
            transform: the crop's square.
            size: side of the crop, pixels.

        Returns:
            The raster, size × size, and the crop's pixels per metre on the head.
        """
        camera = self.camera_in(transform, size)
        return raycast(camera.project(self.points), self.faces, size, size), camera.scale


class Reconstructor(Protocol):
    """Anything that finds the head behind a face in a photo."""

    def reconstruct(
        self, photos: Sequence[Pixels], landmarks: Floats, boxes: Floats
    ) -> list[Reconstruction]:
        """Reconstruct N faces; the answer for one does not depend on the others.

        Args:
            photos: N pictures [H, W, 3] uint8 RGB, one per face; sizes may differ, and the same
                array may stand there several times.
            landmarks: [N, 68, 2] photo pixels, pixel centres at .5.
            boxes: [N, 4] the detector's left, top, right, bottom, photo pixels.

        Returns:
            N reconstructions, in that order.
        """
        ...
