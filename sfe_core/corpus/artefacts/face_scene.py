"""Everything known of one face in its photo, and the content of each of its artefacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats, Mask, Pixels
from sfe_core.corpus.artefacts.full_canvas import landmarks_in_photo, overlay, render_in_photo
from sfe_core.errors import UserError
from sfe_core.faces.crop import CropTransform, crop, paste, paste_values
from sfe_core.faces.depth import DepthMaps, DepthView, mesh_depth
from sfe_core.faces.landmark_drawing import draw_landmarks
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Raster, shade_grey, shade_normals
from sfe_core.faces.shading import lambertian, shade_geometry, to_pixels


@dataclass
class FaceScene:
    """One face, from which any of its pictures can be made; pictures are made once.

    Attributes:
        photo: [H, W, 3].
        landmarks: [68, 2] photo pixels.
        transform: the crop's square.
        size: side S of the crop, pixels.
        head: as reconstructed.
        detailed: whether the backend knows a finer surface than its mesh; its geometry is then
            drawn as DECA and EMOCA draw theirs.
        given_mesh: [H, W, 3] a render that came with the photo, to be used in place of ours.
        given_buffers: the same of normals, albedo and lambertian, by these names.
        given_codes: what came with the photo beside the backend's codes, by name.
        depth: None where nobody asked for it.
        depth_of_mesh: whether `depth` is the mesh's own.
        crop_rule: the rule that the square is by.
        coarse_buffers: whether normals and shading are the bare mesh's, even where there is detail.
    """

    photo: Pixels
    landmarks: Floats
    transform: CropTransform
    size: int
    head: Reconstruction
    detailed: bool
    given_mesh: Pixels | None = None
    given_buffers: Mapping[str, Pixels] = field(default_factory=dict)
    given_codes: Mapping[str, Floats] = field(default_factory=dict)
    depth: DepthMaps | None = None
    depth_of_mesh: bool = True
    crop_rule: str = "landmarks"
    coarse_buffers: bool = False

    @cached_property
    def crop(self) -> Pixels:
        """The face [S, S, 3]."""
        return crop(self.photo, self.transform, self.size)

    @cached_property
    def _cast(self) -> tuple[Raster, float]:
        return self.head.raster_in_crop(self.transform, self.size)

    @property
    def raster(self) -> Raster:
        """The head in the crop, S × S."""
        return self._cast[0]

    @property
    def scale(self) -> float:
        """The crop's pixels per metre on the head."""
        return self._cast[1]

    @property
    def depth_view(self) -> DepthView:
        """What a depth backend looks at."""
        return DepthView(self.photo, self.crop, self.transform, self.raster, self.scale)

    @cached_property
    def points(self) -> Floats:
        """Landmarks [68, 2] in crop pixels."""
        return self.transform.to_crop(self.landmarks, self.size)

    @cached_property
    def drawn_landmarks(self) -> Pixels:
        """[S, S, 3]."""
        return draw_landmarks(self.points, self.size)

    @cached_property
    def mesh(self) -> Pixels:
        """The geometry's picture [S, S, 3], with all the detail there is."""
        if self.given_mesh is None:
            return self._shade(self.raster)
        return self._cropped(self.given_mesh)

    @property
    def coarse(self) -> Pixels:
        """The bare mesh's picture [S, S, 3]."""
        return self._shade_coarse(self.raster)

    @property
    def canvas(self) -> Pixels:
        """The mesh's picture pasted on the photo [H, W, 3]."""
        hit: Mask = self.raster.hit if self.given_mesh is None else np.any(self.mesh, axis=2)
        return paste(self.photo, self.mesh, self.transform, hit)

    @cached_property
    def full_mesh(self) -> Pixels:
        """The geometry's picture in the photo's frame [H, W, 3]."""
        if self.given_mesh is not None:
            return self.given_mesh
        return self._in_photo(lambda raster, _: self._shade(raster))

    @property
    def full_coarse(self) -> Pixels:
        """The bare mesh's picture in the photo's frame [H, W, 3]."""
        return self._in_photo(lambda raster, _: self._shade_coarse(raster))

    @cached_property
    def full_landmarks(self) -> Pixels:
        """The drawn landmarks in the photo's frame [H, W, 3]."""
        return landmarks_in_photo(self.landmarks, self.transform, *self.photo.shape[:2])

    @property
    def depth_maps(self) -> DepthMaps:
        """The depth, of a scene that was given one."""
        assert self.depth is not None
        return self.depth

    @cached_property
    def full_depth(self) -> NDArray[np.uint16]:
        """The depth in the photo's frame [H, W]; where only the crop has one, 0 beyond it."""
        if self.depth_of_mesh:
            return self._in_photo(mesh_depth, (), np.uint16)
        if self.depth_maps.photo is not None:
            return self.depth_maps.photo
        return paste_values(self.photo.shape[:2], self.depth_maps.crop, self.transform)

    @property
    def overlay(self) -> Pixels:
        """Blends of the photo and its maps, side by side."""
        depth = None if self.depth is None else self.full_depth
        return overlay(self.photo, self.full_mesh, depth, self.full_landmarks)

    @property
    def normals(self) -> Pixels:
        """Normals [S, S, 3] as colours."""
        given = self._given_crop("normals")
        return self._coloured_normals(self.raster) if given is None else given

    @property
    def albedo(self) -> Pixels:
        """[S, S, 3] RGB, black where there is no head."""
        given = self._given_crop("albedo")
        return to_pixels(self._albedo(self.raster)) if given is None else given

    @property
    def lambertian(self) -> Pixels:
        """Albedo under the fitted light [S, S, 3]."""
        given = self._given_crop("lambertian")
        return to_pixels(self._lit(self.raster)) if given is None else given

    @property
    def full_normals(self) -> Pixels:
        """`normals` in the photo's frame [H, W, 3]."""
        if "normals" in self.given_buffers:
            return self.given_buffers["normals"]
        return self._in_photo(lambda raster, _: self._coloured_normals(raster))

    @property
    def full_albedo(self) -> Pixels:
        """The albedo in the photo's frame [H, W, 3]."""
        if "albedo" in self.given_buffers:
            return self.given_buffers["albedo"]
        return self._in_photo(lambda raster, _: to_pixels(self._albedo(raster)))

    @property
    def full_lambertian(self) -> Pixels:
        """The Lambertian render in the photo's frame [H, W, 3]."""
        if "lambertian" in self.given_buffers:
            return self.given_buffers["lambertian"]
        return self._in_photo(lambda raster, _: to_pixels(self._lit(raster)))

    @property
    def codes(self) -> dict[str, Floats]:
        """The backend's codes, given ones, and the camera from its metres to photo pixels."""
        camera = self.head.camera
        return (
            dict(self.head.codes)
            | dict(self.given_codes)
            | {
                "camera_rotation": np.asarray(camera.rotation, np.float32),
                "camera_scale": np.asarray(camera.scale, np.float32),
                "camera_translation": np.asarray(camera.translation, np.float32),
            }
        )

    @property
    def surface_arrays(self) -> dict[str, Floats]:
        """What the buffers were drawn with beside the codes: light, and colours where fitted."""
        surface = self.head.surface
        return {} if surface is None else surface.arrays()

    @property
    def detailed_mesh(self) -> tuple[Floats, NDArray[Any]]:
        """The head with its fine detail: vertices [P, 3] in metres and faces [D, 3]."""
        surface = self.head.surface
        found = surface.detailed_mesh() if surface else None
        if found is None:
            raise UserError(
                "preprocess.save_detailed_meshes",
                "texture_data_256.npy of DECA is not there",
                "see `sfe assets list` for it, or leave save_detailed_meshes off",
            )
        return found

    def _given_crop(self, name: str) -> Pixels | None:
        """The given buffer of that name in the crop; None where none was given."""
        given = self.given_buffers.get(name)
        return None if given is None else self._cropped(given)

    def _cropped(self, given: Pixels) -> Pixels:
        """A given picture [H, W, 3] in the crop."""
        # Resampling rings: beyond the head's outline it leaves specks that are not black.
        cover: Floats = np.any(given, axis=2).astype(np.float32)
        inside = crop(cover, self.transform, self.size) >= 0.5
        return crop(given, self.transform, self.size) * inside[..., None]

    def _coloured_normals(self, raster: Raster) -> Pixels:
        return shade_normals(replace(raster, normals=self._buffer_normals(raster)))

    def _normals(self, raster: Raster) -> Floats:
        surface = self.head.surface
        return surface.normals(raster) if self.detailed and surface else raster.normals

    def _buffer_normals(self, raster: Raster) -> Floats:
        surface = self.head.surface
        if self.coarse_buffers and surface:
            return surface.coarse_normals(raster)
        return self._normals(raster)

    def _albedo(self, raster: Raster) -> Floats:
        surface = self.head.surface
        found = surface.albedo(raster) if surface else None
        if found is None:
            raise UserError(
                "preprocess.save_buffers",
                "the reconstruction has no texture model",
                "see `sfe assets list` for it, or leave save_buffers off",
            )
        return found

    def _lit(self, raster: Raster) -> Floats:
        albedo = self._albedo(raster)
        light = self.head.surface.light if self.head.surface else None
        if light is None:
            raise UserError(
                "preprocess.save_buffers",
                "the reconstruction has no light",
                "choose another preprocess.reconstruction, or leave save_buffers off",
            )
        return lambertian(self._buffer_normals(raster), albedo, light, raster.hit)

    def _shade(self, raster: Raster) -> Pixels:
        if not self.detailed:
            return shade_grey(raster)
        return to_pixels(shade_geometry(self._normals(raster), raster.hit))

    def _shade_coarse(self, raster: Raster) -> Pixels:
        surface = self.head.surface
        normals = surface.coarse_normals(raster) if surface else raster.normals
        return to_pixels(shade_geometry(normals, raster.hit))

    def _in_photo(
        self,
        shade: Callable[[Raster, float], NDArray[Any]],
        channels: tuple[int, ...] = (3,),
        kind: type = np.uint8,
    ) -> NDArray[Any]:
        height, width = self.photo.shape[:2]
        angle = self.transform.angle
        return render_in_photo(self.head, height, width, shade, channels, kind, angle)
