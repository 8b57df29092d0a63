"""What is refused by what it is, and what an import that brings nothing says and leaves."""

from __future__ import annotations

import csv
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.importing.data_set import plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.errors import UserError

Picture = Callable[[Path], Path]


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.jpg", b"x")
    return stream.getvalue()


def _array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 48, 48), np.uint8))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_tar(), "is a tar archive; unpack it, then import its folder"),
        (_zip(), "is a zip archive; unpack it, then import its folder"),
        (b"\x1f\x8b\x08" + bytes(30), "is a gzip archive; unpack it"),
        (b"7z\xbc\xaf'\x1c" + bytes(30), "is a 7z archive; unpack it"),
        (_array(), "is a NumPy array; write a CSV"),
        (pickle.dumps({"a": 1}), "is a Python pickle; write a CSV"),
        (b"MATLAB 5.0 MAT-file" + bytes(99), "is a MATLAB file; write a CSV"),
        (b"\xff\xd8\xff\xe0" + bytes(30), "is a JPEG; import the folder that it lies in"),
        (b"\xef\xbe\xad\xde" + bytes(99), r"is a file of unknown kind; .*of an LMDB its folder"),
        (b"", "is an empty file; check the path"),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "set"])
def test_no_list_is_refused_by_what_it_is(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        find_source(tmp_path / name, None, None)


@pytest.mark.parametrize(
    ("text", "pictures", "said", "advice", "kinds"),
    [
        ("path,emotion\na.png,hapy\nb.png,odd\n", ["a.png", "b.png"],
         r"2 × wrong label.*list.csv:2: a.png: 'hapy'.*list.csv:3", "correct these, or say with",
         ["wrong label"] * 2),
        ("path,emotion\nx.png,happy\ny.png,sad\nz.png,sad\nu.png,sad\n", ["a.png"],
         r"4 × missing file.*x.png is not in.*z.png is not in .*; and 1 more",
         "folder of its images with --images", ["missing file"] * 4),
        ("path,emotion\na.png,happy\n", ["1/a.png", "2/a.png"],
         "a.png is the name of 2 images in .*: 1/a, 2/a",
         "in which each name is there once", ["missing file"]),
        ("path,emotion\na.png,unknown\n", ["a.png"], "none of the eight", "--keep-unlabelled",
         ["unlabelled"]),
    ],
    ids=["labels", "no images", "two of a name", "unlabelled"],
)  # fmt: skip
def test_a_set_that_brings_nothing_says_why_and_lists_all(
    workspace: Workspace, tmp_path: Path, picture: Picture, text: str, pictures: list[str],
    said: str, advice: str, kinds: list[str],
) -> None:  # fmt: skip
    for name in pictures:
        picture(tmp_path / "images" / name)
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    source = find_source(tmp_path / "list.csv", None, None)
    with pytest.raises(UserError, match=said) as caught:
        plan_import(workspace, source, tmp_path / "images")
    assert advice in caught.value.remedy
    listed = workspace.root / "imports" / "list.csv.problems.csv"
    assert str(listed) in str(caught.value)
    with listed.open(encoding="utf-8") as stream:
        assert [row["kind"] for row in csv.DictReader(stream)] == kinds
