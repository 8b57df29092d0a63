"""Synthetic faces per second, beside a loop that only renders them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sfe_core.synthesis.photos import plan_photos, synthesize
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.benchmarks.conftest import PHOTO_PX
from tests.benchmarks.measure import compare

pytestmark = pytest.mark.benchmark
FACES = 16


def bare() -> int:
    faces = [
        render_face(sample_face(plan.seed, plan.emotion, plan.identity), PHOTO_PX)
        for plan in plan_photos(FACES, seed=3)
    ]
    return len(faces)


@pytest.mark.parametrize("workers", sorted({1, os.cpu_count() or 1}))
def test_faces(tmp_path: Path, workers: int):
    def ours() -> int:
        shutil.rmtree(tmp_path / "work", ignore_errors=True)
        return synthesize(tmp_path / "work", FACES, seed=3, size_px=PHOTO_PX, workers=workers)

    compare(f"synthesize, {PHOTO_PX} px, {workers} process(es)", "faces", ours, bare)
