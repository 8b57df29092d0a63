"""Lists: AffectNet's, two columns, RAF-DB's text file, tables of units; header or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.formats import find_source
from sfe_core.corpus.importing.lists import ignored_columns, read_list, told_columns
from sfe_core.errors import UserError
from tests.sfe_core.corpus.importing.conftest import AFFECTNET_HEAD


def entries_of(path: Path, text: str, scheme: str = "affectnet") -> tuple[list[Entry], Problems]:
    path.write_text(text, encoding="utf-8")
    problems = Problems()
    return list(read_list(path, scheme, problems)), problems


def labels_of(path: Path, text: str, scheme: str = "affectnet") -> dict[str, dict[str, str]]:
    entries, problems = entries_of(path, text, scheme)
    assert problems.listed == []
    return {entry.image: entry.labels for entry in entries}


BOX = {"face_x": "10", "face_y": "11", "face_width": "90", "face_height": "95"}
LINE = "1/a.jpg,10,11,90,95,1.5;2.5;3,4,0.5,-0.125"


def test_affectnet_with_its_header_and_without(tmp_path: Path) -> None:
    expected = {"1/a.jpg": {"emotion": "fear", "valence": "0.5", "arousal": "-0.125", **BOX}}
    path = tmp_path / "training.csv"
    assert labels_of(path, f"{AFFECTNET_HEAD}\n{LINE}\n") == expected
    assert ignored_columns(path) == ["facial_landmarks"]
    assert labels_of(path, f"{LINE}\n") == expected


def test_affectnets_codes_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = f"{AFFECTNET_HEAD}\nx.jpg,NULL,NULL,-1,-1,,10,-2,-2\n"
    assert labels_of(path, text) == {"x.jpg": {"emotion": ""}}


@pytest.mark.parametrize(
    ("text", "scheme", "expected"),
    [
        ("/data/a/x.jpg,3\nb/y.png,7.0\n", "affectnet", {"/data/a/x.jpg": "surprise",
                                                         "b/y.png": "contempt"}),
        ("train_00001.jpg 5\ntest_0002.jpg 7\n", "raf-db", {"train_00001.jpg": "sad",
                                                            "test_0002.jpg": "neutral"}),
        ("path;label\nx.jpg;Happiness\ny.jpg;ANGRY\n", "affectnet", {"x.jpg": "happy",
                                                                   "y.jpg": "anger"}),
        ("image\temotion\nx.jpg\t0\n", "fer2013", {"x.jpg": "anger"}),
        ("one,fear\ntwo,joy\n", "affectnet", {"one": "fear", "two": "happy"}),
        ('emotion,path\nsad,"a, b.jpg"\n', "affectnet", {"a, b.jpg": "sad"}),
    ],
    ids=["two columns", "raf-db", "semicolons", "tabs", "names without suffix", "quoted"],
)  # fmt: skip
def test_path_and_emotion(tmp_path: Path, text: str, scheme: str, expected: dict[str, str]) -> None:
    found = labels_of(tmp_path / "list.txt", text, scheme)
    assert found == {image: {"emotion": emotion} for image, emotion in expected.items()}


def test_other_encodings_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("path,emotion\nfö/x.jpg,sad\n".encode("latin-1"))
    assert [entry.image for entry in read_list(path, "affectnet", Problems())] == ["fö/x.jpg"]
    path.write_bytes("path,emotion\nfö/x.jpg,sad\n".encode("utf-8-sig"))
    assert [entry.image for entry in read_list(path, "affectnet", Problems())] == ["fö/x.jpg"]


def test_units_are_intensities_unless_all_are_zero_and_one(tmp_path: Path) -> None:
    path = tmp_path / "units.csv"
    graded = labels_of(path, "key,AU01,Lip Corner Puller\na,0,3.5\nb,1,9\n")
    assert graded == {"a": {"AU1": "0", "AU12": "3.5"}, "b": {"AU1": "1"}}
    present = labels_of(path, "key,AU01,AU12\na,0,1\nb,1,\nc,9,1\n")
    assert present == {
        "a": {"AU1_present": "0", "AU12_present": "1"},
        "b": {"AU1_present": "1"},
        "c": {"AU12_present": "1"},
    }


def test_openface_columns_say_which_they_are(tmp_path: Path) -> None:
    found = labels_of(tmp_path / "o.csv", "filename, AU12_r, AU12_c\nx.jpg, 2.31, 1.0\n")
    assert found == {"x.jpg": {"AU12": "2.31", "AU12_present": "1"}}


def test_openface_lines_without_a_face_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    lines = ("file, confidence, success, AU12_r", "x.jpg, 0.98, 1, 2.31", "y.jpg, 0.2, 0, 3.1")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    problems = Problems()
    assert [entry.image for entry in read_list(path, None, problems)] == ["x.jpg"]
    assert [problem.where for problem in problems.listed] == ["o.csv:3"]


@pytest.mark.parametrize(
    ("text", "labels", "told"),
    [
        ("image,AU01,AU12\nx.jpg,0.35,0.95\ny.jpg,0.75,0.05\n",
         {"AU1_present": "0", "AU12_present": "1"}, "probabilities; present from 0.5"),
        ("image,AU01_r,AU12_r\nx.jpg,0.35,0.95\n", {"AU1": "0.35", "AU12": "0.95"}, ""),
        ("image;AU01;AU12\nx.jpg;0,35;3,5\n", {"AU1": "0.35", "AU12": "3.5"}, "above 1"),
        ("image,AU01,AU12\nx.jpg,999,1\n", {"AU12_present": "1"}, "all are 0 or 1"),
    ],
    ids=["py-feat", "openface", "decimal commas", "presence"],
)  # fmt: skip
def test_scale_of_units(tmp_path: Path, text: str, labels: dict[str, str], told: str) -> None:
    path = tmp_path / "units.csv"
    assert labels_of(path, text)["x.jpg"] == labels
    assert [told in text for text in told_columns(path)] == [True] * bool(told)


def test_dimensions_on_another_scale_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "afew.csv"
    rows = "".join(f"{n}.jpg,happy,{n},{n / 10}\n" for n in range(-10, 11))
    found = labels_of(path, "image,emotion,valence,arousal\n" + rows)
    assert found["1.jpg"] == {"emotion": "happy", "arousal": "0.1"}
    assert told_columns(path) == ["valence runs from -10 to 10, not -1 to 1, and is left out"]
    assert ignored_columns(path) == ["valence"]


@pytest.mark.parametrize(
    ("text", "scheme", "emotions"),
    [
        ("image,label\ntrain_00001_aligned.jpg,1\ntest_0002_aligned.jpg,7\n", "raf-db",
         ["surprise", "neutral"]),
        (f"{AFFECTNET_HEAD}\n1/a.jpg,0,0,9,9,1,7,0,0\n", "affectnet", ["contempt"]),
        (f"1/{'0123456789abcdef' * 3}01234567.jpg,1\n", "affectnet", ["happy"]),
        ("file;class\nfer0000001.png;1\nfer0000002.png;9\n", "ferplus", ["happy", ""]),
        ("image,label\nCK+48/S005_001_00000011.png,3\n", "ck+", ["disgust"]),
        ("image,emotion\naff-wild2/1/00001.jpg,3\naff-wild2/1/00002.jpg,-1\n", "aff-wild2",
         ["fear", ""]),
        ("image,label\na.jpg,joy\nb.jpg,NE\n", None, ["happy", "neutral"]),
    ],
    ids=["raf-db", "affectnet's header", "affectnet's names", "ferplus", "ck+", "aff-wild2",
         "names"],
)  # fmt: skip
def test_numbers_are_read_as_the_set_means_them(
    tmp_path: Path, text: str, scheme: str | None, emotions: list[str]
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    source = find_source(path, None, None)
    assert source.scheme == scheme
    assert [e.labels["emotion"] for e in source.read([], Problems())] == emotions


def test_the_valence_of_a_few_faces_says_nothing_against_a_sets_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "training.csv"
    lines = (f"1/{n}.jpg,0,0,9,9,1;2,{n},0.1,0.2\n" for n in (0, 3, 7, 2))
    path.write_text(AFFECTNET_HEAD + "\n" + "".join(lines), encoding="utf-8")
    assert find_source(path, None, None).scheme == "affectnet"


def test_numbers_of_which_nothing_tells_are_asked_for_and_the_answer_counts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "list.csv"
    path.write_text("image,label\na.jpg,0\nb.jpg,3\nc.jpg,6\n", encoding="utf-8")
    asked = r"affectnet: neutral 1, surprise 1, anger 1; .*aff-wild2.*--classes NAME"
    with pytest.raises(UserError, match=asked):
        find_source(path, None, None)
    source = find_source(path, None, "expw")
    found = [entry.labels["emotion"] for entry in source.read([], Problems())]
    assert (source.scheme, source.doubt, found) == ("expw", "", ["anger", "happy", "neutral"])


def test_attributes_and_identity_come_along(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    found = labels_of(path, "file,age,gender,race,service_test\nval/1.jpg,3-9,Male,Black,True\n")
    assert found == {"val/1.jpg": {"age": "3-9", "gender": "Male", "ethnicity": "Black"}}
    assert ignored_columns(path) == ["service_test"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("x.jpg,11,0,0,0", "wrong label"),
        ("x.jpg,joyful!,0,0,0", "wrong label"),
        ("x.jpg,1,1.01,0,0", "wrong label"),
        ("x.jpg,1,0,high,0", "wrong label"),
        ("x.jpg,1,0,0,6", "wrong label"),
        ("x.jpg,1,0,0,strong", "wrong label"),
        ("x.jpg,1,0,0", "bad line"),
        (",1,0,0,0", "bad line"),
        ("a/../../x.jpg,1,0,0,0", "bad line"),
    ],
)
def test_a_bad_line_is_listed_with_its_number_and_the_others_stand(
    tmp_path: Path, line: str, kind: str
) -> None:
    text = f"path,emotion,valence,arousal,AU12\n{line}\n\ny.jpg,2,0,0,4\n"
    entries, problems = entries_of(tmp_path / "l.csv", text)
    assert [entry.image for entry in entries] == ["y.jpg"]
    assert [(problem.where, problem.kind) for problem in problems.listed] == [("l.csv:2", kind)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,1,2\n", "3 columns and no header"),
        ("colour,emotion\nred,1\n", "no column names the image; there are colour, emotion"),
        ("path,colour\na,red\n", "no column says anything"),
        ("\n\n", "is empty"),
    ],
)
def test_tables_that_are_no_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        entries_of(tmp_path / "t.csv", text)


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg 0 10 20 60 50 20.1 5\na.jpg 1 10 80 300 200 90.5 3\n",
        "input,FaceRectHeight,label\na.jpg,40,surprise\na.jpg,190,happy\n",
        "path,face_x,face_y,face_width,face_height,emotion\na.jpg,0,0,9,40,sad\n"
        "a.jpg,0,0,9,190,happy\na.jpg,0,0,9,20,sad\n",
    ],
)
def test_of_several_faces_in_one_image_the_largest_counts(tmp_path: Path, text: str) -> None:
    entries, problems = entries_of(tmp_path / "list.txt", text, "expw")
    assert [entry.labels["emotion"] for entry in entries] == ["happy"]
    assert {problem.kind for problem in problems.listed} == {"another face"}
