"""Whatever lies in the photos folder becomes a row; nothing of it ends the run."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.manifest import STATUSES, read_manifest
from sfe_core.corpus.preprocessing.preprocess import PreprocessSummary, preprocess
from tests.sfe_core.corpus.conftest import make_workspace

EXPECTED = {
    "zero.jpg": "unreadable",
    "truncated.jpg": "unreadable",
    "text.jpg": "unreadable",
    "one.png": "no_face",
    "blank.png": "no_face",
    "huge.png": "too_large",
    "tiny face.png": "face_too_small",
    "cmyk.jpg": "ok",
    "alpha.png": "ok",
    "rotated.jpg": "ok",
    "animated.gif": "ok",
    "two.jpg": "ok",
    "with space/Zoë 顔 лицо.png": "ok",
    "same.jpg": "ok",
    "same.png": "duplicate_key",
    "dots..in.name.png": "ok",
}


def fill(folder: Path, face: Image.Image) -> None:
    """Every photo of `EXPECTED`."""
    stream = io.BytesIO()
    face.save(stream, "JPEG")
    (folder / "zero.jpg").touch()
    (folder / "truncated.jpg").write_bytes(stream.getvalue()[:2000])
    (folder / "text.jpg").write_text("this is not an image")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (90, 70), "grey").save(folder / "blank.png")
    Image.new("1", (11000, 10000)).save(folder / "huge.png")
    face.resize((36, 36)).save(folder / "tiny face.png")
    face.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    face.convert("RGBA").save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    face.transpose(Image.Transpose.ROTATE_90).save(folder / "rotated.jpg", exif=exif, quality=95)
    face.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", face.size)])
    both = Image.new("RGB", (300, 160))
    both.paste(face, (0, 0))
    both.paste(face.resize((130, 130)), (165, 20))
    both.save(folder / "two.jpg", quality=95)
    (folder / "with space").mkdir()
    face.save(folder / "with space" / "Zoë 顔 лицо.png")
    face.save(folder / "same.jpg")
    face.save(folder / "same.png")
    face.save(folder / "dots..in.name.png")
    (folder / ".hidden.png").write_bytes(b"not looked at")
    (folder / "notes.txt").write_text("neither is this")


@pytest.fixture(scope="module")
def result(
    tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image
) -> tuple[Workspace, PreprocessSummary]:
    workspace = make_workspace(tmp_path_factory.mktemp("bad"))
    fill(workspace.photos, portrait)
    return workspace, preprocess(workspace)


def test_each_photo_has_its_status_and_reason(result: tuple[Workspace, PreprocessSummary]) -> None:
    frame = read_manifest(result[0].corpus / MANIFEST)
    assert dict(zip(frame["photo"], frame["status"], strict=True)) == EXPECTED
    assert set(frame["status"]) <= STATUSES.keys()
    assert frame.loc[frame["status"] != "ok", "reason"].str.len().min() > 5
    assert "same.jpg" in frame.set_index("photo").loc["same.png", "reason"]


def test_rows_of_usable_photos_have_their_pictures(
    result: tuple[Workspace, PreprocessSummary],
) -> None:
    workspace = result[0]
    frame = read_manifest(workspace.corpus / MANIFEST)
    for key in frame.loc[frame["status"] == "ok", "key"]:
        assert artefact(workspace.corpus, "inputs", key).is_file()
    assert len(list((workspace.corpus / "inputs").rglob("*.png"))) == 8


def test_disguises_of_one_face_look_alike(result: tuple[Workspace, PreprocessSummary]) -> None:
    frame = read_manifest(result[0].corpus / MANIFEST).set_index("photo")
    side = frame.loc["alpha.png", "crop_side"]
    for photo in ("cmyk.jpg", "rotated.jpg", "animated.gif", "two.jpg"):
        assert frame.loc[photo, "crop_side"] == pytest.approx(side, rel=0.08), photo
        assert frame.loc[photo, "fit_error"] < 0.05
    assert frame.loc["two.jpg", "face_count"] == 2


def test_summary_counts_and_names_problems(result: tuple[Workspace, PreprocessSummary]) -> None:
    summary = result[1]
    assert summary.status_counts == {
        "ok": 8, "unreadable": 3, "no_face": 2, "face_too_small": 1, "too_large": 1,
        "duplicate_key": 1,
    }  # fmt: skip
    assert any(line.startswith("zero.jpg: unreadable") for line in summary.problems)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_name_that_is_not_utf8_is_a_row(tmp_path: Path, portrait: Image.Image) -> None:
    workspace = make_workspace(tmp_path)
    portrait.save(workspace.photos / "good.png")
    os.rename(workspace.photos / "good.png", os.fsencode(workspace.photos) + b"/bad\xff.png")
    preprocess(workspace)
    (row,) = read_manifest(workspace.corpus / MANIFEST).to_dict("records")
    assert row["status"] == "unreadable" and "rename" in row["reason"]


def test_small_faces_are_passed_over(tmp_path: Path, portrait: Image.Image) -> None:
    workspace = make_workspace(tmp_path, "preprocess.min_face_px=120")
    portrait.save(workspace.photos / "a.png")
    preprocess(workspace)
    (row,) = read_manifest(workspace.corpus / MANIFEST).to_dict("records")
    assert row["status"] == "face_too_small" and "120" in row["reason"]
