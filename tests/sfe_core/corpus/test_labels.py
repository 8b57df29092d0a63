"""Label files: both forms, keys that match, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.corpus.labels import KeyMatcher, Label, read_labels
from sfe_core.errors import UserError

KEYS = ["a/one", "a/two", "two", "Ünïcode/ф b"]


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_headed_file_as_synthesize_writes_it(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "key,emotion,valence,arousal,AU12,identity,age,sex,light\n"
        "a/one,happy,0.5,-0.25,3.5,17,31.5,female,side\n"
        "gone,sad,0,0,0,1,1,male,soft\n",
    )
    labels = read_labels(path, KEYS)
    assert labels.unmatched == 1
    assert labels.by_key == {
        "a/one": Label(
            "happy",
            0.5,
            -0.25,
            "17",
            {"label_AU12": 3.5, "label_age": 31.5, "label_sex": "female", "label_light": "side"},
        )
    }


def test_headerless_file_with_paths_of_another_machine(tmp_path: Path) -> None:
    path = write(tmp_path, "/data/set/a/one.jpg,3\nC:\\set\\two.png,7.0\n/x/nowhere.jpg,1\n")
    labels = read_labels(path, KEYS)
    assert labels.by_key == {"a/one": Label("surprise"), "two": Label("contempt")}
    assert labels.unmatched == 1


def test_longest_tail_wins_and_unicode_is_composed() -> None:
    matcher = KeyMatcher(KEYS)
    assert matcher.tail("/data/a/two.jpg") == "a/two"
    assert matcher.tail("/data/b/two.jpg") == "two"
    assert matcher.exact("U\u0308ni\u0308code/ф b.jpeg") == "Ünïcode/ф b"
    assert matcher.exact("a/three") is None
    assert matcher.tail("/x/U\u0308ni\u0308code/ф b.jpeg") == "Ünïcode/ф b"
    assert [matcher.tail(path) for path in ("", "/", "b/one.jpg", "a/one.jpg.bak")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("0", "neutral"),
        ("4.0", "fear"),
        (" Anger ", "anger"),
        ("8", None),
        ("10.0", None),
        ("-1", None),
        ("", None),
        ("Happiness", "happy"),
        ("SU", "surprise"),
        ("joy", "happy"),
        ("Uncertain", None),
    ],
)
def test_emotions_by_number_and_name(tmp_path: Path, text: str, emotion: str | None) -> None:
    path = write(tmp_path, f"key,emotion\na/one,{text}\n")
    assert read_labels(path, KEYS).by_key["a/one"].emotion == emotion


@pytest.mark.parametrize("text", ["11", "1.5", "joyish", "-2"])
def test_unknown_emotions_name_the_line_and_list_the_known(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f"key,emotion\na/one,happy\na/two,{text}\n")
    with pytest.raises(UserError, match=r"labels.csv:3.*neutral.*contempt"):
        read_labels(path, KEYS, "affectnet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,emotion\n../up,happy\n", r"labels.csv:2.*\.\./up"),
        ("/data/../up.jpg,1\n", r"labels.csv:1.*`\.\.`"),
        ("key,emotion\n/abs,happy\n", r"labels.csv:2.*/abs"),
        ("key,valence\na/one,1.5\n", r"labels.csv:2.*valence 1.5.*-1 to 1"),
        ("key,valence\na/one,high\n", r"labels.csv:2.*'high' is no number"),
        ("key,emotion\na/one\n", r"labels.csv:2.*1 cells, the header has 2"),
        ("a/one.jpg,1,2\n", r"labels.csv:1.*3 columns and no header"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_labels(write(tmp_path, text), KEYS)


def test_absent_and_empty_files_are_no_labels(tmp_path: Path) -> None:
    assert read_labels(tmp_path / "labels.csv", KEYS).by_key == {}
    assert read_labels(write(tmp_path, "\n\n"), KEYS).by_key == {}


def test_uncertain_affect_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "key,valence,arousal\na/one,-2,nan\n")
    assert read_labels(path, KEYS).by_key["a/one"] == Label()


def test_other_encodings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("key,emotion\nfö,happy\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_labels(path, KEYS)


def test_a_further_column_has_one_type_and_texts_stay_as_written(tmp_path: Path) -> None:
    path = write(tmp_path, "key,age,code\na/one,31,007\na/two,unknown,12\ntwo,5,\n")
    extras = {key: label.extra for key, label in read_labels(path, KEYS).by_key.items()}
    assert extras == {
        "a/one": {"label_age": "31", "label_code": 7.0},
        "a/two": {"label_age": "unknown", "label_code": 12.0},
        "two": {"label_age": "5"},
    }
