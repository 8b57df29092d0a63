"""Measures with a closed form, and the verdicts drawn from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.manifest import plain_rows
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.corpus.quality import (
    MEASURES,
    faults_of,
    judge_row,
    limits_of,
    measure_pictures,
    measure_stored,
)
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError

SIDE = 40


def pictures(**changes) -> dict:
    """A face whose mesh is the middle quarter of the crop, depth a ramp on it."""
    mesh = np.zeros((SIDE, SIDE, 3), np.uint8)
    mesh[10:30, 10:30] = 120
    depth = np.zeros((SIDE, SIDE), np.uint16)
    depth[10:30, 10:30] = np.linspace(20000, 40000, 20).astype(np.uint16)
    landmarks = np.zeros((SIDE, SIDE, 3), np.uint8)
    landmarks[:4, :10, 1] = 255
    random = np.random.default_rng(0)
    parts = {
        "crop": random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8),
        "landmarks": landmarks,
        "depth": depth,
        "mesh": mesh,
        "points": random.uniform(10, 30, (68, 2)),
    }
    return parts | changes


def test_shares_are_counted() -> None:
    measures = measure_pictures(**pictures())
    assert list(measures) == list(MEASURES)
    assert measures["mesh_coverage"] == 400 / SIDE**2
    assert measures["landmarks_drawn"] == 40 / SIDE**2
    assert measures["landmarks_on_mesh"] == 1.0
    assert measures["depth_clipped"] == 0.0
    # A ramp: 90 % of its span lie between the percentiles, to the step between two columns.
    assert measures["depth_relief"] == pytest.approx(0.9 * 20000 / 65535, abs=1100 / 65535)


def test_a_mesh_beside_the_face_is_told() -> None:
    moved = np.roll(pictures()["mesh"], 20, axis=1)
    assert measure_pictures(**pictures(mesh=moved))["landmarks_on_mesh"] == 0.0
    points = pictures()["points"]
    points[17:34, 0] += 10 * SIDE  # a third of the inner ones, beyond the picture
    points[:17] = -5.0  # the contour does not count
    assert measure_pictures(**pictures(points=points))["landmarks_on_mesh"] == pytest.approx(2 / 3)


def test_depth_off_its_range_and_flat_depth_are_told() -> None:
    full = np.full((SIDE, SIDE), 65535, np.uint16)
    measures = measure_pictures(**pictures(depth=full))
    assert measures["depth_clipped"] == 1.0 and measures["depth_relief"] == 0.0
    empty = measure_pictures(**pictures(depth=np.zeros_like(full)))
    assert empty["depth_relief"] == 0.0 and empty["depth_clipped"] == 0.0


def test_sharpness_is_the_laplacians_variance_and_falls_with_blur() -> None:
    # Stripes of period two: the Laplacian alternates between -2 d and 2 d, its variance is 4 d².
    stripes = np.zeros((SIDE, SIDE, 3), np.uint8)
    stripes[:, ::2] = 100
    points = np.array([[1.0, 1.0]] * 67 + [[35.0, 35.0]])
    sharp = measure_pictures(**pictures(crop=stripes, points=points))["sharpness"]
    assert sharp == pytest.approx(4 * 100**2, rel=1e-4)
    last = sharp
    wave = np.cos(np.arange(SIDE) * 0.7) * 60 + 120
    for blur in (1, 2, 4):
        kernel = np.ones(blur) / blur
        line = np.convolve(np.pad(wave, 8, mode="wrap"), kernel, "same")[8:-8]
        crop = np.repeat(np.repeat(line[None, :, None], SIDE, 0), 3, 2).astype(np.uint8)
        now = measure_pictures(**pictures(crop=crop, points=points))["sharpness"]
        assert now < last
        last = now
    outside = np.full((68, 2), -50.0)
    assert math.isfinite(measure_pictures(**pictures(points=outside))["sharpness"])


def test_stored_pictures_measure_the_same(small_corpus: Workspace) -> None:
    corpus = Corpus.open(small_corpus)
    for row in plain_rows(corpus.rows):
        measures = measure_stored(FolderStore(corpus.folder), row)
        assert faults_of(measures, small_corpus.config.quality) == []
        assert 0.2 < measures["mesh_coverage"] < 0.8 and measures["landmarks_on_mesh"] > 0.9
        assert measures["sharpness"] > 1.0
    with pytest.raises(RunError, match="gone"):
        measure_stored(FolderStore(corpus.folder), row | {"key": "gone"})


@pytest.mark.parametrize("name", MEASURES)
def test_every_limit_works_at_both_ends(name: str) -> None:
    config = QualityConfig(
        mesh_coverage=(0.2, 0.4),
        landmarks_on_mesh=(0.2, 0.4),
        landmarks_drawn=(0.2, 0.4),
        depth_relief=(0.2, 0.4),
        depth_clipped=(0.2, 0.4),
        least_sharpness=0.2,
    )
    least, most = limits_of(config)[name]
    assert faults_of({name: least}, config) == [] == faults_of({name: 0.3}, config)
    assert faults_of({name: 0.1}, config)[0].startswith(f"{name} 0.1, allowed")
    if most < math.inf:
        assert faults_of({name: most}, config) == []
        assert faults_of({name: 0.41}, config) == [f"{name} 0.41, allowed 0.2 to 0.4"]
    assert faults_of({name: 0.1}, config, {MEASURES[name]}) != []
    assert faults_of({name: 0.1}, config, set()) == []
    assert faults_of({name: None}, config) == [] == faults_of({name: math.nan}, config)


def test_verdicts_come_and_go_with_the_limits() -> None:
    row = {"status": "ok", "reason": "", "mesh_coverage": 0.3, "depth_clipped": 0.2}
    judge_row(row, QualityConfig())
    assert row["status"] == "out_of_range"
    assert row["reason"] == "depth_clipped 0.2, allowed 0 to 0.05"
    judge_row(row, QualityConfig(depth_clipped=(0.0, 0.5)))
    assert (row["status"], row["reason"]) == ("ok", "")
    lost = {"status": "no_face", "reason": "none found", "mesh_coverage": 0.0}
    judge_row(lost, QualityConfig())
    assert (lost["status"], lost["reason"]) == ("no_face", "none found")
