"""Class folders, caption files, AffectNet's arrays, EMOCA trees; and which form a set has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sfe_core.corpus.importing.affectnet_arrays import read_affectnet_arrays
from sfe_core.corpus.importing.caption_json import read_caption_json
from sfe_core.corpus.importing.class_folders import read_class_folders
from sfe_core.corpus.importing.emoca_tree import read_emoca_tree
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.formats import find_source
from sfe_core.errors import UserError

Picture = Callable[[Path], Path]


def collect(
    read: Callable[[Problems], Iterator[Entry]],
) -> tuple[list[Entry], list[tuple[str, str]]]:
    problems = Problems()
    entries = list(read(problems))
    return entries, [(problem.where, problem.kind) for problem in problems.listed]


def test_class_folders_by_name(tmp_path: Path, picture: Picture) -> None:
    for name in ("train/happiness/a.jpg", "train/Angry/sub/b.png", "readme/c.jpg"):
        picture(tmp_path / name)
    entries, problems = collect(lambda p: read_class_folders(tmp_path, None, p))
    assert {entry.image: entry.labels["emotion"] for entry in entries} == {
        "train/Angry/sub/b.png": "anger",
        "train/happiness/a.jpg": "happy",
    }
    assert problems == [("readme/c.jpg", "wrong label")]


def test_class_folders_by_number_mean_what_the_scheme_says(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("test/1/a.jpg", "test/7/b.jpg", "test/9/c.jpg"):
        picture(tmp_path / name)
    entries, problems = collect(lambda p: read_class_folders(tmp_path, "raf-db", p))
    assert [entry.labels["emotion"] for entry in entries] == ["surprise", "neutral"]
    assert problems == [("test/9/c.jpg", "wrong label")]
    asked = r"1 × 1, 7 × 1, 9 × 1.*affectnet or ferplus: happy 1.*--classes"
    with pytest.raises(UserError, match=asked):
        find_source(tmp_path, None, None)


def classes_of(folder: Path, scheme: str | None = None) -> tuple[dict[str, str], str | None]:
    source = find_source(folder, None, scheme)
    entries = source.read([], Problems())
    return {entry.image: entry.labels["emotion"] for entry in entries}, source.scheme


@pytest.mark.parametrize("scheme", [None, "affectnet"])
@pytest.mark.parametrize(
    ("names", "emotions"),
    [
        (["happy/01/a.jpg", "happy/02/b.jpg", "sad/01/c.jpg"], "happy happy sad"),
        (["01/Angry/a.jpg", "02/Fear/b.jpg"], "anger fear"),
        (["anger/Ann/z.jpg", "fear/Bob/y.jpg", "sad/Joy/x.jpg"], "anger fear sad"),
        (["train/0_neutral/a.jpg", "train/1-happiness/b.jpg"], "neutral happy"),
    ],
    ids=["frames below", "persons above", "a person called Joy", "ordered names"],
)
def test_named_classes_go_before_numbers(
    tmp_path: Path, picture: Picture, names: list[str], emotions: str, scheme: str | None
) -> None:
    for name in names:
        picture(tmp_path / name)
    expected = dict(zip(names, emotions.split(), strict=True))
    assert classes_of(tmp_path, scheme) == (expected, None)


def test_numbers_of_persons_are_told_from_those_of_classes(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("14/1/a.jpg", "15/4/b.jpg", "116/4/c.jpg"):
        picture(tmp_path / "persons" / name)
    found, _ = classes_of(tmp_path / "persons", "raf-db")
    assert list(found.values()) == ["happy", "surprise", "happy"]
    picture(tmp_path / "both" / "1/02/a.jpg")
    with pytest.raises(UserError, match=r"two levels of folders are numbers.*1/02/a.jpg"):
        classes_of(tmp_path / "both", "raf-db")


@pytest.mark.parametrize(
    ("folder", "names", "scheme"),
    [
        ("DATASET", ["train/1/train_00001_aligned.jpg", "test/7/test_0001_aligned.jpg"], "raf-db"),
        ("fer2013", ["train/0/a.jpg", "test/6/b.jpg"], "fer2013"),
        ("AffectNet", ["val/0/a.jpg", "val/7/b.jpg"], "affectnet"),
        ("x", ["3/S005_001_00000011.png", "7/S010_002_00000014.png"], "ck+"),
    ],
)
def test_numbered_folders_of_known_sets(
    tmp_path: Path, picture: Picture, folder: str, names: list[str], scheme: str
) -> None:
    for name in names:
        picture(tmp_path / folder / name)
    assert classes_of(tmp_path / folder)[1] == scheme


def test_folders_without_classes_are_refused(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "holiday" / "a.jpg")
    with pytest.raises(UserError, match="named after an emotion"):
        collect(lambda p: read_class_folders(tmp_path, None, p))


def test_captions_in_their_variants(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(
        '{"a/x": "Happy,  a man", "b.jpg": ["", "Sad, a woman", "z"], "c": 5, "d": "", '
        '"../e": "up", "a/x": "again"}',
        encoding="utf-8",
    )
    entries, problems = collect(lambda p: read_caption_json(path, p))
    assert [(entry.image, entry.caption) for entry in entries] == [
        ("a/x", "Happy, a man"), ("b.jpg", "Sad, a woman"), ("a/x", "again"),
    ]  # fmt: skip
    assert [kind for _, kind in problems] == ["wrong label", "unlabelled", "bad line"]


@pytest.mark.parametrize("text", ["[1]", "{", '"x"'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"c\.json"):
        collect(lambda p: read_caption_json(path, p))


def test_affectnets_arrays(tmp_path: Path) -> None:
    folder = tmp_path / "val_set" / "annotations"
    folder.mkdir(parents=True)
    np.save(folder / "5_exp.npy", np.array("6"))
    np.save(folder / "5_val.npy", np.array("-0.5"))
    np.save(folder / "5_aro.npy", np.array([0.25]))
    np.save(folder / "6_exp.npy", np.array(11))
    np.save(folder / "7_exp.npy", np.array([{"code": "runs"}], dtype=object), allow_pickle=True)
    (folder / "8_exp.npy").write_bytes(b"")
    entries, problems = collect(lambda p: read_affectnet_arrays(tmp_path, p))
    assert [(entry.image, entry.labels) for entry in entries] == [
        ("val_set/images/5", {"emotion": "anger", "valence": "-0.5", "arousal": "0.25"})
    ]
    assert problems == [
        ("val_set/annotations/6_exp.npy", "wrong label"),
        ("val_set/annotations/7_exp.npy", "bad line"),
        ("val_set/annotations/8_exp.npy", "bad line"),
    ]


def test_emoca_trees_pair_inputs_with_renders(tmp_path: Path, picture: Picture) -> None:
    for name in ("inputs/8/a.png", "inputs/8/b.png", "geometry_detail/8/a.png",
                 "geometry_detail/9/c.png"):  # fmt: skip
        picture(tmp_path / name)
    entries, problems = collect(lambda p: read_emoca_tree(tmp_path, p))
    assert [(entry.image, entry.mesh) for entry in entries] == [
        ("8/a.png", tmp_path / "geometry_detail" / "8" / "a.png")
    ]
    assert problems == [
        ("inputs/8/b.png", "missing file"), ("geometry_detail/9/c", "missing file"),
    ]  # fmt: skip


def test_the_form_is_told_by_the_files(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "classes" / "sad" / "a.jpg")
    picture(tmp_path / "emoca" / "inputs" / "a.png")
    picture(tmp_path / "emoca" / "geometry_detail" / "a.png")
    (tmp_path / "arrays" / "annotations").mkdir(parents=True)
    np.save(tmp_path / "arrays" / "annotations" / "1_exp.npy", np.array("1"))
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "SN001_au1.txt").write_text("1,0\n", encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps({}), encoding="utf-8")
    (tmp_path / "l.csv").write_text("path,emotion\n", encoding="utf-8")
    names = ("classes", "emoca", "arrays", "units", "c.json", "l.csv")
    forms = [find_source(tmp_path / name, None, None).form for name in names]
    assert forms == ["folders", "emoca", "affectnet-arrays", "units", "captions", "list"]


@pytest.mark.parametrize(
    ("name", "form", "scheme", "message"),
    [
        ("gone", None, None, "does not exist"),
        ("here", "csv", None, "'csv' is unknown; choose list"),
        ("here", None, "kaggle", "'kaggle' is unknown; choose affectnet"),
        ("here", "captions", None, "is a folder; --format captions reads a file"),
    ],
)
def test_what_there_is_not(
    tmp_path: Path, name: str, form: str | None, scheme: str | None, message: str
) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match=message):
        find_source(tmp_path / name, form, scheme)
