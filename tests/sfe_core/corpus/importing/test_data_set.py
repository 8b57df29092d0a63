"""Importing end to end: images placed, labels and captions merged, problems counted and listed."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captions import read_captions
from sfe_core.corpus.annotations.label_file import read_label_file
from sfe_core.corpus.annotations.labels import Label
from sfe_core.corpus.annotations.labels import labels_of as labels_in
from sfe_core.corpus.artefacts.given_maps import given_mesh_path
from sfe_core.corpus.importing.data_set import ImportPlan, ImportSummary, carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.corpus.importing.placing import Way
from sfe_core.corpus.photo_files import find_photos
from sfe_core.errors import RunError, UserError
from sfe_core.files import key_of

Picture = Callable[[Path], Path]


def plan_of(
    workspace: Workspace, path: Path, images: Path | None = None, scheme: str | None = None,
    **options: object,
) -> ImportPlan:  # fmt: skip
    return plan_import(workspace, find_source(path, None, scheme), images, **options)  # type: ignore[arg-type]


def take_in(
    workspace: Workspace, path: Path, images: Path | None = None, way: Way = "symlink",
    **options: object,
) -> ImportSummary:  # fmt: skip
    return carry_out(workspace, plan_of(workspace, path, images, **options), way)  # type: ignore[arg-type]


def keys_of(workspace: Workspace) -> list[str]:
    return [key_of(path, workspace.photos) for path in find_photos(workspace.photos)]


def labels_of(workspace: Workspace) -> dict[str, Label]:
    labels = labels_in(read_label_file(workspace.photos / "labels.csv"), keys_of(workspace))
    assert labels.unmatched == 0
    return labels.by_key


def box(*values: float) -> dict[str, float]:
    names = ("x", "y", "width", "height")
    return {f"label_face_{name}": value for name, value in zip(names, values, strict=True)}


def test_affectnet_list_with_every_fault(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    summary = take_in(workspace, *affectnet)
    assert keys_of(workspace) == ["1/happy", "2/sad"]
    assert labels_of(workspace) == {
        "1/happy": Label("happy", 0.75, -0.25, None, box(10.0, 11.0, 100.0, 120.0)),
        "2/sad": Label("sad", extra=box(0.0, 0.0, 9.0, 9.0)),
    }
    assert summary.problem_counts == {
        "wrong label": 2, "bad line": 2, "unlabelled": 1, "missing file": 1, "duplicate": 1,
        "contradiction": 1,
    }  # fmt: skip
    assert (summary.images, summary.placed, summary.labelled) == (2, 2, 2)
    assert summary.columns_ignored == ["facial_landmarks"]
    assert summary.problem_list is not None
    with open(summary.problem_list, newline="", encoding="utf-8") as stream:
        listed = list(csv.DictReader(stream))
    assert len(listed) == sum(summary.problem_counts.values())
    assert {row["where"]: row["kind"] for row in listed}["training.csv:8"] == "contradiction"


def test_planning_writes_nothing_but_what_is_passed_over(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    plan = plan_of(workspace, *affectnet)
    assert plan.emotion_counts == {"happy": 1, "sad": 1} and plan.placing
    assert not any(workspace.photos.iterdir())
    assert os.listdir(workspace.root / "imports") == ["training.csv.problems.csv"]
    assert not (workspace.root / "maps").exists()


def test_a_second_import_changes_nothing(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    take_in(workspace, *affectnet)
    files = [workspace.photos / "labels.csv", *(workspace.root / "imports").iterdir()]
    before = [path.read_bytes() for path in files]
    assert take_in(workspace, *affectnet).placed == 0
    assert [path.read_bytes() for path in files] == before
    assert not list(workspace.root.rglob(".sfe-partial-*"))


@pytest.mark.parametrize("way", ["symlink", "hardlink", "copy"])
def test_ways_of_placing(workspace: Workspace, affectnet: tuple[Path, Path], way: Way) -> None:
    take_in(workspace, *affectnet, way=way)
    source, target = affectnet[1] / "1" / "happy.jpg", workspace.photos / "1" / "happy.jpg"
    assert target.read_bytes() == source.read_bytes()
    assert target.is_symlink() == (way == "symlink")
    assert os.path.samefile(source, target) == (way != "copy")


def test_unlabelled_images_are_kept_when_asked(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    take_in(workspace, *affectnet, keep_unlabelled=True)
    assert "1/none" in keys_of(workspace)
    assert labels_of(workspace)["1/none"].emotion is None


def test_sets_with_the_same_names_live_side_by_side(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("one/sad/a.jpg", "two/sad/a.jpg"):
        picture(tmp_path / name).write_bytes(name.encode())
    take_in(workspace, tmp_path / "one")
    clashing = take_in(workspace, tmp_path / "two")
    assert clashing.problem_counts == {"occupied": 1} and clashing.images == 0
    take_in(workspace, tmp_path / "two", into="second")
    assert keys_of(workspace) == ["sad/a", "second/sad/a"]
    assert (workspace.photos / "second/sad/a.jpg").read_bytes() == b"two/sad/a.jpg"


def test_a_list_about_photos_in_the_workspace(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    picture(workspace.photos / "set" / "8" / "a.png")
    path = tmp_path / "paths.csv"
    path.write_text("/cluster/AffectNet/8/a.jpg,4.0\n", encoding="utf-8")
    summary = take_in(workspace, path, into="set")
    assert summary.placed == 0
    assert labels_of(workspace) == {"set/8/a": Label("fear")}
    with pytest.raises(UserError, match="brings nothing.*1 × missing file.*--images"):
        take_in(workspace, path)


def test_what_stood_in_labels_csv_stays(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.png", "b.png"):
        picture(workspace.photos / name)
    (workspace.photos / "labels.csv").write_text("/x/a.jpg,1\n/x/gone.jpg,2\n", encoding="utf-8")
    (tmp_path / "units.csv").write_text("path,AU12,AU2\na,3,0\nb,1,2\n", encoding="utf-8")
    take_in(workspace, tmp_path / "units.csv")
    text = (workspace.photos / "labels.csv").read_text(encoding="utf-8")
    assert text == "key,emotion,AU2,AU12\na,happy,0,3\nb,,2,1\nx/gone.jpg,sad,,\n"


def test_captions_are_merged_and_read_back(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(workspace.photos / name)
    own = workspace.photos / "captions.json"
    own.write_text('{"a.png": "old", "c": "Sad, mine"}', encoding="utf-8")
    (tmp_path / "c.json").write_text(
        json.dumps({"a": ["Happy, new"], "bxx": "Fear, b", "zz": "none"}), encoding="utf-8"
    )
    summary = take_in(workspace, tmp_path / "c.json")
    assert summary.captioned == 2 and summary.problem_counts == {"missing file": 1}
    captions = read_captions(own).of(keys_of(workspace)).by_key
    assert captions == {"a": "Happy, new", "b": "Fear, b", "c": "Sad, mine"}


def test_an_emoca_tree_brings_photos_and_their_renders(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    tree = tmp_path / "EmocaProcessed_38k"
    picture(tree / "inputs" / "810" / "a.png")
    render = picture(tree / "geometry_detail" / "810" / "a.png")
    summary = take_in(workspace, tree)
    assert (summary.images, summary.renders) == (1, 1)
    target = given_mesh_path(workspace.corpus, "810/a")
    assert target.read_bytes() == render.read_bytes()
    render.unlink()
    picture(render).write_bytes(b"another render")
    take_in(workspace, tree)
    assert target.read_bytes() == b"another render"


def test_frames_of_units_bring_whose_face_it_is(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "frames" / "SN001" / "1.png")
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "SN001_au12.txt").write_text("1,4\n", encoding="utf-8")
    take_in(workspace, tmp_path / "codes", tmp_path / "frames")
    assert labels_of(workspace) == {"SN001/1": Label(identity="SN001", extra={"label_AU12": 4.0})}


def test_a_link_whose_goal_is_gone_is_written_anew(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    take_in(workspace, *affectnet)
    link = workspace.photos / "1" / "happy.jpg"
    link.unlink()
    link.symlink_to(workspace.root / "nowhere.jpg")
    assert take_in(workspace, *affectnet).placed == 1
    assert link.is_file()


def test_an_image_that_vanishes_during_the_import_is_listed(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    plan = plan_of(workspace, *affectnet)
    (affectnet[1] / "1" / "happy.jpg").unlink()
    summary = carry_out(workspace, plan)
    assert summary.images == 1 and summary.problem_counts["missing file"] == 2
    assert keys_of(workspace) == ["2/sad"]


def test_a_folder_that_takes_no_files_is_one_clear_line(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    (workspace.photos / "1").write_text("a file where a folder must go", encoding="utf-8")
    with pytest.raises(RunError, match=r"photos/1.*cannot be"):
        take_in(workspace, *affectnet)


@pytest.mark.parametrize("into", ["../up", "/abs"])
def test_into_stays_below_the_photos(
    workspace: Workspace, affectnet: tuple[Path, Path], into: str
) -> None:
    with pytest.raises(UserError, match="--into"):
        plan_of(workspace, *affectnet, into=into)


def test_raf_dbs_list_is_known_by_its_name_and_finds_aligned_faces(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "aligned" / "train_00001_aligned.jpg")
    path = tmp_path / "list_patition_label.txt"
    path.write_text("train_00001.jpg 5\n", encoding="utf-8")
    summary = take_in(workspace, path, tmp_path / "aligned")
    assert summary.scheme == "raf-db"
    assert labels_of(workspace) == {"train_00001_aligned": Label("sad")}


def test_labels_that_are_replaced_are_told(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.png", "b.png"):
        picture(workspace.photos / name)
    own = workspace.photos / "labels.csv"
    own.write_text("File;Label;Note\na.png;happy;mine\nb.png;sad;\n", encoding="utf-16")
    (tmp_path / "list.csv").write_text("path,emotion\na,sad\nb,sad\n", encoding="utf-8")
    summary = take_in(workspace, tmp_path / "list.csv")
    assert own.read_text(encoding="utf-8") == "key,emotion,Note\na,sad,mine\nb,sad,\n"
    assert summary.problem_counts == {"replaced": 1}
    assert summary.problem_list is not None
    assert "a: emotion happy is now sad" in summary.problem_list.read_text(encoding="utf-8")
    assert take_in(workspace, tmp_path / "list.csv").problem_counts == {}


def test_labels_that_cannot_be_merged_stop_an_import_before_anything_is_placed(
    workspace: Workspace, affectnet: tuple[Path, Path]
) -> None:
    own = workspace.photos / "labels.csv"
    own.write_text("image,label\na.png,0\nb.png,6\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.csv: emotions are numbers.*photos\.classes"):
        take_in(workspace, *affectnet)
    assert list(workspace.photos.iterdir()) == [own]


def test_images_of_which_a_list_says_nothing_are_counted(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.png", "b.png", "sub/c.png", "a.jpg"):
        picture(tmp_path / "set" / name)
    (tmp_path / "list.csv").write_text("path,emotion\na.png,sad\n", encoding="utf-8")
    plan = plan_of(workspace, tmp_path / "list.csv", tmp_path / "set")
    assert plan.unnamed == 3
    assert plan.faces["a"].source.name == "a.png"


def test_two_images_of_one_key_are_told(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.png", "a.jpg"):
        picture(tmp_path / "set" / name)
    (tmp_path / "list.csv").write_text("path,emotion\na.png,sad\na.jpg,sad\n", encoding="utf-8")
    plan = plan_of(workspace, tmp_path / "list.csv", tmp_path / "set")
    assert plan.faces["a"].source.name == "a.png"
    assert plan.problems.counts == {"contradiction": 1}
    assert "a.jpg has the key of a.png" in plan.problems.listed[0].detail


def test_bare_names_are_found_in_any_folder_if_one_image_bears_them(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    for name in ("train/1/a_aligned.jpg", "train/2/b.jpg", "test/2/b.jpg"):
        picture(tmp_path / "set" / name)
    path = tmp_path / "list.csv"
    path.write_text("image,label\na.jpg,sad\nB.jpg,fear\nx/a.jpg,fear\n", encoding="utf-8")
    plan = plan_of(workspace, path, tmp_path / "set")
    assert {key: face.labels for key, face in plan.faces.items()} == {
        "train/1/a_aligned": {"emotion": "sad"}
    }
    assert [problem.kind for problem in plan.problems.listed] == ["missing file"] * 2
    assert "B.jpg is the name of 2 images in" in plan.problems.listed[0].detail
