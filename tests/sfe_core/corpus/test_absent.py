"""Photos that cannot be seen just now keep their rows and pictures, until somebody prunes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import told, why_absent
from sfe_core.corpus.artefacts.given_maps import given_mesh_path
from sfe_core.corpus.artefacts.kinds import ARTEFACTS
from sfe_core.corpus.inspection.verify import verify_corpus
from sfe_core.corpus.layout import MANIFEST, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import plain_rows, read_manifest
from sfe_core.corpus.preprocessing.plan import plan_preprocess
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from tests.listening import Listener
from tests.sfe_core.corpus.conftest import make_workspace


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image) -> Workspace:
    """One photo of its own, and three linked from another disk, one without a face."""
    root = tmp_path_factory.mktemp("linked")
    disk, workspace = root / "disk", make_workspace(root / "w")
    disk.mkdir()
    portrait.save(workspace.photos / "a.png")
    portrait.resize((200, 200)).save(disk / "b.png")
    portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(disk / "c.png")
    Image.new("RGB", (100, 100), "green").save(disk / "lawn.png")
    (workspace.photos / "far").mkdir()
    for name in ("b.png", "c.png", "lawn.png"):
        (workspace.photos / "far" / name).symlink_to(disk / name)
    (workspace.photos / "labels.csv").write_text(
        "key,emotion,identity\na,happy,1\nfar/b,sad,2\nfar/c,happy,3\n", encoding="utf-8"
    )
    preprocess(workspace)
    return workspace


@pytest.fixture
def copied(linked: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it whose links lead to a copy of the disk."""
    shutil.copytree(linked.root.parent, tmp_path / "all", symlinks=True)
    for link in (tmp_path / "all" / "w" / "photos" / "far").iterdir():
        link.unlink()
        link.symlink_to(tmp_path / "all" / "disk" / link.name)
    return make_workspace(tmp_path / "all" / "w")


def rows_of(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in plain_rows(read_manifest(workspace.corpus / MANIFEST))}


def pictures_of(workspace: Workspace) -> dict[str, bytes]:
    folders = [workspace.corpus / kind.folder for kind in ARTEFACTS.values()]
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*.*")}


def unmount(workspace: Workspace) -> Path:
    return (workspace.root.parent / "disk").rename(workspace.root.parent / "elsewhere")


def test_absent_photos_keep_rows_pictures_labels_and_sides(copied: Workspace) -> None:
    before, pictures = rows_of(copied), pictures_of(copied)
    away = unmount(copied)
    listener = Listener()
    summary = preprocess(copied, listener)
    after = rows_of(copied)
    assert summary.status_counts == {"missing": 3, "ok": 1} and summary.pruned == []
    assert pictures_of(copied) == pictures
    assert summary.labels_matched == 3 and summary.labels_unmatched == 0
    for key in ("far/b", "far/c"):
        assert after[key]["status"] == "missing"
        for column in ("split", "emotion", "inputs_sha256", "landmarks", "made_with", "caption"):
            assert after[key][column] == before[key][column]
    [warning] = listener.warnings
    assert warning.startswith("3 photos of the corpus cannot be seen just now (3: links to ")
    assert str(away.with_name("disk")) in warning and "--prune" in warning
    assert set(Corpus(copied.corpus).rows["key"]) == {"a"}  # is learnt from meanwhile
    found = verify_corpus(copied)
    assert found.whole == found.files and not found.orphans


def test_photos_that_are_back_are_not_taken_in_again(copied: Workspace) -> None:
    before = read_manifest(copied.corpus / MANIFEST)
    away = unmount(copied)
    preprocess(copied)
    away.rename(away.with_name("disk"))
    # Of a photo without a face nothing was kept that would spare the work.
    assert [job.key for job in plan_preprocess(copied).jobs] == ["far/lawn"]
    preprocess(copied)
    assert read_manifest(copied.corpus / MANIFEST).astype(str).equals(before.astype(str))


def test_only_pruning_forgets(copied: Workspace) -> None:
    unmount(copied)
    assert plan_preprocess(copied).absent == ["far/b.png", "far/c.png", "far/lawn.png"]
    assert plan_preprocess(copied, prune=True).stale == ["far/b", "far/c", "far/lawn"]
    assert len(rows_of(copied)) == 4  # a plan removes nothing
    summary = preprocess(copied, prune=True)
    assert summary.pruned == ["far/b", "far/c", "far/lawn"]
    assert set(rows_of(copied)) == {"a"}
    assert not artefact(copied.corpus, "inputs", "far/b").exists()
    assert verify_corpus(copied).orphans == []


