"""Photos are told from other files by what they are, and everything else is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from sfe_core.corpus.layout import PASSED_OVER
from sfe_core.corpus.photo_files import find_photos, scan_photos
from sfe_core.corpus.preprocessing.preprocess import plan_preprocess, preprocess
from sfe_core.errors import UserError
from sfe_core.files import key_of
from tests.cases import formats
from tests.sfe_core.corpus.conftest import make_workspace

KINDS = {
    "clip.mov": "a video", "clip.mp4": "a video", "paper.pdf": "a PDF",
    "shot.CR2": "a raw camera file", "shot.nef": "a raw camera file",
    "layers.psd": "a Photoshop file", "set.zip": "a zip archive", "set.tar": "a tar archive",
    "readme": "a text file", "Thumbs.db": "an old Office or Windows file",
    "nothing": "an empty file", "gone.jpg": "a link that leads nowhere",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    formats.make(folder)
    return folder


def test_every_picture_is_found_whatever_its_name(folder: Path) -> None:
    wanted = sorted(path for path in (folder / "pictures").iterdir())
    assert find_photos(folder / "pictures") == wanted and len(wanted) >= 20
    keys = [key_of(path, folder / "pictures") for path in wanted]
    assert {"frame.0001", "no ending", "data.bin", "png named"} <= set(keys)
    assert len(set(keys)) == len(keys)


def test_everything_else_is_counted_by_what_it_is(folder: Path) -> None:
    scan = scan_photos(folder / "others")
    assert scan.photos == [] and dict(scan.passed) == KINDS
    assert scan.told[0] == "2 × a raw camera file: shot.CR2, shot.nef"
    assert scan.told[-1] == "and 6 more of 6 other kinds"


def test_what_is_written_beside_photos_is_no_complaint(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("a.txt", "b.caption", "b.png.txt", "metadata.jsonl", "labels.csv", "c.txt"):
        (tmp_path / name).write_text("a face", encoding="utf-8")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")
    scan = scan_photos(tmp_path, {"labels.csv"})
    assert scan.companions == 5 and scan.passed == [("._a.jpg", "hidden"), ("c.txt", "a text file")]
    assert scan.told == ["1 × a text file: c.txt"]


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    disk, photos = tmp_path / "disk", tmp_path / "photos"
    (disk / "x.jpg").mkdir(parents=True)  # a folder named like a photo
    photos.mkdir()
    Image.new("RGB", (4, 4)).save(disk / "x.jpg" / "1.png")
    (photos / "set").symlink_to(disk)
    (disk / "back").symlink_to(disk)
    os.mkfifo(photos / "pipe.jpg")
    scan = scan_photos(photos)
    assert scan.photos == [photos / "set" / "x.jpg" / "1.png"]
    assert scan.passed == [
        ("pipe.jpg", "not a regular file"), ("set/back", "a link in a circle"),
    ]  # fmt: skip
    assert scan_photos(tmp_path / "nowhere").photos == []


def test_preprocess_lists_all_that_it_passed_over(tmp_path: Path, portrait: Image.Image) -> None:
    workspace = make_workspace(tmp_path)
    formats.make(workspace.photos)
    for path in (workspace.photos / "pictures").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no photo .*raw camera file"):
        preprocess(workspace)
    portrait.save(workspace.photos / "a", "PNG")
    (workspace.photos / "page.jpg").write_text("<!doctype html>", encoding="utf-8")
    assert plan_preprocess(workspace).photos.scan.told[0].startswith("2 × a raw")
    summary = preprocess(workspace)
    assert summary.status_counts == {"ok": 1, "unreadable": 1}
    assert summary.problems == ["page.jpg: unreadable, it is a web page"]
    assert summary.passed_over_list == workspace.corpus / PASSED_OVER
    lines = summary.passed_over_list.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(KINDS) and "others/paper.pdf,a PDF" in lines
