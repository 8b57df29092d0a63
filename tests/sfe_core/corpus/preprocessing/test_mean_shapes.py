"""Buffers with an album's mean shape: the mean is one, and the files follow the album."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.edited_scene import changed_scene, scene_of_person
from sfe_core.corpus.artefacts.hashes import parse_made_with
from sfe_core.corpus.artefacts.kinds import ARTEFACTS
from sfe_core.corpus.inspection.verify import verify_corpus
from sfe_core.corpus.people.mean_shape import mean_shape
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.stored_scene import stored_codes, stored_scene
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.reconstruction import HeadChange
from sfe_core.synthesis.photos import synthesize_albums
from tests.sfe_core.corpus.conftest import make_workspace

MEAN = ("mean_normals", "mean_albedo", "mean_lambertian")
SETTINGS = ("preprocess.save_buffers=true", "preprocess.mean_shape=true")


@pytest.fixture(scope="module")
def albums(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two people, three and two photos."""
    workspace = make_workspace(tmp_path_factory.mktemp("albums"), *SETTINGS)
    synthesize_albums(workspace.root, (3, 9), 3, ("neutral", "happy"), size_px=128)
    (workspace.photos / "0009" / "002.jpg").unlink()
    preprocess(workspace)
    return workspace


def written(workspace: Workspace, key: str) -> dict[str, bytes]:
    return {name: ARTEFACTS[name].path(workspace.corpus, key).read_bytes() for name in MEAN}


def test_the_mean_shape_is_the_mean_over_the_album(albums: Workspace) -> None:
    keys = [f"0003/{number:03d}" for number in range(3)]
    codes = np.stack([stored_codes(albums.corpus, key)["identity"] for key in keys])
    assert codes.std(axis=0).max() > 0.01, "the same shape in all photos would prove nothing"
    mean = mean_shape(albums.corpus, keys)
    np.testing.assert_allclose(mean, codes.mean(axis=0), atol=1e-6)


def test_a_stored_face_is_drawn_as_it_was(albums: Workspace) -> None:
    corpus = Corpus.open(albums)
    for key in corpus.rows["key"]:
        scene = stored_scene(
            albums.corpus, corpus.row(key), AnnyReconstructor(), albums.config.preprocess
        )
        for name in ("normals", "albedo", "lambertian"):
            stored = np.asarray(Image.open(ARTEFACTS[name].path(albums.corpus, key)), int)
            assert np.abs(stored - ARTEFACTS[name].content(scene)).mean() < 0.1, (key, name)


def test_the_pictures_show_the_mean_shape(albums: Workspace) -> None:
    corpus = Corpus.open(albums)
    maker = AnnyReconstructor()
    key = "0003/001"
    mean = mean_shape(albums.corpus, [f"0003/{number:03d}" for number in range(3)])
    scene = stored_scene(albums.corpus, corpus.row(key), maker, albums.config.preprocess)
    shown = scene_of_person(scene, mean)
    np.testing.assert_allclose(shown.head.codes["identity"], mean, atol=1e-6)
    laid = changed_scene(scene, HeadChange(identity=mean))
    far, near = (np.abs(one.head.landmarks - scene.landmarks).mean() for one in (laid, shown))
    assert near < 0.9 * far, "found anew under it, not laid on"
    for name, content in zip(MEAN, (shown.normals, shown.albedo, shown.lambertian), strict=True):
        path = ARTEFACTS[name].path(albums.corpus, key)
        assert path.parent.parent.parent.name == "mean_shape"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), content)
    assert not np.array_equal(shown.normals, scene.normals)


def test_hashes_verify_and_tidy_know_of_them(albums: Workspace, tmp_path: Path) -> None:
    shutil.copytree(albums.root, tmp_path / "w")
    workspace = make_workspace(tmp_path / "w", *SETTINGS)
    found = verify_corpus(workspace)
    assert not (found.missing or found.changed or found.orphans)
    row = Corpus.open(workspace).row("0003/000")
    assert set(MEAN) <= parse_made_with(row["made_with"]).keys()
    assert len(row["mean_normals_sha256"]) == 64
    before = {key: written(workspace, key) for key in ("0003/000", "0009/000")}
    # Nothing to do the second time; a lost one is made again.
    times = [path.stat().st_mtime_ns for path in (workspace.corpus / "mean_shape").rglob("*.png")]
    ARTEFACTS["mean_albedo"].path(workspace.corpus, "0003/000").unlink()
    preprocess(workspace)
    again = [path.stat().st_mtime_ns for path in (workspace.corpus / "mean_shape").rglob("*.png")]
    assert len(set(times) & set(again)) == len(times) - 3
    assert before == {key: written(workspace, key) for key in before}
    # An album that shrinks has another mean, and the other one keeps its own.
    (workspace.photos / "0003" / "002.jpg").unlink()
    preprocess(workspace, prune=True)
    assert written(workspace, "0009/000") == before["0009/000"]
    assert written(workspace, "0003/000") != before["0003/000"]
    assert not ARTEFACTS["mean_normals"].path(workspace.corpus, "0003/002").exists()
    found = verify_corpus(workspace)
    assert not (found.missing or found.changed or found.orphans)
    # Nobody asks for them any more.
    preprocess(make_workspace(workspace.root, "preprocess.save_buffers=true"))
    assert not list((workspace.corpus / "mean_shape").rglob("*.png"))
    found = verify_corpus(workspace)
    assert not (found.missing or found.changed or found.orphans)
