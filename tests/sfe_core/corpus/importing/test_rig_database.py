"""DiffusionRig's data bases: photos, buffers and codes come along, and reach the corpus."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.given_maps import given_path
from sfe_core.corpus.artefacts.kinds import ARTEFACTS
from sfe_core.corpus.importing.data_set import ImportSummary, carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.corpus.layout import mean_shape_path
from sfe_core.corpus.preprocessing.preprocess import plan_preprocess, preprocess
from sfe_core.errors import UserError
from tests.listening import Listener
from tests.rig_files import pickled_on_gpu, write_rig_database
from tests.sfe_core.corpus.conftest import make_workspace


@pytest.fixture
def photos() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, (24, 24, 3)).astype(np.uint8)) for _ in range(3)
    ]


def take_in(workspace: Workspace, folder: Path, into: str = "") -> ImportSummary:
    source = find_source(folder, None, None)
    assert source.form == "diffusion-rig"
    return carry_out(workspace, plan_import(workspace, source, into=into))


def expected(buffers: dict[str, torch.Tensor], index: int) -> dict[str, np.ndarray]:
    normal, albedo, rendered = (
        buffers[name][index].permute(1, 2, 0).numpy() for name in ("normal", "albedo", "rendered")
    )
    hit = (normal != 0).any(axis=2, keepdims=True)
    found = {
        "normals": np.where(hit, (normal + 1) / 2, 0),
        "albedo": albedo,
        "lambertian": rendered,
    }
    return {kind: (values.clip(0, 1) * 255).round() for kind, values in found.items()}


def test_photos_and_buffers_are_written_and_written_again_as_they_were(
    workspace: Workspace, tmp_path: Path, photos: list[Image.Image]
) -> None:
    buffers = write_rig_database(tmp_path / "ffhq", photos, codes=True)
    before = sorted(path.name for path in (tmp_path / "ffhq").iterdir())
    summary = take_in(workspace, tmp_path / "ffhq", "ffhq")
    assert (summary.images, summary.placed, summary.renders) == (3, 3, 3)
    assert summary.problem_counts == {} and summary.mean_shape is None
    for index, photo in enumerate(photos):
        stored = Image.open(workspace.photos / f"ffhq/{index:06d}.png")
        assert np.array_equal(np.asarray(stored), np.asarray(photo))
        for kind, values in expected(buffers, index).items():
            path = given_path(workspace.corpus, kind, f"ffhq/{index:06d}")
            assert np.array_equal(np.asarray(Image.open(path)), values), kind
        with np.load(given_path(workspace.corpus, "codes", f"ffhq/{index:06d}")) as codes:
            assert codes["given_shape"].shape == (100,) and codes["given_identity"].shape == (150,)
            assert codes["given_identity"][0] == np.float32(index * 1.5)
    again = take_in(workspace, tmp_path / "ffhq", "ffhq")
    assert (again.images, again.placed) == (3, 0)
    # The data base is only read.
    assert sorted(path.name for path in (tmp_path / "ffhq").iterdir()) == before


@pytest.mark.parametrize("dump", [pickle.dumps, pickled_on_gpu])
def test_an_albums_mean_shape_is_kept_for_its_person(
    workspace: Workspace, tmp_path: Path, photos: list[Image.Image], dump
) -> None:
    folder, shape = tmp_path / "anna", torch.linspace(-2, 2, 100)[None]
    write_rig_database(folder, photos)
    (folder / "mean_shape.pkl").write_bytes(dump(shape))
    summary = take_in(workspace, folder)
    assert summary.mean_shape == mean_shape_path(workspace.corpus, "anna")
    assert summary.mean_shape == workspace.corpus / "mean_shapes" / "anna.npz"
    with np.load(summary.mean_shape) as stored:
        assert np.array_equal(stored["shape"], shape[0].numpy())
    assert (workspace.photos / "anna" / "000002.png").is_file()
    take_in(workspace, folder, "bea/album")
    assert mean_shape_path(workspace.corpus, "bea").is_file()
    with pytest.raises(UserError, match="happy is no person's folder; say whose with --into NAME"):
        take_in(workspace, folder, "happy")


def test_what_is_wrong_with_a_photo_is_listed_and_the_others_come(
    workspace: Workspace, tmp_path: Path, photos: list[Image.Image]
) -> None:
    wrong = {
        "length": b"5",
        "albedo_000001": pickle.dumps(torch.zeros(3, 9, 9)),
        "image_000003": b"no picture",
        **{f"{name}_000003": pickle.dumps(torch.zeros(3, 24, 24)) for name in
           ("normal", "albedo", "rendered")},
    }  # fmt: skip
    write_rig_database(tmp_path / "set", photos, wrong)
    summary = take_in(workspace, tmp_path / "set")
    assert (summary.images, summary.renders) == (3, 2)
    assert summary.problem_list is not None
    text = summary.problem_list.read_text(encoding="utf-8")
    assert "000004,missing file,has no image_000004" in text
    assert "[3, 9, 9], expected [3, 24, 24]" in text and "000003.png" in text
    assert not given_path(workspace.corpus, "normals", "000001").exists()


class _Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["SFE_TEST_MADE"],)


@pytest.mark.parametrize("key", ["normal_000000", "rendered_000002", "mean_shape.pkl"])
def test_a_pickle_that_would_run_something_ends_the_import(
    workspace: Workspace, tmp_path: Path, photos: list[Image.Image], key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SFE_TEST_MADE", str(tmp_path / "made"))
    evil = pickle.dumps(_Evil())
    write_rig_database(tmp_path / "anna", photos, {} if "." in key else {key: evil})
    if "." in key:
        (tmp_path / "anna" / key).write_bytes(evil)
    with pytest.raises(UserError, match=f"{key}: is not read: .*names (posix|nt).mkdir") as error:
        take_in(workspace, tmp_path / "anna")
    assert "\n" not in str(error.value) and not (tmp_path / "made").exists()
    if not key.endswith("2"):  # seen before anything is written
        assert list(workspace.photos.iterdir()) == []


def test_other_data_bases_are_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: list[Image.Image]
) -> None:
    write_rig_database(tmp_path / "set", photos, {"length": b"\x80many"})
    with pytest.raises(UserError, match="an LMDB of another kind: it has no length"):
        take_in(workspace, tmp_path / "set")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "data.mdb").write_bytes(b"torn")
    with pytest.raises(UserError, match="torn: is an LMDB that cannot be read"):
        take_in(workspace, tmp_path / "torn")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError, match=r"lmdb is not installed; pip install 'sfe\[lmdb\]'"):
        take_in(workspace, tmp_path / "set")


def test_given_buffers_become_the_corpuss_artefacts(tmp_path: Path, portrait: Image.Image) -> None:
    """Preprocess draws none of its own where some came with the photo, in crop and photo."""
    settings = (
        "preprocess.save_buffers=true", "preprocess.full_canvas=true", "preprocess.mean_shape=true",
        "preprocess.crop_rule=as-is", "preprocess.crop_size=160", "quality.sound_buffers=false",
    )  # fmt: skip
    workspace = make_workspace(tmp_path / "w", *settings)
    portrait.save(workspace.photos / "plain.png")
    buffers = write_rig_database(tmp_path / "anna", [portrait], codes=True)
    take_in(workspace, tmp_path / "anna", "anna")
    listener = Listener()
    assert preprocess(workspace, listener).status_counts == {"ok": 2}, listener.lines
    for kind, values in expected(buffers, 0).items():
        for name in (kind, f"full_{kind}", f"mean_{kind}"):
            path = ARTEFACTS[name].path(workspace.corpus, "anna/000000")
            assert np.array_equal(np.asarray(Image.open(path)), values), name
        own = np.asarray(Image.open(ARTEFACTS[kind].path(workspace.corpus, "plain")))
        assert not np.array_equal(own, values)
    with np.load(ARTEFACTS["codes"].path(workspace.corpus, "anna/000000")) as codes:
        assert codes["given_shape"].shape == (100,) and "camera_scale" in codes
    with np.load(ARTEFACTS["codes"].path(workspace.corpus, "plain")) as codes:
        assert "given_shape" not in codes
    assert plan_preprocess(workspace).jobs == []
    # Another buffer changes what is made of it, and nothing else.
    path = given_path(workspace.corpus, "albedo", "anna/000000")
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    (job,) = plan_preprocess(workspace).jobs
    assert job.wanted == {"albedo", "full_albedo"}
    preprocess(workspace)
    mean, own = (ARTEFACTS[name].path(workspace.corpus, "anna/000000").read_bytes() for name in
                 ("mean_albedo", "albedo"))  # fmt: skip
    assert mean == own
