"""Colour and light of a head without a texture model, fitted to its photo.

The nine-band irradiance of a convex Lambertian surface (Ramamoorthi and Hanrahan, "An Efficient
Representation for Irradiance Environment Maps", SIGGRAPH 2001) is linear in the light: with one
colour for all of the skin it is a least-squares fit over the skin's pixels, made robust against
hair, glasses and shadows by reweighting (Huber). The other parts of the face then get the one
colour each that explains their pixels under that light.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.head import REGION, REGIONS
from sfe_core.faces.rendering import Camera, Raster, raycast
from sfe_core.faces.shading import sh_basis

_FIT_PX = 96
_SKIN = [REGION["skin"], REGION["lid"], REGION["lips"]]
# Prior over the bands beyond the constant one: how far they may be from 0, in shares of it.
_BAND_SPREAD = 0.5
_NOISE = 0.05  # of full scale; what a pixel may differ from the model before it counts less
_REWEIGHTINGS = 5
_LEAST_PIXELS = 12
_TRUSTED_SHADING = (0.5, 2.0)


@dataclass(frozen=True)
class RegionSurface:
    """`reconstruction.Surface` of one colour per part of the head; fits any pose and expression.

    Args:
        light: [9, 3] spherical harmonics (band, RGB).
        colours: [R, 3] RGB in [0, 1] of every region, see `head.REGIONS`.
        face_region: [F] the region of each face of the mesh.
    """

    light: Floats
    colours: Floats
    face_region: NDArray[np.uint8]

    def normals(self, raster: Raster) -> Floats:
        """[H, W, 3] the mesh's own."""
        return raster.normals

    def coarse_normals(self, raster: Raster) -> Floats:
        """[H, W, 3] the mesh's own."""
        return raster.normals

    def albedo(self, raster: Raster) -> Floats:
        """[H, W, 3] RGB in [0, 1], one colour per part of the head, 0 where no hit."""
        colours = self.colours[self.face_region[raster.face_index]]
        return np.where(raster.hit[..., None], colours, 0.0).astype(np.float32)

    def detailed_mesh(self) -> None:
        """There is no finer mesh than the head's."""

    def arrays(self) -> dict[str, Floats]:
        """Light and colours."""
        return {"light": self.light, "colours": self.colours}


class FittedSurface:
    """`RegionSurface` of a head seen in a photo; fitted when first asked.

    What was fitted holds for the head in any other pose and expression, too: the light and the
    colours stay those of the photo, and only the mesh that is drawn with them moves.

    Args:
        photo: [H, W, 3] uint8 RGB.
        points: [V, 3] metres.
        faces: [F, 3].
        face_region: [F] the part of the head of each face, see `head.REGIONS`.
        camera: metres to photo pixels.
        landmarks: [68, 2] photo pixels, round which is looked.
    """

    def __init__(
        self,
        photo: Pixels,
        points: Floats,
        faces: NDArray[np.int32],
        face_region: NDArray[np.uint8],
        camera: Camera,
        landmarks: Floats,
    ) -> None:
        self._photo, self._points, self._faces = photo, points, faces
        self._face_region, self._camera, self._landmarks = face_region, camera, landmarks

    @property
    def light(self) -> Floats:
        """[9, 3] spherical-harmonics light (band, RGB); mean irradiance on the seen skin is 1."""
        return self.fitted.light

    def normals(self, raster: Raster) -> Floats:
        """[H, W, 3] the mesh's own."""
        return raster.normals

    def coarse_normals(self, raster: Raster) -> Floats:
        """[H, W, 3] the mesh's own."""
        return raster.normals

    def albedo(self, raster: Raster) -> Floats:
        """See `RegionSurface.albedo`."""
        return self.fitted.albedo(raster)

    def detailed_mesh(self) -> None:
        """There is no finer mesh than the head's."""

    def arrays(self) -> dict[str, Floats]:
        """See `RegionSurface.arrays`."""
        return self.fitted.arrays()

    @cached_property
    def fitted(self) -> RegionSurface:
        """Light and colours as the photo has them."""
        pixels, normals, region = self._seen()
        basis = sh_basis(normals.astype(np.float64))
        skin = np.isin(region, _SKIN)
        light, colour = fit_light(basis[skin], pixels[skin])
        shading = basis @ light
        colours = np.tile(colour, (len(REGIONS), 1))
        for number in np.unique(region[~np.isin(region, _SKIN[:2])]):
            own = region == number
            if own.sum() >= _LEAST_PIXELS:
                # Inside the mouth normals point anywhere, at light the skin has never met.
                lit = shading[own].clip(*_TRUSTED_SHADING)
                colours[number] = pixels[own].mean(axis=0) / lit.mean(axis=0)
        return RegionSurface(light, colours.clip(0.0, 1.0), self._face_region)

    def _seen(self) -> tuple[Floats, Floats, NDArray[np.uint8]]:
        """Colours [P, 3] in [0, 1], normals [P, 3] and regions [P] of the head's seen pixels."""
        low, high = self._landmarks.min(axis=0), self._landmarks.max(axis=0)
        x, y = (low + high) / 2
        square = CropTransform(float(x), float(y), float((high - low).max()) * 1.1)
        zoom = _FIT_PX / square.side
        camera = Camera(
            self._camera.rotation,
            self._camera.scale * zoom,
            square.to_crop(self._camera.translation, _FIT_PX),
        )
        raster = raycast(camera.project(self._points), self._faces, _FIT_PX, _FIT_PX)
        pixels = crop(self._photo, square, _FIT_PX)[raster.hit].astype(np.float64) / 255.0
        return pixels, raster.normals[raster.hit], self._face_region[raster.face_index[raster.hit]]


def fit_light(basis: Floats, pixels: Floats) -> tuple[Floats, Floats]:
    """Light and the one colour of a surface under it.

    Args:
        basis: [P, 9] of `shading.sh_basis`.
        pixels: [P, 3] seen colours in [0, 1].

    Returns:
        Light [9, 3], under which the mean irradiance is 1, and the colour [3] in [0, 1]; where
        there are too few pixels, even light and their mean colour.
    """
    even = np.zeros((9, 3))
    even[0] = 1.0 / sh_basis(np.array([0.0, 0.0, 1.0]))[0]
    if len(pixels) < _LEAST_PIXELS:
        return even, pixels.mean(axis=0) if len(pixels) else np.full(3, 0.5)
    light = np.zeros((9, 3))
    for channel in range(3):
        light[:, channel] = _robust_fit(basis, pixels[:, channel])
    colour = (basis @ light).mean(axis=0)
    if (colour < 1e-3).any():  # a black photo says nothing of its light
        return even, pixels.mean(axis=0)
    return light / colour, colour.clip(0.0, 1.0)


def _robust_fit(basis: Floats, values: Floats) -> Floats:
    """Coefficients [9] of values [P] in the basis [P, 9], outliers counting less."""
    weights = np.ones(len(values))
    spread = _BAND_SPREAD * max(float(np.median(values)) / basis[0, 0], 1e-3)
    prior = np.diag([0.0, *[(_NOISE / spread) ** 2] * 8])
    found: Floats = np.zeros(9)
    for _ in range(_REWEIGHTINGS):
        weighted = basis * weights[:, None]
        found = np.linalg.solve(weighted.T @ basis + prior, weighted.T @ values)
        weights = _NOISE / np.maximum(np.abs(values - basis @ found), _NOISE)
    return found
