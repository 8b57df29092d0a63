"""Frames of BP4D and DISFA, coded in files of their own forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.corpus.importing.entries import Problems
from sfe_core.corpus.importing.unit_sequences import is_unit_sequences, read_unit_sequences
from sfe_core.errors import UserError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read(folder: Path, keys: list[str]) -> tuple[dict[str, dict[str, str]], list[tuple[str, str]]]:
    problems = Problems()
    found = {entry.image: entry.labels for entry in read_unit_sequences(folder, keys, problems)}
    return found, [(problem.where, problem.kind) for problem in problems.listed]


@pytest.fixture
def disfa(tmp_path: Path) -> Path:
    folder = tmp_path / "ActionUnit_Labels"
    write(folder / "SN001" / "SN001_au1.txt", "1,0\n2,3\n3,8\n4,1\n")
    write(folder / "SN001" / "SN001_au12.txt", "1,5\n2,0\n3,1\n4,2\n")
    write(folder / "SN016" / "SN016_au6.txt", "1,2\n")
    return folder


def test_disfa_joins_the_files_of_a_subject_frame_by_frame(disfa: Path) -> None:
    assert is_unit_sequences(disfa)
    labels, problems = read(disfa, ["SN001/1", "SN001/00002", "SN001/SN001_3", "SN001/9", "x/1"])
    assert labels == {
        "SN001/1": {"identity": "SN001", "AU1": "0", "AU12": "5"},
        "SN001/00002": {"identity": "SN001", "AU1": "3", "AU12": "0"},
        "SN001/SN001_3": {"identity": "SN001", "AU12": "1"},
    }
    assert problems == [
        ("SN001_au1.txt:3", "wrong label"),
        ("SN001", "missing file"),
        ("SN001", "unlabelled"),
        ("SN016", "missing file"),
    ]


def test_images_counted_from_zero_are_moved_by_one(disfa: Path) -> None:
    keys = [f"LeftVideoSN001_comp/frame_{n:04d}" for n in range(4)]
    labels, _ = read(disfa, keys)
    assert [labels[key].get("AU1") for key in keys] == ["0", "3", None, "1"]


@pytest.mark.parametrize(
    "cameras",
    [
        ("LeftVideoSN001_comp/0000{}", "RightVideoSN001_comp/0000{}"),
        ("SN001/left/{}", "SN001/right/{}"),
        ("SN001/left_{}", "SN001/right_{}"),
        ("SN001_left_{}", "SN001_right_{}"),
    ],
)
@pytest.mark.parametrize("zero", [0, 1])
def test_both_cameras_of_a_frame_are_labelled(
    disfa: Path, cameras: tuple[str, str], zero: int
) -> None:
    first, second = cameras
    keys = [camera.format(n + zero) for camera in cameras for n in range(2)]
    labels, _ = read(disfa, keys)
    assert len(labels) == 4
    for frame in range(2):
        expected = {"identity": "SN001", "AU1": str(3 * frame), "AU12": str(5 - 5 * frame)}
        assert labels[first.format(frame + zero)] == expected
        assert labels[second.format(frame + zero)] == expected


def test_images_of_a_subject_without_tables_are_told(disfa: Path) -> None:
    _, problems = read(disfa, ["SN001/1", "SN002/1", "SN002/2"])
    assert ("SN002", "unlabelled") in problems


def test_bp4d_presence_and_intensity_with_what_was_not_coded(tmp_path: Path) -> None:
    write(tmp_path / "AU_OCC" / "F001_T1.csv", "0,1,2,12,99\n2440,1,0,9,1\n2441,0,0,1,1\n")
    write(tmp_path / "AU_INT" / "AU12" / "F001_T1_AU12.csv", "2440,9\n2441,4\n")
    write(tmp_path / "AU_OCC" / "M002_T10.csv", "0,4\n7,1\n")
    keys = ["F001/T1/2440", "seq/F001_T1_02441", "M002/T10/0007", "M002/T1/0007"]
    labels, problems = read(tmp_path, keys)
    assert labels == {
        "F001/T1/2440": {
            "identity": "F001", "gender": "female", "AU1_present": "1", "AU2_present": "0",
        },
        "seq/F001_T1_02441": {
            "identity": "F001", "gender": "female", "AU1_present": "0", "AU2_present": "0",
            "AU12_present": "1", "AU12": "4",
        },
        "M002/T10/0007": {"identity": "M002", "gender": "male", "AU4_present": "1"},
    }  # fmt: skip
    assert problems == [("M002_T1", "unlabelled")]


def test_torn_lines_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "SN001_au4.txt", "1,2\nframe\n3;1\n2,1\n")
    labels, problems = read(tmp_path, ["SN001/1", "SN001/2"])
    assert [cells["AU4"] for cells in labels.values()] == ["2", "1"]
    assert problems == [("SN001_au4.txt:2", "bad line"), ("SN001_au4.txt:3", "bad line")]


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "path,emotion\n")
    assert not is_unit_sequences(tmp_path)
    with pytest.raises(UserError, match="no table of BP4D or DISFA"):
        read(tmp_path, [])
