"""The demo of recipe physical with random weights, and what can be done in its folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core import demo
from sfe_core.config.loading import load_workspace
from sfe_core.corpus.buffers import hash_buffers, read_buffers, require_buffers
from sfe_core.corpus.inspection.gate import require_sound
from sfe_core.corpus.people.mean_shape import mean_shape
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation import physical_drawing
from sfe_core.packaging.album_shape import SHAPE_FILE, read_album_shape
from sfe_core.recipes.physical import SPEC
from sfe_core.sampling.pngs import read_remarks
from tests.sfe_cli.typed import sfe
from tests.sfe_core.diffusion.physical.rigs import small_rig

pytestmark = pytest.mark.slow

SIDE, PHOTOS = 32, 6


def ok(*args: object) -> str:
    result = sfe(*args)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sfe demo` leaves; no test changes it."""
    base = tmp_path_factory.mktemp("base")
    small_rig().save_pretrained(base / "rig")
    few = {
        "model.base": str(base / "rig"),
        "model.resolution": SIDE,
        "preprocess.workers": 1,
        "train.steps": 2,
        "train.trackers": [],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "ALBUM", {**demo.ALBUM, "count": PHOTOS, "size_px": 128})
        patch.setattr(demo, "RIG_SETTINGS", {**demo.RIG_SETTINGS, **few})
        patch.setattr(demo, "EDITED_PHOTOS", 1)
        patch.setattr(demo, "EDIT_STEPS", 2)
        patch.setattr(physical_drawing, "STEPS", 2)
        made = tmp_path_factory.mktemp("demo") / "demo"
        said = ok("demo", "--folder", made, "--recipe", "physical", "--seed", 3)
    assert "story.png" in said and "triptychs" not in said
    assert "part of the face" in said and "report.html" in said
    return made


def test_the_demo_leaves_a_sheet_of_edits(folder: Path) -> None:
    # A photo, unedited, three edits and all of them in one, each at 96 px at least.
    sheet = Image.open(folder / "story.png")
    assert sheet.width > 6 * 96 and 96 < sheet.height < 2 * 96
    reports = [json.loads(path.read_text()) for path in folder.glob("generated/edits/*/edits.json")]
    assert len(reports) == 5 and {len(one["pictures"]) for one in reports} == {1}
    asked = {one["asked"]: one["pictures"][0] for one in reports}
    assert {"surprise", "yaw +20", "light left"} <= asked.keys()
    every, turned = asked["surprise, yaw +20, light left"]["edited"], asked["yaw +20"]["edited"]
    assert every["angles"] == turned["angles"] and every["expression"] != turned["expression"]
    plain = asked["surprise, yaw +20, light left, strength 0"]
    for name in ("expression", "angles", "light"):
        np.testing.assert_allclose(plain["edited"][name], plain["source"][name], atol=1e-3)


def test_what_preprocess_draws_of_an_album_is_what_stage_two_reads(folder: Path) -> None:
    workspace = load_workspace(folder)
    corpus = Corpus.open(workspace)
    require_buffers(corpus, corpus.rows, mean_shape=True)
    require_sound(corpus, "train", (), workspace.config.quality, ("mean",))
    checked = SPEC.check(workspace)
    assert checked.told["buffers"] == "the album's mean shape" and checked.images == 4
    assert hash_buffers(corpus.rows, True) != hash_buffers(corpus.rows, False)
    changed = corpus.rows.assign(mean_albedo_sha256="0")
    assert hash_buffers(changed, True) != hash_buffers(corpus.rows, True)
    key = str(corpus.rows["key"].iloc[0])
    mean, own = (read_buffers(corpus, key, SIDE, mean_shape=kind) for kind in (True, False))
    assert mean.shape == (9, SIDE, SIDE) and (mean - own).abs().max() > 0.05


def test_a_package_brings_the_albums_mean_shape(folder: Path, tmp_path: Path) -> None:
    workspace = load_workspace(folder)
    (package,) = workspace.packaged.iterdir()
    found = read_album_shape(package)
    assert found is not None and (found.person, found.reconstruction) == ("3584", "anny")
    mean = mean_shape(workspace.corpus, Corpus.open(workspace).rows["key"])
    np.testing.assert_allclose(found.shape, mean, atol=1e-6)
    assert SHAPE_FILE in (package / "README.md").read_text()
    assert SHAPE_FILE in json.loads((package / "provenance.json").read_text())["files"]
    # Elsewhere, with neither corpus nor album, edits take it from there.
    shutil.copy(folder / "sfe.yaml", tmp_path)
    shutil.copytree(folder / "packaged", tmp_path / "packaged")
    photo = next((folder / "photos").rglob("*.jpg"))
    said = ok(
        "edit", photo, "-w", tmp_path, "--yaw", 10, "--steps", 2, "--redraws", 0,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "own shape" not in said
    (picture,) = (tmp_path / "out").glob("[0-9]*.png")
    np.testing.assert_allclose(read_remarks(picture)["source"]["shape"], mean, atol=1e-5)
    (tmp_path / "packaged" / package.name / SHAPE_FILE).write_bytes(b"torn")
    result = sfe("edit", photo, "-w", tmp_path, "--yaw", 10)
    assert result.exit_code == 1 and "package the checkpoint again" in result.stderr


def test_what_comes_after_a_rigs_package_is_an_edit(folder: Path) -> None:
    said = ok("package-checkpoint", "-w", folder, "--name", "again", "--weights", "raw")
    shutil.rmtree(folder / "packaged" / "again")
    assert "next: `sfe edit PHOTO" in said and "triptych" not in said
    for typed in (("triptych",), ("generate", "a face")):
        result = sfe(*typed, "-w", folder)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
        assert "run `sfe edit PHOTO --package" in result.stderr
    assert "sfe edit" in json.loads(sfe("doctor", "-w", folder, "--json").stdout)["next"]
