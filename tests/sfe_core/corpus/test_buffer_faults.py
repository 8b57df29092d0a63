"""Good buffers pass; each kind of bad ones is found, and named with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.kinds import ARTEFACTS
from sfe_core.corpus.buffer_faults import buffer_faults
from sfe_core.corpus.inspection.gate import find_faults, require_sound
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.files import sha256_file
from sfe_core.synthesis.photos import synthesize_albums
from tests.sfe_core.corpus.conftest import make_workspace

Buffers = tuple[Pixels, Pixels, Pixels, Floats]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(
        tmp_path_factory.mktemp("album"),
        "preprocess.save_buffers=true",
        "preprocess.mean_shape=true",
    )
    synthesize_albums(workspace.root, (3, 9), 4, ("neutral", "happy", "fear"), size_px=128)
    preprocess(workspace)
    return workspace


@pytest.fixture
def good(album: Workspace) -> Buffers:
    """Normals, albedo, shaded picture and landmarks of one face."""
    corpus = Corpus.open(album)
    key = corpus.rows["key"][0]
    pictures = [
        np.array(Image.open(ARTEFACTS[name].path(album.corpus, key)))
        for name in ("normals", "albedo", "lambertian")
    ]
    points = corpus.points(key).double().numpy() * 64
    return pictures[0], pictures[1], pictures[2], points


def test_what_preprocess_draws_is_good(album: Workspace) -> None:
    corpus = Corpus.open(album)
    assert len(corpus.rows) >= 6
    assert set(corpus.rows["buffer_faults"]) == set(corpus.rows["mean_buffer_faults"]) == {""}
    rows, quality = corpus.rows, QualityConfig()
    assert find_faults(corpus, rows, (), quality, True, buffers=("photo", "mean")) == []


def test_a_head_that_covers_too_little_is_found(good: Buffers) -> None:
    normals, albedo, shaded, points = good
    assert buffer_faults(*good) == []
    for picture in (normals, albedo, shaded):
        picture[:, 30:] = 0
    assert any("covers 0." in fault for fault in buffer_faults(normals, albedo, shaded, points))
    empty = np.zeros_like(normals)
    assert "show no head" in buffer_faults(empty, empty, empty, points)[0]


def test_a_head_beside_the_landmarks_is_found(good: Buffers) -> None:
    normals, albedo, shaded, points = good
    moved = [np.roll(picture, 25, axis=1) for picture in (normals, albedo, shaded)]
    for picture in moved:
        picture[:, :25] = 0
    faults = buffer_faults(*moved, points)
    assert any("lies beside the landmarks" in fault for fault in faults)
    assert all("preprocess.reconstruction" in fault for fault in faults)


@pytest.mark.parametrize(
    ("factor", "word"), [(0.5, "long instead of 1"), (0.0, "long instead of 1")]
)
def test_normals_out_of_range_are_found(good: Buffers, factor: float, word: str) -> None:
    normals, albedo, shaded, points = good
    hit = normals.any(axis=2, keepdims=True)
    shrunk = np.where(hit, (normals / 127.5 - 1.0) * factor * 127.5 + 127.5, 0).astype(np.uint8)
    assert word in buffer_faults(shrunk, albedo, shaded, points)[0]


def test_constant_pictures_are_found(good: Buffers) -> None:
    normals, albedo, shaded, points = good
    hit = normals.any(axis=2, keepdims=True)

    def flat(*colour: int) -> Pixels:
        return np.where(hit, np.array(colour), 0).astype(np.uint8)

    front = flat(128, 128, 255)
    assert "all the same" in buffer_faults(front, albedo, shaded, points)[0]
    assert "one flat colour" in buffer_faults(normals, flat(180, 140, 120), shaded, points)[0]
    assert "white throughout" in buffer_faults(normals, flat(255, 255, 255), shaded, points)[0]
    assert "black throughout" in buffer_faults(normals, flat(1, 1, 1), shaded, points)[0]
    assert "one flat colour" in buffer_faults(normals, albedo, flat(90, 80, 70), points)[0]
    assert "is white" in buffer_faults(normals, albedo, flat(255, 255, 255), points)[0]
    assert "is black" in buffer_faults(normals, albedo, flat(1, 1, 1), points)[0]


@pytest.mark.parametrize(("colour", "word"), [((60, 200, 70), "green"), ((20, 10, 250), "no skin")])
def test_impossible_spots_in_the_albedo_are_found(
    good: Buffers, colour: tuple[int, int, int], word: str
) -> None:
    normals, albedo, shaded, points = good
    x, y = points[30].astype(int)
    albedo[y - 4 : y + 4, x - 4 : x + 4] = colour
    faults = buffer_faults(normals, albedo, shaded, points)
    assert len(faults) == 1 and word in faults[0] and "leave it out" in faults[0]


def test_holes_in_the_albedo_are_found(good: Buffers) -> None:
    normals, albedo, shaded, points = good
    albedo[:32] = 0
    assert "has no albedo" in buffer_faults(normals, albedo, shaded, points)[0]


def test_the_check_names_bad_faces_before_training(album: Workspace, tmp_path: Path) -> None:
    shutil.copytree(album.root, tmp_path / "w")
    workspace = Workspace(tmp_path / "w", album.config)
    corpus = Corpus.open(workspace)
    key, other = corpus.split("train")["key"][:2]
    green = np.array(Image.open(ARTEFACTS["albedo"].path(workspace.corpus, key)))
    green[24:44, 24:44] = (40, 220, 40)
    path = ARTEFACTS["albedo"].path(workspace.corpus, key)
    Image.fromarray(green).save(path)
    quality = QualityConfig()
    (fault,) = find_faults(corpus, corpus.rows, (), quality, buffers=("photo",))
    assert (fault.key, fault.problem) == (key, "albedo is not what preprocess wrote")
    # As it would be of a corpus that came so.
    frame = read_manifest(workspace.corpus / MANIFEST)
    frame.loc[frame["key"] == key, "albedo_sha256"] = sha256_file(path)
    frame["buffer_faults"] = None
    write_manifest(workspace.corpus / MANIFEST, frame)
    ARTEFACTS["mean_normals"].path(workspace.corpus, other).unlink()
    corpus = Corpus.open(workspace)
    faults = find_faults(corpus, corpus.rows, (), quality, buffers=("photo", "mean"))
    assert [one.key for one in faults] == [key, other]
    assert faults[0].problem.startswith("buffers: ") and "green" in faults[0].problem
    assert faults[1].problem == "mean_normals is missing"
    with pytest.raises(UserError, match="green"):
        require_sound(corpus, "train", (), quality, ("photo",))
    assert find_faults(corpus, corpus.rows, (), quality) == []
