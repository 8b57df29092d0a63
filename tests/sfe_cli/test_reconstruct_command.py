"""`sfe reconstruct` as it is typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.sfe_cli.typed import sfe


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "faces").mkdir()
    face = np.ascontiguousarray(skimage.data.astronaut()[40:200, 145:305])
    Image.fromarray(face).save(tmp_path / "faces" / "a.png")
    return tmp_path / "faces" / "a.png"


def call(source: Path, *more: object):
    out = (source if source.is_dir() else source.parent).with_name("out")
    return sfe("reconstruct", source, "--out", out, "--set", "preprocess.crop_size=64", *more)


def test_what_was_asked_for_is_saved_and_told(photo: Path) -> None:
    result = call(photo.parent, "--save", "codes,meshes", "--reconstruction", "anny")
    assert result.exit_code == 0, result.output
    out = photo.parents[1] / "out"
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "codes", "meshes", "records",
    ]  # fmt: skip
    assert "1 in 1 photos" in result.stdout and "faces.csv" in result.stdout
    again = call(photo.parent, "--save", "codes,meshes")
    assert "0, 1 stood from before" in again.stdout


def test_a_failed_photo_is_exit_code_1_and_a_line(photo: Path) -> None:
    torn = photo.with_name("torn.png")
    torn.write_bytes(photo.read_bytes()[:900])
    alone = call(torn)
    assert alone.exit_code == 1 and "torn.png" in alone.stderr.splitlines()[-1]
    assert alone.stdout == "" and "Traceback" not in alone.output
    beside = call(photo.parent, "--save", "codes")
    assert beside.exit_code == 1 and (photo.parents[1] / "out/codes/a.npz").is_file()
    assert sum("torn.png" in line for line in beside.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--save", "codes,mesh"), "'mesh' is unknown; choose from meshes, detailed-meshes"),
        (("--reconstruction", "flame"), "'flame' is not one of"),
        (("--set", "preprocess.crop_size=63"), "preprocess.crop_size"),
        (("--device", "cuda:77"), "--device cuda:77"),
        (("-w", "nowhere"), "is not a folder"),
    ],
)
def test_mistakes_are_one_line(photo: Path, more: tuple[str, ...], said: str) -> None:
    result = call(photo, *more)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and said in result.stderr


def test_an_empty_folder_is_one_line(photo: Path) -> None:
    photo.unlink()
    result = call(photo.parent)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "holds no photo" in result.stderr


def test_a_workspaces_settings_are_taken(photo: Path, workspace_folder: Path) -> None:
    (workspace_folder / "sfe.yaml").write_text(
        "preset: tiny\npreprocess: {min_face_px: 2000}\n", encoding="utf-8"
    )
    result = call(photo, "-w", workspace_folder)
    assert result.exit_code == 1 and "min_face_px 2000" in result.stderr
