"""EMOCA, DECA and ZoeDepth through preprocess as `sfe preprocess` runs it; weights are random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.corpus.artefacts.kinds import ARTEFACTS, artefacts_of
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import plain_rows, read_manifest
from sfe_core.corpus.preprocessing.preprocess import plan_preprocess, preprocess
from sfe_core.errors import UserError
from sfe_core.faces.flame.parameters import load_flame
from tests.emoca_files import write_deca_model, write_emoca_model
from tests.flame_files import write_flame_model
from tests.sfe_core.corpus.conftest import make_workspace
from tests.zoedepth_files import KITTI, NYU, write_zoedepth


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flame_model(tmp_path_factory.mktemp("flame"))


@pytest.fixture(scope="module")
def emoca(tmp_path_factory: pytest.TempPathFactory, flame: Path) -> Path:
    template = torch.tensor(load_flame(flame).v_template).float()
    folder = tmp_path_factory.mktemp("emoca") / "EMOCA_v2_lr_mse_20"
    return write_emoca_model(folder, template, exp_deca_jaw_pose=True)


@pytest.mark.slow
def test_emoca_and_zoedepth_in_crop_and_photo(
    tmp_path: Path, own_assets_root: Path, portrait: Image.Image, flame: Path, emoca: Path
) -> None:
    settings = [
        "preprocess.reconstruction=emoca", f"preprocess.reconstruction_model={emoca}",
        f"preprocess.flame={flame}", "preprocess.crop_rule=emoca", "preprocess.depth=zoedepth",
        "preprocess.depth_input=photo", "preprocess.full_canvas=true", "preprocess.overlay=true",
        "preprocess.save_meshes=true", "preprocess.save_detailed_meshes=true",
        "quality.mesh_coverage=[0, 1]",
        "quality.landmarks_on_mesh=[0, 1]", "quality.depth_relief=[0, 1]",
        "quality.most_fit_error=100",  # random networks: no head is near its face
    ]  # fmt: skip
    workspace = make_workspace(tmp_path, *settings)
    portrait.save(workspace.photos / "a.png")
    portrait.resize((200, 180)).save(workspace.photos / "b.png")
    with pytest.raises(UserError, match="zoedepth"):
        preprocess(workspace)
    write_zoedepth(own_assets_root / "zoedepth", [NYU, KITTI])
    assert preprocess(workspace).status_counts == {"ok": 2}
    rows = {row["key"]: row for row in plain_rows(read_manifest(workspace.corpus / MANIFEST))}
    for kind in artefacts_of(workspace.config.preprocess):
        assert kind.path(workspace.corpus, "b").is_file(), kind.name
        assert len(rows["b"][kind.column]) == 64, kind.name
    assert rows["a"]["actions"] is None and rows["a"]["depth_unit"] == "1/m"
    with np.load(ARTEFACTS["codes"].path(workspace.corpus, "a")) as codes:
        assert codes["shape"].shape == (100,) and codes["detail"].shape == (128,)

    def read(name: str) -> np.ndarray:
        return np.asarray(Image.open(ARTEFACTS[name].path(workspace.corpus, "b")))

    assert read("full_depth").shape == (180, 200) and read("full_mesh").shape == (180, 200, 3)
    assert np.ptp(read("full_depth")) > 0 and read("overlay").shape == (180, 600, 3)
    assert (read("mesh") != read("geometry_coarse")).any()
    assert plan_preprocess(workspace).jobs == []


def test_deca_by_its_own_file(tmp_path: Path, portrait: Image.Image, flame: Path) -> None:
    model = write_deca_model(tmp_path / "deca_model.tar")
    workspace = make_workspace(
        tmp_path, "preprocess.reconstruction=deca", f"preprocess.reconstruction_model={model}",
        f"preprocess.flame={flame}",
    )  # fmt: skip
    portrait.save(workspace.photos / "a.png")
    preprocess(workspace)
    (row,) = plain_rows(read_manifest(workspace.corpus / MANIFEST))
    assert row["status"] in ("ok", "out_of_range"), row["reason"]
    coarse = np.asarray(Image.open(ARTEFACTS["geometry_coarse"].path(workspace.corpus, "a")))
    assert coarse.shape == (64, 64, 3)
