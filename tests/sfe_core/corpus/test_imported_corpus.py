"""From somebody's data set to a corpus: import, preprocess, and what the manifest says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.corpus.annotations.blip_captions import FILE, BlipCaptions
from sfe_core.corpus.annotations.captioning import intensities_of
from sfe_core.corpus.annotations.label_file import read_label_file
from sfe_core.corpus.annotations.labels import labels_of
from sfe_core.corpus.artefacts.given_maps import given_mesh_path
from sfe_core.corpus.importing.data_set import carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.corpus.layout import MANIFEST, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import read_manifest
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.faces.crop import CropTransform, crop
from tests.blip_model import write_blip
from tests.sfe_core.corpus.conftest import make_workspace

SOURCES = 'captions.sources=["file|template","attributes","action_units"]'


@pytest.fixture
def tree(tmp_path: Path, portrait: Image.Image) -> Path:
    """An EMOCA tree of one face; the render is a pattern that no head has."""
    folder = tmp_path / "EmocaProcessed"
    for kind in ("inputs", "geometry_detail"):
        (folder / kind / "810").mkdir(parents=True)
    portrait.save(folder / "inputs" / "810" / "a.png")
    across, down = np.meshgrid(np.arange(160), np.arange(160))
    pattern = np.stack([across, down, 255 - across], axis=2).astype(np.uint8)
    pattern[(across - 80) ** 2 / 50**2 + (down - 85) ** 2 / 65**2 > 1] = 0
    Image.fromarray(pattern).save(folder / "geometry_detail" / "810" / "a.png")
    return folder


def shows(path: Path, given: np.ndarray, transform: CropTransform) -> bool:
    """Whether a mesh map is the crop of a given render; black beyond its rim, without specks."""
    mesh = np.asarray(Image.open(path))
    cover = crop(given.any(axis=2).astype(np.float32), transform, mesh.shape[0])
    inside, outside = cover > 0.99, cover < 0.01
    assert inside.mean() > 0.2 and outside.mean() > 0.2
    same = np.array_equal(mesh[inside], crop(given, transform, mesh.shape[0])[inside])
    return same and not mesh[outside].any()


def test_a_given_render_becomes_the_mesh_map_and_changes_with_its_file(
    tmp_path: Path, tree: Path
) -> None:
    workspace = make_workspace(tmp_path / "w")
    carry_out(workspace, plan_import(workspace, find_source(tree, None, None)))
    assert preprocess(workspace).status_counts == {"ok": 1}
    row = read_manifest(workspace.corpus / MANIFEST).iloc[0]
    transform = CropTransform(row["crop_x"], row["crop_y"], row["crop_side"])
    given = np.asarray(Image.open(tree / "geometry_detail" / "810" / "a.png"))
    path = artefact(workspace.corpus, MAP_FOLDERS["mesh"], "810/a")
    assert shows(path, given, transform)

    assert preprocess(workspace).done == 0
    render = given_mesh_path(workspace.corpus, "810/a")
    render.unlink()
    Image.fromarray(given[::-1]).save(render)
    assert preprocess(workspace).done == 1
    assert shows(path, given[::-1], transform)


def test_units_and_attributes_reach_the_captions(tmp_path: Path, tree: Path) -> None:
    workspace = make_workspace(tmp_path / "w", SOURCES)
    carry_out(workspace, plan_import(workspace, find_source(tree, None, None)))
    listed = tmp_path / "units.csv"
    listed.write_text(
        "path,expression,AU12,AU25_c,age,gender,race\n/gone/810/a.jpg,happiness,4,1,39,Female,White\n",
        encoding="utf-8",
    )
    carry_out(workspace, plan_import(workspace, find_source(listed, None, None)))
    preprocess(workspace)
    row = read_manifest(workspace.corpus / MANIFEST).iloc[0]
    assert row["caption"] == (
        "happy, close-up photo of a face, a middle-aged white woman, "
        "lip corners pulled up strongly, lips parted"
    )
    assert row["caption_source"] == "template+attributes+action_units"
    label = labels_of(read_label_file(workspace.photos / "labels.csv"), ["810/a"]).by_key["810/a"]
    assert intensities_of(label) == {"AU12": 4.0, "AU25": None}


def test_blip_captions_what_preprocess_cropped(tmp_path: Path, portrait: Image.Image) -> None:
    settings = ['captions.sources=["blip|template"]', f"captions.blip_model={tmp_path / 'blip'}"]
    write_blip(tmp_path / "blip")
    workspace = make_workspace(tmp_path / "w", *settings)
    portrait.save(workspace.photos / "a.png")
    Image.new("RGB", (100, 100), "green").save(workspace.photos / "lawn.png")
    (workspace.photos / "labels.csv").write_text("a.png,3\n", encoding="utf-8")
    preprocess(workspace)
    rows = read_manifest(workspace.corpus / MANIFEST).set_index("key", drop=False)
    text = BlipCaptions.open(workspace).text(rows.loc["a"])
    assert text and rows.loc["a", "caption"] == f"surprise, {text}"
    assert rows["caption_source"].to_dict() == {"a": "blip", "lawn": "template"}
    written = (workspace.corpus / FILE).read_bytes()
    manifest = (workspace.corpus / MANIFEST).read_bytes()
    preprocess(workspace)
    assert (workspace.corpus / FILE).read_bytes() == written
    assert (workspace.corpus / MANIFEST).read_bytes() == manifest
