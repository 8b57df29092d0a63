"""Label files of CK+ and Aff-Wild2 with their faults; whole sets are in test_labelled_sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.corpus.importing.entries import Problems
from sfe_core.corpus.importing.frame_codes import is_frame_codes, read_frame_codes
from sfe_core.errors import UserError

HEAD = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n"


def read(folder: Path, *keys: str) -> tuple[dict[str, dict[str, str]], list[tuple[str, str, str]]]:
    problems = Problems()
    found = {entry.image: entry.labels for entry in read_frame_codes(folder, keys, problems)}
    return found, [(problem.where, problem.kind, problem.detail) for problem in problems.listed]


def test_faults_of_a_video_are_told_by_line(tmp_path: Path) -> None:
    (tmp_path / "video2_left.txt").write_text(HEAD + "4\n7\n-1\n9\n1,2\n5\n", encoding="utf-8")
    keys = [f"crops/video2_left/{n:05d}" for n in (1, 2, 3, 4, 5)] + ["crops/video2/00001"]
    labels, problems = read(tmp_path, *keys)
    assert {key: cells["emotion"] for key, cells in labels.items()} == {
        "crops/video2_left/00001": "happy",
        "crops/video2_left/00002": "",  # other
    }
    assert [(where, kind) for where, kind, _ in problems] == [
        ("video2_left.txt:5", "wrong label"),
        ("video2_left.txt:6", "bad line"),
        ("video2_left", "missing file"),
        ("video2_left", "unlabelled"),
    ]
    assert problems[2][2] == "1 coded frames have no image"
    assert problems[3][2] == "3 images are not coded"


@pytest.mark.parametrize(
    ("text", "kind"), [("", "bad line"), ("x\n", "wrong label"), ("9.0\n", "wrong label")]
)
def test_a_torn_class_of_ck_is_told(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "S005_001_00000011_emotion.txt").write_text(text, encoding="utf-8")
    labels, problems = read(tmp_path)
    assert labels == {} and problems[0][:2] == ("S005_001_00000011_emotion.txt", kind)


@pytest.mark.parametrize("text", ["a photo of a neutral man\n", "neutral,happy\n", "AU1\n", ""])
def test_other_texts_are_no_codes(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert not is_frame_codes(tmp_path)
    with pytest.raises(UserError, match=r"no label file of CK\+ or Aff-Wild2"):
        read(tmp_path)
