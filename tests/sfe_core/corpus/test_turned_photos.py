"""Turned photos in the corpus: upright crops and maps, put back right; doubtful faces aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import DOUBTFUL, read_manifest
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from tests.cases.portraits import portrait
from tests.cases.tilted import masked, turned
from tests.sfe_core.corpus.conftest import make_workspace

SETTINGS = ("preprocess.full_canvas=true", "preprocess.overlay=true", "preprocess.crop_size=128")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same portrait turned, and one whose mouth is covered."""
    workspace = make_workspace(tmp_path_factory.mktemp("turned"), *SETTINGS)
    for angle in (0, 90, 180, 235):
        turned(portrait(7), angle).save(workspace.photos / f"{angle:03d}.png")
    masked(portrait(1)).save(workspace.photos / "masked.png")
    preprocess(workspace)
    return workspace


def rows(workspace: Workspace) -> pd.DataFrame:
    return read_manifest(workspace.corpus / MANIFEST).set_index("key")


def picture(workspace: Workspace, folder: str, key: str) -> np.ndarray:
    return np.asarray(Image.open(workspace.corpus / folder / f"{key}.png")).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("angle", [90, 180, 235])
def test_crop_and_maps_of_a_turned_photo_are_the_upright_ones(
    workspace: Workspace, angle: int
) -> None:
    key = f"{angle:03d}"
    row, upright = rows(workspace).loc[key], rows(workspace).loc["000"]
    assert row["status"] == "ok" and row["confidence"] > 0.9
    leaning = (row["angle"] - angle + 180) % 360 - 180
    assert abs(leaning) <= (0 if angle % 90 == 0 else 5)
    assert abs(row["roll"] + leaning - upright["roll"]) < 4 and row["crop_side"] > 0
    if angle % 90:  # cut at another angle: the middle looks alike, as far as that goes
        return
    crops = [picture(workspace, "inputs", one)[32:96, 32:96] for one in ("000", key)]
    # Found anew, a face's box moves by a pixel or so; turned wrongly, nothing would be alike.
    assert np.abs(crops[0] - crops[1]).mean() < 8
    assert np.abs(crops[0] - np.rot90(crops[1], angle // 90)).mean() > 12
    points = [Corpus(workspace.corpus).points(one).numpy() for one in ("000", key)]
    assert np.abs(points[0] - points[1]).max() < 0.03


@pytest.mark.parametrize("folder", ["full_canvas/geometry_detail", "full_canvas/depth", "canvas"])
@pytest.mark.parametrize("angle", [90, 180])
def test_maps_in_the_photos_frame_lie_on_the_turned_face(
    workspace: Workspace, angle: int, folder: str
) -> None:
    upright = picture(workspace, folder, "000")
    there = np.rot90(picture(workspace, folder, f"{angle:03d}"), angle // 90)
    scale = max(upright.max(), 1)
    assert np.abs(there - upright).mean() / scale < 0.02
    assert np.abs(np.rot90(there, 2) - upright).mean() / scale > 0.04


def test_a_doubtful_face_keeps_its_pictures_and_is_judged_again(workspace: Workspace) -> None:
    def judged(least: float) -> pd.Series:
        limit = f"quality.confidence=[{least},1.0]"
        one = load_workspace(workspace.root, ["preprocess.workers=1", *SETTINGS, limit])
        preprocess(one)
        return rows(one).loc["180"]

    crop = workspace.corpus / "inputs" / "180.png"
    before = crop.stat().st_mtime_ns
    value = rows(workspace).loc["180", "confidence"]
    doubted = judged(round((1 + value) / 2, 6))
    assert doubted["status"] == DOUBTFUL and doubted["split"] == ""
    assert "confidence 0.9" in doubted["reason"]
    row = judged(0.5)
    assert row["status"] == "ok" and row["reason"] == "" and row["split"]
    assert crop.stat().st_mtime_ns == before


def test_a_covered_mouth_is_not_taken_for_a_face_surely_read(workspace: Workspace) -> None:
    row = rows(workspace).loc["masked"]
    assert row["status"] in ("no_face", DOUBTFUL) and row["confidence"] < 0.5


def test_rows_from_before_are_looked_at_again_where_they_may_be_wrong(
    tmp_path: Path, workspace: Workspace
) -> None:
    own = make_workspace(tmp_path)
    for number, angle in enumerate((0, 180)):
        turned(portrait(number), angle).save(own.photos / f"{angle:03d}.png")
    preprocess(own)
    frame = read_manifest(own.corpus / MANIFEST)
    old = frame.drop(columns=["confidence", "angle"])
    # As it was: the upside-down photo read at a score of nearly nothing.
    old.loc[old["key"] == "180", "detection_score"] = 0.007
    old.to_parquet(own.corpus / MANIFEST, index=False)
    times = [(own.corpus / "inputs" / f"{key}.png").stat().st_mtime_ns for key in ("000", "180")]
    preprocess(own)
    again = [(own.corpus / "inputs" / f"{key}.png").stat().st_mtime_ns for key in ("000", "180")]
    assert again[0] == times[0] and again[1] > times[1]
    assert rows(own).loc["180", "angle"] == 180 and rows(own).loc["180", "confidence"] > 0.9
