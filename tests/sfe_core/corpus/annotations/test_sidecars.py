"""What stands beside photos is read by preprocess, and what is not a caption is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfe_core.corpus.annotations.captioning import Captioner
from sfe_core.corpus.annotations.labels import Label, Labels, with_more_labels
from sfe_core.corpus.annotations.sidecars import Beside, TextsBeside, concept_of
from sfe_core.corpus.photo_files import scan_photos


def read_beside(photos: Path, keys: set[str], scheme: str | None = None) -> Beside:
    return TextsBeside(photos, scan_photos(photos).texts, scheme).of(keys)


def write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_texts_beside_photos_are_captions_and_the_folders_concept_stands_in(tmp_path: Path) -> None:
    write(tmp_path, {
        "10_old_man/a.txt": "\nan old  man, smiling\nsecond line", "10_old_man/b.caption": "b",
        "10_old_man/c.jpg.txt": "\ufeffc", "d.txt": "0 0.5 0.5 0.1 0.2", "10_old_man/z.txt": "no",
        "5_ann/e.csv": "1",
    })  # fmt: skip
    keys = {"10_old_man/a", "10_old_man/b", "10_old_man/c", "10_old_man/f", "d", "5_ann/e"}
    beside = read_beside(tmp_path, keys)
    assert beside.captions == {
        "10_old_man/a": "an old man, smiling", "10_old_man/b": "b", "10_old_man/c": "c",
        "10_old_man/f": "old man",
    }  # fmt: skip
    assert (
        beside.origins["10_old_man/a"] == "sidecar" and beside.origins["10_old_man/f"] == "folder"
    )
    assert "1 of the texts beside photos hold no caption: d.txt" in beside.notes


def test_a_folder_that_is_linked_twice_brings_its_texts_twice_as_its_photos(tmp_path: Path) -> None:
    write(tmp_path / "disk", {"a.txt": "a woman"})
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("one", "two"):
        (photos / name).symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "disk")
    beside = read_beside(photos, {"one/a", "two/a"})
    assert beside.captions == {"one/a": "a woman", "two/a": "a woman"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text,label\n1.png,a happy woman,happy\nx.png,x,sad\n"),
        ("metadata.jsonl", "\n".join(json.dumps(row) for row in (
            {"file_name": "1.png", "text": "a happy woman", "label": "happy"},
            {"file_name": "x.png", "text": "x", "label": "sad"}))),
        ("metadata.jsonl", "\n".join(json.dumps(row) for row in (
            {"label": "happy", "file_name": "1.png"},
            {"file_name": "1.png", "caption": ["a happy woman", "b"]},
            {"file_name": "x.png", "caption": ["c"]}))),
    ],
    ids=["csv", "jsonl", "jsonl of two shapes"],
)  # fmt: skip
def test_metadata_is_about_the_files_of_its_folder(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, {f"hf/train/{name}": text})
    beside = read_beside(tmp_path, {"hf/train/1", "1"})
    assert beside.captions == {"hf/train/1": "a happy woman"}
    assert beside.labels == {"hf/train/1": {"emotion": "happy"}}
    assert f"hf/train/{name}: of its lines, 1 name no photo" in beside.notes


@pytest.mark.parametrize("scheme", [None, "raf-db"])
def test_numbers_in_metadata_are_never_guessed(tmp_path: Path, scheme: str | None) -> None:
    write(tmp_path, {"metadata.csv": "file_name,label\n1.png,1\n2.png,3\n"})
    beside = read_beside(tmp_path, {"1", "2"}, scheme)
    if scheme:
        assert beside.labels == {"1": {"emotion": "surprise"}, "2": {"emotion": "disgust"}}
    else:
        assert beside.labels == {} and "2 have a label that is not an emotion" in beside.notes[0]


def test_labels_csv_and_captions_json_go_before() -> None:
    labels = Labels({"a": Label("sad", extra={"label_age": 30.0})})
    more = {"a": {"emotion": "happy", "valence": "0.5"}, "b": {"emotion": "fear", "age": "20-29"}}
    joined = with_more_labels(labels, more).by_key
    assert joined["a"] == Label("sad", 0.5, extra={"label_age": "30.0"})
    assert joined["b"].emotion == "fear"
    captioner = Captioner((("file",),), "{emotion}", {"a": "x", "b": "y"}, {"b": "sidecar"})
    assert captioner.caption("a", Label()) == ("x", "file")
    assert captioner.caption("b", Label()) == ("y", "sidecar")


@pytest.mark.parametrize(
    ("folder", "concept"),
    [("10_woman", "woman"), ("x/3_old_man", "old man"), ("0_neutral", ""), ("woman", "")],
)
def test_concepts(folder: str, concept: str) -> None:
    assert concept_of(folder) == concept