def test_a_killed_run_whose_disk_goes_away_loses_nothing(copied: Workspace) -> None:
    pictures = pictures_of(copied)
    journal = copied.corpus / ".journal"
    journal.mkdir()
    (journal / "1-0.jsonl").write_text("", encoding="utf-8")
    unmount(copied)
    preprocess(copied)
    assert pictures_of(copied) == pictures and len(rows_of(copied)) == 4


def test_a_photo_that_cannot_be_read_for_once_loses_nothing(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = pictures_of(copied)
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.suffix == ".png" and path.parent.name == "far":
            raise OSError(5, "Input/output error")
        return real(path)

    target = "sfe_core.corpus.preprocessing.plan.sha256_file"
    monkeypatch.setattr(target, lambda path: read_bytes(path).hex())
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    summary = preprocess(copied)
    monkeypatch.undo()
    assert summary.status_counts["missing"] == 3
    assert rows_of(copied)["far/b"]["reason"] == "Input/output error"
    assert pictures_of(copied) == pictures
    assert preprocess(copied).status_counts == {"ok": 3, "no_face": 1}


def test_a_given_render_that_is_away_keeps_the_mesh_made_of_it(copied: Workspace) -> None:
    elsewhere = copied.root.parent / "renders"
    elsewhere.mkdir()
    Image.new("RGB", (160, 160), "white").save(elsewhere / "a.png")
    given = given_mesh_path(copied.corpus, "a")
    given.parent.mkdir(parents=True)
    given.symlink_to(elsewhere / "a.png")
    preprocess(copied)
    pictures = pictures_of(copied)
    assert Image.open(artefact(copied.corpus, MAP_FOLDERS["mesh"], "a")).getextrema()[0] == (
        255,
        255,
    )
    elsewhere.rename(copied.root.parent / "gone")
    listener = Listener()
    assert preprocess(copied, listener).kept == 4
    assert pictures_of(copied) == pictures
    assert listener.warnings[0].startswith("1 given renders below maps/ cannot be seen just now")


def test_labels_that_are_away_stop_the_run_before_they_are_lost(copied: Workspace) -> None:
    before = rows_of(copied)
    labels = copied.photos / "labels.csv"
    labels.rename(copied.root.parent / "disk" / "labels.csv")
    labels.symlink_to(copied.root.parent / "disk" / "labels.csv")
    assert preprocess(copied).labels_matched == 3
    unmount(copied)
    with pytest.raises(UserError, match="labels.csv: links to .*which is not there"):
        preprocess(copied)
    assert rows_of(copied) == before


def test_a_photo_saved_in_another_format_takes_its_place(
    copied: Workspace, portrait: Image.Image
) -> None:
    (copied.photos / "a.png").unlink()
    portrait.save(copied.photos / "a.webp", lossless=True)
    summary = preprocess(copied)
    assert "missing" not in summary.status_counts
    assert rows_of(copied)["a"]["photo"] == "a.webp"


def test_an_empty_photos_folder_removes_nothing(copied: Workspace) -> None:
    pictures = pictures_of(copied)
    shutil.rmtree(copied.photos)
    for _ in range(2):
        with pytest.raises(UserError, match="photos"):
            preprocess(copied, prune=True)
        copied.photos.mkdir(exist_ok=True)
    assert pictures_of(copied) == pictures and len(rows_of(copied)) == 4


def test_reasons_name_the_place_at_fault(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "here").mkdir(parents=True)
    os.symlink("/nowhere/set", photos / "set")
    os.symlink("/nowhere/x.jpg", photos / "here" / "x.jpg")
    assert why_absent(photos, "here/y.jpg") == "is not in photos/here any more"
    assert why_absent(photos, "gone/deep/y.jpg") == "photos/gone is not there"
    assert why_absent(photos, "set/deep/y.jpg").startswith("links to /nowhere/set, where")
    assert why_absent(photos, "here/x.jpg").startswith("links to /nowhere, where")
    assert told(["p"]).startswith("1 photo of") and "and 2 more places" in told("abcde")
