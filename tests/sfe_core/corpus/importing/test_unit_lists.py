"""Lists of bare numbers for action units, in one file or two; who the subjects are."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.importing.data_set import carry_out, plan_import
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.formats import Source, find_source
from sfe_core.corpus.importing.subject_tables import read_subjects
from sfe_core.errors import UserError

TWELVE = tuple(f"AU{n}" for n in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24))
PATHS, LABELS = "BP4D_train_img_path_fold1.txt", "BP4D_train_label_fold1.txt"


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(source: Source) -> tuple[list[Entry], list[tuple[str, str]]]:
    problems = Problems()
    entries = list(source.read([], problems))
    return entries, [(problem.where, problem.kind) for problem in problems.listed]


def row(*there: str, absent: str = "0") -> str:
    return ",".join("1" if unit in there else absent for unit in TWELVE)


def test_a_name_and_numbers_a_line_with_every_fault(tmp_path: Path) -> None:
    path = write(
        tmp_path / "all_imgs.txt",
        f"F001_T1_2440:{row('AU6', 'AU12')}",
        "",
        f"C:\\BP4D\\M002\\T3\\77.jpg: {row('AU4', absent='9')}",
        "F001_T1_2441:0,1,1",
        f"../F001_T1_2443:{row()}",
        "F001_T1_2444",
    )
    source = find_source(path, "unit-list", None)
    assert source.units == TWELVE
    entries, problems = read(source)
    assert [entry.image for entry in entries] == ["F001_T1_2440", r"C:\BP4D\M002\T3\77.jpg"]
    assert entries[0].labels == {
        "identity": "F001", "gender": "female",
        **{f"{unit}_present": str(int(unit in ("AU6", "AU12"))) for unit in TWELVE},
    }  # fmt: skip
    assert entries[1].labels == {"identity": "M002", "gender": "male", "AU4_present": "1"}
    assert problems == [
        ("all_imgs.txt:4", "bad line"),
        ("all_imgs.txt:5", "bad line"),
        ("all_imgs.txt:6", "bad line"),
    ]


def test_a_number_that_is_none_of_its_scale_is_a_wrong_label(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "SN001/1:0,0,0,0,0,0,0,7", "SN001/2:0,0,0,0,0,0,0,2")
    entries, problems = read(find_source(path, None, None))
    assert [entry.image for entry in entries] == ["SN001/2"]
    assert problems == [("a.txt:1", "wrong label")]


def test_it_is_known_by_its_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", f"F001/T1/1.jpg:{row()}", f"F001/T1/2.jpg:{row('AU1')}")
    assert find_source(path, None, None).form == "unit-list"
    other = write(tmp_path / "b.txt", "a.jpg,happy", "b.jpg,sad")
    assert find_source(other, None, None).form == "list"


def test_numbers_above_one_are_intensities(tmp_path: Path) -> None:
    path = write(
        tmp_path / "disfa.txt", "SN001/1.png:0,0,3,0,0,1,5,0", "SN001/2.png:0,0,0,0,0,0,0,1"
    )
    entries, _ = read(find_source(path, None, None))
    assert entries[0].labels == {
        "identity": "SN001", "AU1": "0", "AU2": "0", "AU4": "3", "AU6": "0", "AU9": "0",
        "AU12": "1", "AU25": "5", "AU26": "0",
    }  # fmt: skip


# Which column is which unit


def test_units_are_asked_for_where_nothing_tells_them(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.txt", "a.jpg:0,1,0", "b.jpg:1,1,0")
    with pytest.raises(
        UserError, match=r"mine.txt: 3 columns of units.*--units.*bp4d \(12 columns"
    ):
        find_source(path, None, None)
    assert find_source(path, None, None, units="AU1, au06,12").units == ("AU1", "AU6", "AU12")
    # Twelve columns are not BP4D's for being twelve.
    twelve = write(tmp_path / "twelve.txt", f"a.jpg:{row()}", f"F001/T1/1.jpg:{row()}")
    with pytest.raises(UserError, match="nothing says which"):
        find_source(twelve, None, None)
    assert find_source(twelve, None, None, units="bp4d").units == TWELVE


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("AU1,AU2", "2 different units, mine.txt has 3 columns"),
        ("AU1,AU2,AU2", "2 different units"),
        ("AU1,AU2,AU99", "'AU99' is unknown"),
        ("AU1,smile,AU2", "'smile' is unknown"),
        ("disfa", "3 columns of units, and nothing says which"),
    ],
)
def test_units_that_do_not_fit_are_refused(tmp_path: Path, units: str, message: str) -> None:
    path = write(tmp_path / "mine.txt", "a.jpg:0,1,0")
    with pytest.raises(UserError, match=message):
        find_source(path, None, None, units=units)


def test_units_are_for_lists_without_names(tmp_path: Path) -> None:
    path = write(tmp_path / "named.csv", "path,AU1,AU2", "a.jpg,0,1")
    with pytest.raises(UserError, match="--units: .*named.csv is read as list"):
        find_source(path, None, None, units="AU1,AU2")


# Two files


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    spaced = (row("AU12").replace(",", " "), row("AU4", "AU17").replace(",", " "))
    write(tmp_path / LABELS, *spaced)
    return write(tmp_path / PATHS, "F007/T1/643.jpg", "M003/T8/12.jpg")


@pytest.mark.parametrize("name", [PATHS, LABELS])
def test_two_files_are_one_list_whichever_is_named(pair: Path, name: str) -> None:
    source = find_source(pair.with_name(name), None, None)
    entries, problems = read(source)
    there = [
        {unit for unit in TWELVE if entry.labels[f"{unit}_present"] == "1"} for entry in entries
    ]
    assert [entry.image for entry in entries] == ["F007/T1/643.jpg", "M003/T8/12.jpg"]
    assert there == [{"AU12"}, {"AU4", "AU17"}] and not problems
    assert [entry.labels["identity"] for entry in entries] == ["F007", "M003"]


@pytest.mark.parametrize("missing", [PATHS, LABELS])
def test_files_of_different_lengths_are_never_paired(pair: Path, missing: str) -> None:
    file = pair.with_name(missing)
    file.write_text("\n".join(file.read_text().splitlines()[:1]), encoding="utf-8")
    with pytest.raises(UserError, match=f"{LABELS}: has [12] lines, and {PATHS} [12]: which is"):
        find_source(pair, None, None)


def test_a_line_that_is_blank_in_one_file_moves_no_other(pair: Path) -> None:
    rows = pair.with_name(LABELS).read_text().splitlines()
    write(pair.with_name(LABELS), rows[0], "", rows[1])
    write(pair, "F007/T1/643.jpg", "F007/T1/644.jpg", "M003/T8/12.jpg")
    entries, problems = read(find_source(pair, None, None))
    assert [entry.image for entry in entries] == ["F007/T1/643.jpg", "M003/T8/12.jpg"]
    assert entries[1].labels["AU17_present"] == "1"
    assert problems == [(f"{PATHS}:2", "bad line")]


def test_names_that_lead_the_numbers_are_held_against_the_paths(pair: Path) -> None:
    labels = pair.with_name(LABELS)
    first, second = labels.read_text().splitlines()
    write(labels, f"T1/643.jpg {first}", f"M003/T8/12: {second}")
    entries, _ = read(find_source(pair, None, None))
    assert entries[1].labels["AU17_present"] == "1"
    write(labels, f"T8/12.jpg {second}", f"T1/643.jpg {first}")
    with pytest.raises(UserError, match=rf"{LABELS}:1: is about T8/12.jpg.*names F007/T1/643.jpg"):
        find_source(pair, None, None)


def test_numbers_without_their_list_are_one_line(pair: Path) -> None:
    pair.unlink()
    with pytest.raises(UserError, match=f"{LABELS}: is numbers alone.*put the list there.*{PATHS}"):
        find_source(pair.with_name(LABELS), None, None)


def test_files_that_are_merely_called_so_are_no_pair(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "path,emotion", "a.jpg,happy")
    assert find_source(tmp_path / "labels.csv", None, None).form == "list"
    write(tmp_path / "images.csv", "path,emotion", "a.jpg,happy")
    assert find_source(tmp_path / "images.csv", None, None).form == "list"


# From the list to labels.csv


def test_images_are_found_by_name_whatever_their_order(
    workspace: Workspace, tmp_path: Path, pair: Path, picture: Callable[[Path], Path]
) -> None:
    write(tmp_path / "people.csv", "Subject,Sex,Age,Ethnicity", "F007,female,21,Asian")
    # One listed image is not there; one that is there is not listed, and stands first.
    for name in ("F001/T1/001.jpg", "M003/T8/12.jpg"):
        picture(tmp_path / "crops" / name)
    plan = plan_import(workspace, find_source(pair, None, None), tmp_path / "crops")
    assert plan.unnamed == 1 and plan.problems.counts == {"missing file": 1}
    assert plan.columns_told[0].endswith("AU23, AU24: 0 or 1")
    assert plan.columns_told[1] == f"a line of {LABELS} is about the same line of {PATHS}"
    carry_out(workspace, plan)
    (found,) = csv.DictReader((workspace.photos / "labels.csv").open(encoding="utf-8"))
    assert found["key"] == "M003/T8/12" and found["identity"] == "M003"
    assert (found["AU17_present"], found["AU12_present"]) == ("1", "0")


def test_tables_of_subjects(tmp_path: Path) -> None:
    write(
        tmp_path / "people.csv",
        "subject_id,gender,age,race,height",
        "f001,F,20-29,Asian,170",
        "SN002,M,,African American,180",
        "somebody,M,40,White,190",
    )
    write(tmp_path / "F001_T1.csv", "0,1,2", "5,0,1")
    write(tmp_path / "notes.txt", "the age of each frame")
    write(tmp_path / "images.csv", "path,subject,age", "a.jpg,F001,99")
    assert read_subjects(tmp_path) == {
        "F001": {"gender": "F", "age": "20-29", "ethnicity": "Asian"},
        "SN002": {"gender": "M", "ethnicity": "African American"},
    }
    write(tmp_path / "more.csv", "id,age", "F001,35")
    with pytest.raises(UserError, match=r"people.csv:2: tells another thing of F001"):
        read_subjects(tmp_path)
