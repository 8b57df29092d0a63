"""Photos per second into the corpus, beside a loop that runs the same models and keeps nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import find_photos
from sfe_core.corpus.photo_work import render_fit
from sfe_core.corpus.preprocess import preprocess
from sfe_core.faces.crop import crop, crop_square
from sfe_core.faces.depth import load_depth
from sfe_core.faces.detection import choose_face, load_detector
from sfe_core.faces.fitting import fit_heads
from sfe_core.faces.landmark_drawing import draw_landmarks
from sfe_core.faces.rendering import shade_grey
from tests.benchmarks.conftest import PHOTO_PX, PHOTOS
from tests.benchmarks.measure import compare

pytestmark = pytest.mark.benchmark


def bare(workspace: Workspace) -> int:
    """Read, detect, crop, fit, render: one process, one photo after the other, nothing written."""
    config = workspace.config.preprocess
    detector = load_detector(config.detector, config.min_face_px)
    depth = load_depth(config.depth)
    found = []
    for path in find_photos(workspace.photos):
        image = np.asarray(Image.open(path).convert("RGB"))
        faces = detector.detect(image)
        if faces:
            face = choose_face(faces, config.face_choice, image.shape[1], image.shape[0])
            around = crop_square(face.landmarks, face.box, config.crop_rule, config.crop_scale)
            found.append((face, around, crop(image, around, config.crop_size)))
    fits = fit_heads(np.stack([face.landmarks for face, _, _ in found]))
    for place, (face, around, pixels) in enumerate(found):
        raster, scale = render_fit(fits, place, around, config.crop_size)
        shade_grey(raster)
        depth.depth(pixels, raster, scale)
        draw_landmarks(around.to_crop(face.landmarks, config.crop_size), config.crop_size)
    return PHOTOS


@pytest.mark.parametrize("workers", sorted({1, os.cpu_count() or 1}))
def test_photos(photos: Workspace, tmp_path: Path, workers: int):
    settings = photos.config.preprocess.model_copy(update={"workers": workers})
    config = photos.config.model_copy(update={"preprocess": settings})
    shutil.copytree(photos.photos, tmp_path / "photos")
    workspace = Workspace(tmp_path, config)

    def ours() -> int:
        shutil.rmtree(workspace.corpus, ignore_errors=True)
        return preprocess(workspace).done

    title = f"preprocess, {PHOTO_PX} px, {workers} process(es)"
    compare(title, "photos", ours, lambda: bare(workspace))
