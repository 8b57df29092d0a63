"""Copies and people in a corpus: who stands with whom, what is told, what older corpora get."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from sfe_cli.main import app
from sfe_core.config.corpus_sections import SplitConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.labels import Label
from sfe_core.corpus.inspection.stats import corpus_stats
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.people import face_vectors, sides
from sfe_core.corpus.people.duplicates import Duplicates, HashedFace
from sfe_core.corpus.people.sides import Sides, choose_sides
from sfe_core.corpus.preprocessing.preprocess import PreprocessSummary, preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from tests.cases.copies import COPIES, PEOPLE, make
from tests.cases.portraits import portrait
from tests.sfe_core.corpus.conftest import make_workspace


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, PreprocessSummary]:
    workspace = make_workspace(
        tmp_path_factory.mktemp("copies"), "preprocess.crop_size=128",
        "preprocess.reconstruction=anny", "split.validation_fraction=0.4",
    )  # fmt: skip
    make(workspace.photos)
    (workspace.photos / "labels.csv").write_text("key,emotion\n0,happy\n0 (1),sad\n1,fear\n")
    return workspace, preprocess(workspace)


def rows_of(workspace: Workspace) -> pd.DataFrame:
    return read_manifest(workspace.corpus / MANIFEST).set_index("key")


@pytest.mark.slow
def test_copies_stand_with_their_original(copied: tuple[Workspace, PreprocessSummary]) -> None:
    rows = rows_of(copied[0])
    assert set(rows["status"]) == {"ok"} and set(rows["split"]) == {"train", "val300"}
    for person in range(PEOPLE):
        assert rows["split"][f"{person} (1)"] == rows["split"][str(person)]
        assert rows["duplicate_of"][f"{person} (1)"] == str(person)
    for kind in COPIES:
        assert rows["split"][f"0 {kind}"] == rows["split"]["0"]
    assert rows["duplicate_of"].notna().sum() == PEOPLE + len(COPIES)


def test_copies_and_two_labels_are_told(copied: tuple[Workspace, PreprocessSummary]) -> None:
    workspace, summary = copied
    assert (summary.sides.duplicates.copies, summary.sides.duplicates.exact) == (
        PEOPLE + len(COPIES),
        PEOPLE,
    )
    assert summary.sides.contradictions == ("0 happy, 0 (1) sad",)
    stats = corpus_stats(Corpus.open(workspace), workspace.config)
    assert (stats.copies, stats.exact_copies) == (PEOPLE + len(COPIES), PEOPLE)
    assert stats.contradictions == ["0 happy, 0 (1) sad"]
    page = summary.report.read_text()
    assert "0 happy, 0 (1) sad" in page and "People: none known" in page
    checked = CliRunner().invoke(app, ["corpus", "check", "-w", str(workspace.root)])
    assert "0 happy, 0 (1) sad" in checked.output and checked.exit_code == 0


def test_an_older_corpus_is_hashed_from_its_crops(
    copied: tuple[Workspace, PreprocessSummary], tmp_path: Path
) -> None:
    shutil.copytree(copied[0].root, tmp_path / "w")
    workspace = make_workspace(
        tmp_path / "w", "preprocess.crop_size=128", "split.validation_fraction=0.4"
    )
    path, now = workspace.corpus / MANIFEST, rows_of(copied[0])
    older = read_manifest(path).drop(columns=["face_hash", "duplicate_of", "identity_source"])
    write_manifest(path, older)
    summary = preprocess(workspace)
    assert summary.done == 0 and summary.sides.duplicates.copies == PEOPLE + len(COPIES)
    pd.testing.assert_frame_equal(rows_of(workspace), now)
    assert not list(workspace.corpus.rglob("*.jsonl"))


@pytest.mark.slow
def test_folders_of_people_are_kept_whole(tmp_path: Path) -> None:
    workspace = make_workspace(
        tmp_path, "preprocess.crop_size=128", "split.validation_fraction=0.4"
    )
    for number, name in enumerate(("anna", "ben", "chloe")):
        for emotion in ("neutral", "happy", "surprise"):
            path = workspace.photos / name / emotion / "1.jpg"
            path.parent.mkdir(parents=True)
            portrait(number, emotion).save(path, quality=94)
    summary = preprocess(workspace)
    rows = rows_of(workspace)
    assert summary.sides.people.told() == "3 known (folders)"
    assert set(rows["identity"]) == {"anna", "ben", "chloe"}
    assert set(rows["identity_source"]) == {"folders"}
    assert rows.groupby("identity")["split"].nunique().tolist() == [1, 1, 1]
    assert set(rows["split"]) == {"train", "val300"}
    before = (workspace.corpus / MANIFEST).read_bytes()
    preprocess(workspace)  # what was seen of the faces stands
    assert (workspace.corpus / MANIFEST).read_bytes() == before


def sides_of(
    workspace: Workspace, faces: list[HashedFace], labels: dict[str, Label], **split: object
) -> Sides:
    config = workspace.config.model_copy(update={"split": SplitConfig(**split)})
    return choose_sides(Workspace(workspace.root, config), faces, labels, {})


def test_people_of_celebas_list_stand_together(tmp_path: Path) -> None:
    keys = [f"celeba/img_align_celeba/{n:06d}" for n in range(8)]
    listed = {f"{n:06d}": f"CelebA {n % 2}" for n in range(6)}
    people = choose_sides(make_workspace(tmp_path), plain(keys), {}, listed).people
    assert people.of == {key: f"CelebA {n % 2}" for n, key in enumerate(keys[:6])}


def plain(keys: list[str]) -> list[HashedFace]:
    return [HashedFace(key, 2 if "#2" in key else 1, f"{key}.jpg", "") for key in keys]


def test_one_person_alone_is_told(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    keys = [f"{n}" for n in range(10)]
    found = sides_of(workspace, plain(keys), {key: Label(identity="Ann") for key in keys})
    assert set(found.splits.values()) == {"train"}
    assert "nothing is held out" in found.notes[0] and "Ann with 10 faces" in found.notes[0]
    apart = sides_of(
        workspace, plain(keys), {key: Label(identity="Ann") for key in keys}, identity="none"
    )
    assert "val300" in apart.splits.values()
    assert apart.notes == ("the same person may stand on both sides: split.identity is none",)


def test_people_larger_than_the_split_are_told(tmp_path: Path) -> None:
    labels = {f"{who}/{n}": Label(identity=who) for who in ("Ann", "Bo") for n in range(50)}
    found = sides_of(make_workspace(tmp_path), plain(list(labels)), labels)
    held = {labels[key].identity for key, split in found.splits.items() if split == "val300"}
    assert len(held) == 1
    assert found.notes == (
        "50 faces are held out instead of 15: people and copies stay whole; "
        "the largest is Ann with 50 faces",
    )


def test_others_on_a_photo_stand_with_the_one_it_is_of(tmp_path: Path) -> None:
    keys = [f"AF{n:02d}NES{face}" for n in range(1, 20) for face in ("", "#2")]
    found = sides_of(make_workspace(tmp_path), plain(keys), {}, validation_fraction=0.4)
    assert all(found.splits[key] == found.splits[f"{key}#2"] for key in keys if "#" not in key)
    assert set(found.splits.values()) == {"train", "val300"}


def test_splits_of_labelled_people_are_as_they_were(tmp_path: Path) -> None:
    """By the names of the people alone, whatever the folders and file names say."""
    labels = {
        f"anna/AF{n % 7:02d}NES{n}": Label(identity=str(n % 11), emotion="happy") for n in range(99)
    }
    found = sides_of(make_workspace(tmp_path), plain(list(labels)), labels)
    held = {label.identity for key, label in labels.items() if found.splits[key] == "val300"}
    assert held == {"7"}  # as before there were other sources
    assert found.people.by_source == {"labels": 11}


def test_a_table_gives_back_the_copies() -> None:
    table = pd.DataFrame(
        {
            "key": ["a", "b", "c", "d"],
            "duplicate_of": [None, "a", "a", None],
            "photo_sha256": ["x", "x", "y", "z"],
            "face_number": [1, 1, 1, 1],
        }
    )
    found = Duplicates.of_table(table)
    assert found.groups == (("a", "b", "c"),) and (found.copies, found.exact) == (2, 1)


def test_copies_under_two_names_are_told_and_kept_together(tmp_path: Path) -> None:
    faces = [HashedFace(f"{n}", 1, f"{n // 2}", "") for n in range(20)]
    labels = {f"{n}": Label(identity=f"who {n}") for n in range(20)}
    found = sides_of(make_workspace(tmp_path), faces, labels)
    assert all(found.splits[f"{n}"] == found.splits[f"{n + 1}"] for n in range(0, 20, 2))
    assert set(found.splits.values()) == {"train", "val300"}
    assert found.notes[0] == "10 photos stand under the names of two people (0 who 0, 1 who 1)"


def test_if_all_are_copies_labelled_people_still_stand_apart(tmp_path: Path) -> None:
    faces = [HashedFace(f"{n}", 1, "same", "") for n in range(10)]
    labels = {f"{n}": Label(identity="Ann" if n < 6 else "Bo") for n in range(8)}
    found = sides_of(make_workspace(tmp_path), faces, labels)
    held = {key for key, split in found.splits.items() if split == "val300"}
    assert held == {"6", "7"}
    assert "copies that labels.csv gives to different people" in " ".join(found.notes)


def test_clusters_need_dlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "can_embed", lambda: False)
    with pytest.raises(UserError, match="split.identity: clusters"):
        sides_of(make_workspace(tmp_path), [], {}, identity="clusters")


def test_without_dlib_folders_are_only_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_vectors, "can_embed", lambda: False)
    keys = [f"{name}/{n}" for name in ("anna", "ben") for n in range(5)]
    found = sides_of(make_workspace(tmp_path), plain(keys), {})
    assert found.people.told() == "none known"
    assert "takes dlib to tell: anna, ben" in found.notes[0]
    forced = sides_of(make_workspace(tmp_path), plain(keys), {}, identity="folders").people
    assert forced.told() == "2 known (folders)"
