"""EMOCA's and DECA's own output, a folder an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.given_maps import given_mesh_path
from sfe_core.corpus.importing.data_set import carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source

Picture = Callable[[Path], Path]


@pytest.mark.parametrize("below", ["", "set/"])
def test_inputs_go_by_the_names_of_their_folders_with_emocas_renders(
    workspace: Workspace, tmp_path: Path, picture: Picture, below: str
) -> None:
    out = tmp_path / "out"
    for name in ("a_00", "b_00"):
        for kind in ("inputs", "geometry_coarse", "geometry_detail", "out_im_detail"):
            picture(out / below / name / f"{kind}.png")
        (out / below / name / "shape.npy").write_bytes(b"\x93NUMPY")
    (out / below / "b_00" / "geometry_detail.png").unlink()
    source = find_source(out, None, None)
    assert source.form == "emoca"
    summary = carry_out(workspace, plan_import(workspace, source))
    assert (summary.images, summary.renders) == (2, 1)
    assert summary.columns_told[0].startswith("5 other pictures")
    assert summary.problem_counts == {"missing file": 1}
    for name in ("a_00", "b_00"):
        stored = (workspace.photos / below / f"{name}.png").read_bytes()
        assert stored == (out / below / name / "inputs.png").read_bytes()
    render = given_mesh_path(workspace.corpus, f"{below}a_00").read_bytes()
    assert render == (out / below / "a_00" / "geometry_detail.png").read_bytes()


def test_decas_demo_brings_its_inputs(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("a", "b"):
        for kind in ("inputs", "shape_images", "shape_detail_images", "landmarks2d"):
            picture(tmp_path / "results" / name / f"{name}_{kind}.jpg")
    summary = carry_out(
        workspace, plan_import(workspace, find_source(tmp_path / "results", None, None))
    )
    assert (summary.images, summary.renders) == (2, 0)
    assert sorted(path.name for path in workspace.photos.glob("*.jpg")) == ["a.jpg", "b.jpg"]


def test_photos_that_are_called_inputs_are_photos(tmp_path: Path, picture: Picture) -> None:
    for name in ("happy/inputs.png", "sad/x_inputs.png"):
        picture(tmp_path / name)
    assert find_source(tmp_path, None, None).form == "folders"
