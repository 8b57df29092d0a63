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
    OF_ROW,
    bad_light,
    faults_of,
    judge_row,
    limits_of,
    measure_pictures,
    measure_stored,
)
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError
from tests.cases.portraits import portrait
from tests.cases.tight_crops import lit

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
    assert {*measures, *OF_ROW} == set(MEASURES)
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


def test_light_is_measured_on_the_face_alone() -> None:
    # Half of the face's box is 40 and half 60 grey levels; all round it is white.
    crop = np.full((SIDE, SIDE, 3), 255, np.uint8)
    crop[10:30, 10:20], crop[10:30, 20:30] = 40, 60
    points = np.array([[10.0, 10.0]] * 67 + [[30.0, 30.0]])
    measures = measure_pictures(**pictures(crop=crop, points=points))
    assert measures["brightness"] == pytest.approx(50, abs=0.01)
    assert measures["contrast"] == pytest.approx(10, abs=0.01)
    green = np.zeros_like(crop) + np.array([0, 200, 0], np.uint8)
    assert measure_pictures(**pictures(crop=green))["brightness"] == pytest.approx(0.587 * 200)


@pytest.mark.parametrize(
    ("gain", "lift", "fault"),
    [
        (1.0, 0, ""),
        (0.25, 0, ""),  # a dark room: still a face
        (0.5, 110, ""),  # a misty day
        (0.02, 0, "brightness"),
        (0.02, 250, "brightness"),
        (0.02, 120, "contrast"),
    ],
)
def test_only_hopeless_light_is_out_of_range(gain: float, lift: float, fault: str) -> None:
    face = np.asarray(lit(portrait(1), gain, lift).crop((56, 62, 206, 212)))
    points = np.random.default_rng(0).uniform(20, 130, (68, 2))
    measures = measure_pictures(face, None, None, None, points)
    faults = faults_of(measures, QualityConfig())
    assert [one.split()[0] for one in faults][:1] == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("gain", "lift", "words"),
    [
        (1.0, 0, ""),
        (0.1, 20, ""),
        (0.02, 0, "nearly black"),
        (0.02, 250, "nearly white"),
        (0.02, 120, "next to no contrast"),
    ],
)
def test_light_that_hides_a_face_is_told(gain: float, lift: float, words: str) -> None:
    said = bad_light(np.asarray(lit(portrait(1), gain, lift)))
    assert words in said and bool(said) == bool(words)


def test_a_photo_taken_as_it_is_may_be_all_face() -> None:
    row = {"mesh_coverage": 0.98}
    assert faults_of(row, QualityConfig()) == ["mesh_coverage 0.98, allowed 0.05 to 0.95"]
    assert faults_of(row | {"crop_rule": "as-is"}, QualityConfig()) == []
    small = {"mesh_coverage": 0.01, "crop_rule": "as-is"}
    assert len(faults_of(small, QualityConfig())) == 1


def test_a_profile_is_not_blamed_for_its_eyes_being_close() -> None:
    config = QualityConfig(most_fit_error=0.2)
    assert faults_of({"fit_error": 0.3, "yaw": 0.0}, config) == [
        "fit_error 0.3, allowed at most 0.2"
    ]
    assert faults_of({"fit_error": 0.3, "yaw": -80.0}, config) == []
    assert len(faults_of({"fit_error": 0.5, "yaw": 60.0}, config)) == 1
    assert len(faults_of({"fit_error": 0.3, "yaw": None}, config)) == 1


def test_rows_without_invented_border_are_given_it() -> None:
    square = {"crop_x": 50.0, "crop_y": 50.0, "crop_side": 200.0, "width": 100, "height": 100}
    row = {"status": "ok", "reason": "", **square}
    judge_row(row, QualityConfig())
    assert row["invented_border"] == pytest.approx(0.75)
    assert row["reason"] == "invented_border 0.75, allowed at most 0.7"
    judge_row(row, QualityConfig(most_invented_border=0.8))
    assert row["status"] == "ok"
    bare = {"status": "ok", "reason": ""}
    judge_row(bare, QualityConfig())
    assert bare == {"status": "ok", "reason": "", "invented_border": None}


def test_faces_with_bad_buffers_are_left_out_unless_they_are_to_be_kept() -> None:
    row = {"status": "ok", "reason": "", "buffer_faults": "normals show no head; no light"}
    judge_row(row, QualityConfig())
    told = "buffers: normals show no head; buffers: no light"
    assert (row["status"], row["reason"]) == ("out_of_range", told)
    judge_row(row, QualityConfig(sound_buffers=False))
    assert (row["status"], row["reason"]) == ("ok", "")
    row["buffer_faults"] = ""
    judge_row(row, QualityConfig())
    assert row["status"] == "ok"


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
        brightness=(0.2, 0.4),
        least_sharpness=0.2,
        least_contrast=0.2,
        most_fit_error=0.4,
        most_invented_border=0.4,
    )
    least, most = limits_of(config)[name]
    assert faults_of({name: 0.3}, config) == []
    wrong = 0.1 if least > -math.inf else 0.41
    if least > -math.inf:
        assert faults_of({name: least}, config) == []
        assert faults_of({name: 0.1}, config)[0].startswith(f"{name} 0.1, allowed")
    if most < math.inf:
        allowed = "0.2 to 0.4" if least > -math.inf else "at most 0.4"
        assert faults_of({name: most}, config) == []
        assert faults_of({name: 0.41}, config) == [f"{name} 0.41, allowed {allowed}"]
    assert faults_of({name: wrong}, config, {MEASURES[name]}) != []
    assert faults_of({name: wrong}, config, set()) == []
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
