"""A photo's own expression, read and changed, on a packaged tiny model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.loading import preset_config
from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_files import AskedRow
from sfe_core.controls.expression_text import read_change
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.preprocessing.single_photo import scene_of_photo
from sfe_core.errors import UserError
from sfe_core.packaging.listing import newest_package
from sfe_core.packaging.package import package_checkpoint
from sfe_core.sampling.asked_face import with_change
from sfe_core.sampling.generate import generate
from sfe_core.sampling.photo_units import PhotoUnits, PhotoUnitsReader, told_of_change
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.sweep import Request
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.sfe_core.sampling.conftest import with_sampling
from tests.tiny_workspace import make_units_run

SMILE = read_change(["AU12=+2"])


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "her.png"
    Image.fromarray(render_face(sample_face(5, "sad", 77), 160).image).save(path)
    return path


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    preprocess = workspace.config.preprocess.model_copy(update={"crop_size": 64, "min_face_px": 24})
    config = workspace.config.model_copy(update={"preprocess": preprocess})
    return Workspace(workspace.root, config)


@pytest.fixture(scope="module")
def scene(photo: Path) -> FaceScene:
    preprocess = preset_config("tiny").preprocess
    return scene_of_photo(photo, preprocess.model_copy(update={"min_face_px": 24}))


def test_a_change_moves_what_its_units_move_and_nothing_else(scene: FaceScene):
    still = with_change(scene, SMILE.scaled(0.0))
    assert np.array_equal(still.landmarks, scene.landmarks)
    assert np.array_equal(still.head.points, scene.head.points)
    changed = with_change(scene, SMILE)
    assert changed.transform == scene.transform and changed.head.angles == scene.head.angles
    moved = np.linalg.norm(changed.landmarks - scene.landmarks, axis=1) / scene.transform.side
    assert moved[[48, 54]].min() > 0.01  # corners of the mouth
    assert moved[17:31].max() < 0.002  # brows and bridge: sad as they were
    left, right = (
        np.linalg.norm(with_change(scene, read_change([one])).landmarks[[54, 48]]
                       - scene.landmarks[[54, 48]], axis=1)
        for one in ("AU12L=+2", "AU12R=+2")
    )  # fmt: skip
    assert left[0] > 3 * left[1] and right[1] > 3 * right[0]  # 54: the person's left


def test_the_configured_network_reads_and_the_head_what_it_does_not_know(scene: FaceScene):
    reader = PhotoUnitsReader("tiny-units-loss", [read_change(["AU12=+1,AU18=+2"])])
    shown = reader.read(scene, read_change(["AU12=+1,AU18=+2"]))
    assert set(shown.read) == {"tiny-units-loss", "fitted head"}
    network = shown.read["tiny-units-loss"]
    assert len(network) == 18 and set(shown.read["fitted head"]) == {"AU18"}
    assert all(0 <= value <= 5 for sides in network.values() for value in sides)
    assert network["AU26"][0] == network["AU26"][1]  # a jaw has no halves
    assert max(network["AU4"]) > max(network["AU12"])  # she is sad
    with pytest.raises(UserError, match="AU45: neither tiny-units-loss nor the fitted head"):
        PhotoUnitsReader("tiny-units-loss", [read_change(["AU45=+1"])])
    with pytest.raises(UserError, match="gone"):
        PhotoUnitsReader("gone", [SMILE])


def test_a_network_is_told_the_photos_units_and_the_change():
    shown = PhotoUnits(
        {"net": {"AU12": (1.0, 0.5), "AU25": (2.0, 2.0)}, "fitted head": {"AU18": (0.5, 0.5)}}
    )
    known = ("AU12", "AU25", "AU27")  # nobody read the last: it stays free
    assert told_of_change(SMILE, shown, known) == {
        "AU12L": 3.0, "AU12R": 2.5, "AU25L": 2.0, "AU25R": 2.0,
    }  # fmt: skip
    pressed = read_change(["AU24=+3"])
    assert told_of_change(pressed, shown, ("AU25",)) == {"AU25L": 0.0, "AU25R": 0.0}


def test_maps_alone_show_the_change_and_the_record_says_who_read(workspace: Workspace, photo: Path):
    plain = read_record(generate(workspace, Request(prompt="x", like=photo)).pictures[0])
    request = Request(like=photo, change=SMILE, sweep="intensity", count=2)
    made = generate(workspace, request)
    still, changed = (read_record(path) for path in made.pictures)
    assert still["maps"] == plain["maps"]  # the photo's own face, to the byte
    assert all(changed["maps"][name] != image for name, image in plain["maps"].items())
    assert changed["change"] == {"AU12": [2.0, 2.0]} and still["change"] == {"AU12": [0.0, 0.0]}
    assert changed["read_by"].keys() == {"tiny-units-loss"} and "units" not in changed
    assert changed["read_by"] == made.shown.record()
    assert made.prompts[0] == "close-up photo of a face"  # without a prompt the captions' template
    assert generate(workspace, request).drawn == 0


@pytest.mark.slow
def test_lines_of_a_table_are_drawn_as_if_typed_alone(workspace: Workspace, photo: Path):
    other = photo.with_name("him.png")
    Image.fromarray(render_face(sample_face(9, "happy", 3), 160).image).save(other)
    frown = read_change(["AU4=+2"])
    rows = (
        AskedRow("t:2", like=photo, change=SMILE),
        AskedRow("t:3", like=other, change=frown),
        AskedRow("t:4", like=photo, change=frown),
        AskedRow("t:5", "own", "x", like=other),
        AskedRow("t:6", "word", "x", expression=AskedExpression("sad"), by_word=True),
    )
    made = generate(workspace, Request(rows=rows))
    typed = [
        Request(like=photo, change=SMILE),
        Request(like=other, change=frown),
        Request(like=photo, change=frown),
        Request(prompt="x", like=other),
        Request(prompt="x", emotion="sad"),
    ]
    for path, request in zip(made.pictures, typed, strict=True):
        assert read_record(path) == read_record(generate(workspace, request).pictures[0])
    assert made.shown is None and generate(workspace, Request(rows=rows)).drawn == 0


@pytest.mark.slow
def test_a_package_that_knows_units_is_told_them_as_read(workspace: Workspace, photo: Path):
    make_units_run(workspace, ("AU4", "AU12", "AU45"), alone=False)
    package = package_checkpoint(workspace, name="units").folder
    made = generate(workspace, Request(prompt="x", like=photo, change=SMILE), package)
    record = read_record(made.pictures[0])
    read = record["read_by"]["tiny-units-loss"]
    assert record["units"] == {
        "AU4L": read["AU4"][0],
        "AU4R": read["AU4"][1],
        "AU12L": min(read["AU12"][0] + 2, 5),
        "AU12R": min(read["AU12"][1] + 2, 5),
    }
    assert record["drawn_with"]["units_guidance_scale"] == 4.0 and record["maps"]


def test_what_goes_wrong_is_told_before_the_photo_is_looked_at(
    workspace: Workspace, tmp_path: Path
):
    gone = Request(like=tmp_path / "gone.png", change=SMILE)
    with pytest.raises(UserError, match="no-reader"):
        generate(with_sampling(workspace, units_reader="no-reader"), gone)
    with pytest.raises(UserError, match="gone.png"):
        generate(workspace, gone)
    shutil.rmtree(newest_package(workspace) / "guidance_encoder")
    with pytest.raises(UserError, match="guidance_encoder"):
        generate(workspace, gone)
