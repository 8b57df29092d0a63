"""The protocol of reconstructions: one head, the same in the crop and in the photo."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.errors import UserError
from sfe_core.faces.anny.fitting import fit_heads
from sfe_core.faces.backends import load_reconstructor
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.head import HeadModel
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Camera, raycast, rotation_matrix


def seen(yaw: float, scale: float = 800.0) -> np.ndarray:
    """Landmarks [68, 2] of the mean head, smiling a little."""
    head = HeadModel.load()
    actions = np.zeros(52)
    actions[43:45] = 0.6
    camera = Camera(rotation_matrix(yaw, 4, 3), scale, np.array([160.0, 150.0]))
    return camera.project(head.landmarks(actions=actions)[0])[:, :2]


def reconstruct(*landmarks: np.ndarray) -> list[Reconstruction]:
    photos = [np.full((320, 300, 3), 128, np.uint8)] * len(landmarks)
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (len(landmarks), 1))
    return load_reconstructor("anny").reconstruct(photos, np.stack(landmarks), boxes)


def test_anny_is_the_fit_in_photo_pixels() -> None:
    points = seen(20.0)
    (head,) = reconstruct(points)
    fits = fit_heads(points[None])
    assert np.array_equal(head.codes["identity"], fits.identity[0])
    assert np.array_equal(head.codes["actions"], fits.actions[0])
    assert head.angles == pytest.approx(fits.angles[0].tolist())
    assert head.error == pytest.approx(float(fits.error[0]))
    assert head.pixels_per_metre == pytest.approx(800.0, rel=0.05)
    model = HeadModel.load()
    corners = head.vertices[head.faces[model.landmark_faces]]
    drawn = (corners * model.landmark_bary[:, :, None]).sum(axis=1)[:, :2]
    assert np.abs(drawn - head.landmarks).max() < 0.01
    assert np.linalg.norm(drawn - points, axis=1).mean() < 2.0


def test_crop_and_photo_show_the_same_head() -> None:
    (head,) = reconstruct(seen(-10.0))
    transform = CropTransform(150.0, 150.0, 128.0)  # whole pixels: the crop is a slice
    raster, scale = head.raster_in_crop(transform, 128)
    whole = raycast(head.vertices, head.faces, 320, 300)
    part = np.s_[86:214, 86:214]
    assert scale == pytest.approx(head.pixels_per_metre)
    assert (raster.hit == whole.hit[part]).mean() > 0.999
    both = raster.hit & whole.hit[part]
    assert both.mean() > 0.5
    gap = np.abs(raster.normals - whole.normals[part])[both].max(axis=1)
    assert (gap < 1e-2).mean() > 0.999
    double, twice = head.raster_in_crop(transform, 256)
    assert twice == pytest.approx(2 * scale)
    assert np.nanmedian(double.depth[double.hit]) == pytest.approx(
        2 * np.nanmedian(raster.depth[raster.hit]), rel=0.02
    )


def test_company_changes_no_bit() -> None:
    faces = [seen(yaw) for yaw in (-25.0, 0.0, 30.0)]
    together = reconstruct(*faces)
    for face, head in zip(faces, together, strict=True):
        (alone,) = reconstruct(face)
        assert np.array_equal(alone.vertices, head.vertices)


@pytest.mark.parametrize("name", ["emoca", "deca"])
def test_licensed_backends_say_where_their_files_come_from(name: str) -> None:
    with pytest.raises(UserError, match="licence"):
        load_reconstructor(name, "cpu")
