"""The camera: noise that follows brightness, compression, white balance, halos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.synthesis.camera import photograph
from sfe_core.synthesis.scene import Capture
from sfe_core.synthesis.spec import sample_face

IDEAL = Capture(
    blur=0.0, white_balance=(1.0, 1.0, 1.0), vignette=0.0, contrast=0.0, black=0.0, noise=0.0,
    shot_noise=0.0, chroma_noise=0.0, sharpening=0.0, jpeg_quality=0, jpeg_subsampled=False,
)  # fmt: skip


def taken(picture: np.ndarray, **settings: object) -> np.ndarray:
    """The picture through an ideal camera with one fault."""
    spec = sample_face(4)
    scene = replace(spec.scene, capture=replace(IDEAL, **settings))
    return photograph(picture, replace(spec, scene=scene)).astype(np.float64)


def flat(grey: float) -> np.ndarray:
    return np.full((96, 96, 3), grey, np.float32)


def test_ideal_camera_changes_nothing_below_the_highlights() -> None:
    assert (taken(flat(140.0)) == 140).all()
    assert 200 < taken(flat(400.0)).max() <= 255


def test_shot_noise_grows_with_brightness_and_read_noise_does_not() -> None:
    dark, bright = (taken(flat(g), shot_noise=8.0).mean(-1).std() for g in (20.0, 180.0))
    assert bright / dark == pytest.approx(3.0, rel=0.1)
    dark, bright = (taken(flat(g), noise=4.0).mean(-1).std() for g in (30.0, 180.0))
    assert bright == pytest.approx(dark, rel=0.05)


def test_noise_is_shared_between_neighbours_and_coloured_only_when_asked() -> None:
    grey = taken(flat(120.0), noise=6.0)
    assert np.ptp(grey, axis=-1).max() <= 1
    near = np.corrcoef(grey[:, 1:, 0].ravel(), grey[:, :-1, 0].ravel())[0, 1]
    assert 0.1 < near < 0.5
    assert taken(flat(120.0), noise=6.0, chroma_noise=0.5).std(-1).mean() > 1.0


def test_white_balance_vignette_and_lifted_blacks() -> None:
    warm = taken(flat(100.0), white_balance=(1.1, 1.0, 0.9))
    assert warm[0, 0].tolist() == [110, 100, 90]
    corners = taken(flat(100.0), vignette=0.3)
    assert corners[48, 48, 0] == 100 and corners[0, 0, 0] == 70
    assert (taken(flat(0.0), black=9.0) == 9).all()


def test_sharpening_overshoots_at_an_edge_and_blur_softens_it() -> None:
    edge = flat(80.0)
    edge[:, 48:] = 160.0
    sharp = taken(edge, sharpening=0.8)
    assert sharp.max() > 170 and sharp.min() < 70
    assert np.abs(np.diff(taken(edge, blur=0.02)[40, :, 0])).max() < 40


def test_compression_keeps_the_picture_and_loses_detail_with_quality() -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(60, 180, (96, 96, 3)).astype(np.float32)
    clean = taken(picture)
    low, high = (np.abs(taken(picture, jpeg_quality=q) - clean).mean() for q in (55, 95))
    assert 0 < high < low < 30
    whole, halved = (
        np.abs(taken(picture, jpeg_quality=95, jpeg_subsampled=s) - clean).mean()
        for s in (False, True)
    )
    assert halved > 2 * whole
