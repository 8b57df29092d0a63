"""Label files: both forms, keys that match, and errors that name the line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from sfe_core.corpus.annotations.label_file import read_label_file
from sfe_core.corpus.annotations.labels import Label, Labels, labels_of
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.errors import UserError

KEYS = ["a/one", "a/two", "two", "Ünïcode/ф b"]


def read_labels(path: Path, keys: Iterable[str], scheme: str | None = None) -> Labels:
    return labels_of(read_label_file(path, scheme), keys)


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
        ("key,valence\na/one,high\n", r"labels.csv:2.*'high' is not a number"),
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


@pytest.mark.parametrize("name", ["photos/Labels.CSV", "photos/labels.tsv", "labels.csv"])
def test_a_label_file_that_is_not_read_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / name).write_text("key,emotion\ntwo,sad\n", encoding="utf-8")
    found = read_labels(tmp_path / "photos" / "labels.csv", KEYS)
    assert found.by_key == {} and f"{tmp_path / name} is not read" in found.notes[0]


def test_a_file_without_a_line_is_told(tmp_path: Path) -> None:
    for text in ("", "key,emotion\n"):
        assert read_labels(write(tmp_path, text), KEYS).notes == ("labels.csv: has no line",)


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


@pytest.mark.parametrize(
    "text",
    [
        "key,label\na/one,happy\ntwo,sad\n",
        "Key;Expression\na/one;Happiness\ntwo;SA\n",
        "FileName\tClass\n/x/a/one.JPG\tHA\ntwo.png\tsadness\n",
        "Image Name,Emotion\nA/One.jpg,Happy\nTWO.png,Sad\n",
        ",filename,emotion\n0,a/one.jpg,happy\n1,two.jpg,sad\n",
        "path,label,label_name\na/one.jpg,3,happy\ntwo.jpg,4,sad\n",
        "picture,how\na/one.jpg,happy\ntwo.jpg,sad\n",
        "a/one.jpg happy\ntwo.jpg sad\n",
    ],
    ids=["label", "semicolon", "tab", "any case", "row numbers", "names over numbers",
         "by cells", "blanks"],
)  # fmt: skip
def test_headers_people_write(tmp_path: Path, text: str) -> None:
    found = read_labels(write(tmp_path, text), KEYS)
    assert {key: label.emotion for key, label in found.by_key.items()} == {
        "a/one": "happy",
        "two": "sad",
    }
    assert (found.scheme, found.notes) == (None, ())


def test_a_bare_name_is_found_in_any_folder_if_one_photo_bears_it(tmp_path: Path) -> None:
    keys = ["s1/one", "s2/one", "s2/Two\u0308", "three"]
    found = read_labels(write(tmp_path, "image,emotion\none.jpg,sad\nx/two.jpg,sad\n"), keys)
    assert (list(found.by_key), found.unmatched) == ([], 2)
    path = write(tmp_path, "image,emotion\ntwo\u0308.JPG,sad\nx/three.jpg,fear\n")
    assert list(read_labels(path, keys).by_key) == ["s2/Two\u0308", "three"]
    path = write(tmp_path, "key,emotion\ntwo\u0308,sad\n")  # a key is a whole path
    assert read_labels(path, keys).unmatched == 1


def test_subject_id_and_decimal_comma(tmp_path: Path) -> None:
    text = "subject;image;valence;Age;note\nS1;a/one.jpg;0,5;31,5;x\nS1;two.jpg;-0,25;20;y\n"
    found = read_labels(write(tmp_path, text), KEYS).by_key["a/one"]
    assert found == Label(None, 0.5, None, "S1", {"label_age": 31.5, "label_note": "x"})


def test_numbers_of_sfes_own_forms_are_affectnets_and_that_is_told(tmp_path: Path) -> None:
    for text in ("key,expression\na/one,1\ntwo,2\n", "/d/a/one.jpg,1\n/d/two.jpg,2.0\n"):
        found = read_labels(write(tmp_path, text), KEYS)
        assert [label.emotion for label in found.by_key.values()] == ["happy", "sad"]
        assert found.scheme == "affectnet"
        assert "read as AffectNet's (happy 1, sad 1)" in found.notes[0]
        assert "photos.classes" in found.notes[0]


def test_numbers_whose_names_tell_the_set(tmp_path: Path) -> None:
    path = write(tmp_path, "image,label\ntrain_00001_aligned.jpg,1\ntrain_00002_aligned.jpg,7\n")
    found = read_labels(path, ["train_00001_aligned", "train_00002_aligned"])
    assert [label.emotion for label in found.by_key.values()] == ["surprise", "neutral"]
    assert (found.scheme, found.notes) == ("raf-db", ())


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\na/one.jpg,0\ntwo.jpg,6\n",
        "key,emotion\n" + "".join(f"k{n},{n}\n" for n in range(1, 8)),  # RAF-DB's shape
        "raf-db/a/one.jpg,0\nraf-db/two.jpg,7\n",
    ],
)
def test_other_numbers_are_asked_for(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"affectnet.*ferplus.*photos\.classes"):
        read_labels(write(tmp_path, text), KEYS)


def test_the_answer_counts_and_is_doubted_where_names_say_another(tmp_path: Path) -> None:
    path = write(tmp_path, "filename,label\na/one.jpg,0\ntwo.jpg,3\n")
    for scheme, emotions in (("FER2013", ["anger", "happy"]), ("sad,fear,anger,happy", None)):
        found = read_labels(path, KEYS, scheme)
        assert [label.emotion for label in found.by_key.values()] == (emotions or ["sad", "happy"])
    with pytest.raises(UserError, match=r"photos\.classes: 'kaggle' is unknown"):
        read_labels(path, KEYS, "kaggle")
    path = write(tmp_path, "raf-db/a/one.jpg,1\n")
    assert "names and values say raf-db" in read_labels(path, KEYS, "affectnet").notes[0]


def test_lines_about_one_photo_are_put_together_and_contradictions_told(tmp_path: Path) -> None:
    text = "key,emotion,identity\na/one,happy,\na/one.jpg,,17\nx/a/one.png,sad,17\n"
    found = read_labels(write(tmp_path, text), KEYS)
    assert found.by_key == {"a/one": Label("happy", identity="17")}
    assert found.notes == (
        "labels.csv: 1 line contradicts an earlier one, which stands: "
        "a/one (lines 2 and 4: emotion happy, then sad)",
    )
    same = read_labels(write(tmp_path, "key,emotion\na/one,happy\na/one,Happy\n"), KEYS)
    assert same.notes == ()


def test_a_file_that_says_nothing_useful_is_told(tmp_path: Path) -> None:
    found = read_labels(write(tmp_path, "key,mood\na/one,good\n"), KEYS)
    assert found.notes == (
        "labels.csv: no photo gets an emotion from it; its columns are key, mood",
    )
    found = read_labels(write(tmp_path, "key,emotion\nelse,sad\n"), KEYS)
    assert "none of its 1 lines names a photo" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("emotion,mood\nhappy,x\n", r"labels.csv:1: no column names the photo.*emotion, mood"),
        ("\nkey,emotion,Emotion\na/one,sad,sad\n", r"labels.csv:2: columns 2 and 3.*'emotion'"),
        ("key,note,note\na/one,x,y\n", r"labels.csv:1: columns 2 and 3.*'note'"),
        ("key,AU1,au01\na/one,1,2\n", r"labels.csv:1: columns 'AU1' and 'au01' both give AU1"),
        ("key,AU12\na/one,3\na/two,7\n", r"labels.csv:3: AU12 '7' is not in 0 to 5"),
        ("key,valence\na/one,1\na/two,9\n", "valence runs from 1 to 9, not -1 to 1"),
        ("key,emotion\na/one,hapy\n", r"labels.csv:2: 'hapy'.*meant happy.*contempt"),
    ],
)
def test_headers_and_cells_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_labels(write(tmp_path, text), KEYS)


def units(folder: Path, text: str) -> tuple[dict[str, float | str], str]:
    found = read_labels(write(folder, text), KEYS)
    return found.by_key["a/one"].extra, " ".join(found.notes)


def test_units_by_the_names_of_their_columns(tmp_path: Path) -> None:
    extra, _ = units(tmp_path, "image,AU01_r,AU12_c,au6_prob\na/one,0.2,1,0.7\ntwo,0.3,0,0.2\n")
    assert extra == {"label_AU1": 0.2, "label_AU12_present": 1.0, "label_AU6_present": 1.0}


@pytest.mark.parametrize(
    ("text", "expected", "told"),
    [
        ("key,AU01,AU12\na/one,0.35,0.95\ntwo,0.75,0.05\n",
         {"label_AU1_present": 0.0, "label_AU12_present": 1.0}, "AU01, AU12: .*probabilities"),
        ("key,au1\na/one,1\ntwo,0\n", {"label_AU1_present": 1.0}, "au1: all are 0 or 1"),
        ("key,AU01\na/one,1\ntwo,4\n", {"label_AU1": 1.0}, "AU01: some are above 1"),
        ("key,AU1\na/one,1\ntwo,0\n", {"label_AU1": 1.0}, "^$"),
        ("key,AU1\na/one,0.35\ntwo,0.95\n", {"label_AU1": 0.35}, "AU1: .*read as intensities"),
    ],
    ids=["probabilities", "presence", "intensities", "own form", "own form, below 1"],
)  # fmt: skip
def test_units_by_their_values(
    tmp_path: Path, text: str, expected: dict[str, float], told: str
) -> None:
    extra, note = units(tmp_path, text)
    assert extra == expected
    assert re.search(told, note)
