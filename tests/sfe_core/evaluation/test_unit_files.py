"""What detectors wrote of the measured pictures, as the judge of action units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.config.loading import preset_config
from sfe_core.errors import UserError
from sfe_core.evaluation.instruments.probes import Batch
from sfe_core.evaluation.instruments.unit_files import FiledUnits, is_filed, tool_of
from sfe_core.evaluation.origin import labels_read_by, require_apart
from sfe_core.evaluation.pictures import DrawnPictures, PictureSet, RealPictures

KEYS = ["a/1", "a/2", "b/1"]
PHOTOS = RealPictures(None)  # type: ignore[arg-type]
HEAD = "face, confidence, AU04_r, AU12_r, AU28_c\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(probe: FiledUnits, pictures: PictureSet, keys=KEYS) -> np.ndarray:
    valid = np.ones(len(keys), bool)
    batch = Batch(keys, torch.zeros(len(keys), 3, 2, 2), valid, PHOTOS, False, pictures=pictures)
    found = probe.read(batch)
    assert np.array_equal(found["AU12L"], found["AU12R"], equal_nan=True)
    return found["AU12L"]


@pytest.fixture
def openface(tmp_path: Path) -> Path:
    """A file for each picture; of two faces the surer one counts."""
    folder = tmp_path / "openface"
    write(folder / "guided-0a" / "a" / "1.csv", HEAD + "0, 0.5, 1, 4, 1\n1, 0.9, 1, 3, 0\n")
    write(folder / "guided-0a" / "b_1.csv", HEAD + "0, 0.9, 0, 1.5, 0\n")
    write(folder / "base-1b" / "a" / "1.csv", HEAD + "0, 0.9, 0, 5, 0\n")
    write(folder / "real" / "a" / "2.csv", HEAD + "0, 0.9, 0, 2, 0\n")
    return folder


def test_openfaces_files_belong_to_sets_by_name_and_missing_ones_are_said(openface: Path):
    probe = FiledUnits(openface)
    guided, base = DrawnPictures(Path("x/guided-0a")), DrawnPictures(Path("x/base-1b"))
    before = probe.instruments["units"].weights_sha256
    notes = probe.match({"guided": guided, "base": base, "real": PHOTOS}, KEYS)
    assert probe.tool == "OpenFace" == probe.instruments["units"].backend
    assert probe.instruments["units"].weights_sha256 != before  # other readings are not reused
    assert read(probe, guided).tolist() == pytest.approx([3.0, np.nan, 1.5], nan_ok=True)
    assert read(probe, base).tolist() == pytest.approx([5.0, np.nan, np.nan], nan_ok=True)
    assert read(probe, PHOTOS).tolist() == pytest.approx([np.nan, 2.0, np.nan], nan_ok=True)
    assert notes[0] == "openface tells nothing of 1 of 3 pictures of guided: a/2"
    assert probe.units == ("AU4", "AU12")  # AU28 has presence alone
    assert probe.limits(["AU12", "AU6"])[1] == "left out: AU6, which openface does not tell of"


def test_py_feats_lines_are_matched_by_name_in_any_order(tmp_path: Path):
    text = "input,FaceScore,AU12\n/out/theirs/b/1.png,1,0.2\n/out/theirs/a/1.png,1,0.8\n"
    probe = FiledUnits(write(tmp_path / "feat.csv", text + "C:\\theirs\\a\\2.png,,\n"))
    pictures = DrawnPictures(Path("elsewhere/theirs"))
    assert probe.match({"mine": pictures}, KEYS) == [] and probe.tool == "py-feat"
    assert read(probe, pictures).tolist() == pytest.approx([4.0, np.nan, 1.0], nan_ok=True)


def test_bare_keys_are_enough_for_one_drawn_set_alone(tmp_path: Path):
    text = "image,au_12_intensity\na/1.png,2\na_2.png,3\ninputs/b/1.png,5\n"
    probe = FiledUnits(write(tmp_path / "libre.csv", text))
    one, other = DrawnPictures(Path("one")), DrawnPictures(Path("other"))
    notes = probe.match({"": one, "real": PHOTOS}, KEYS)
    assert read(probe, one).tolist() == pytest.approx([2.0, 3.0, np.nan], nan_ok=True)
    assert read(probe, PHOTOS)[2] == 5.0 and probe.tool == "LibreFace"  # a photo is no drawn one
    assert notes[0] == "libre.csv tells nothing of 1 of 3 pictures of the drawn ones: b/1"
    several = FiledUnits(tmp_path / "libre.csv")
    with pytest.raises(UserError, match=r"no picture that is measured.*one/a/1.png"):
        several.match({"one": one, "other": other}, KEYS)


def test_what_names_no_picture_or_one_twice_is_refused(tmp_path: Path):
    video = write(tmp_path / "video.csv", "frame, confidence, success, AU12_r\n1, 0.9, 1, 2\n")
    with pytest.raises(UserError, match="number of a frame.*FaceLandmarkImg"):
        FiledUnits(video)
    twice = write(tmp_path / "twice.csv", "input,AU12_r\na/1.png,2\na/1.jpg,3\n")
    with pytest.raises(UserError, match="a/1 stands in twice.csv:2 as well"):
        FiledUnits(twice)
    with pytest.raises(UserError, match="no intensity of any action unit"):
        FiledUnits(write(tmp_path / "none.csv", "input,confidence,AU12_c\na/1.png,1,1\n"))
    two = "input,AU12_r\nx/one/a/1.png,2\ny/one/a/1.png,3\n"
    with pytest.raises(UserError, match="both tell of a/1"):
        FiledUnits(write(tmp_path / "two.csv", two)).match({"": DrawnPictures(Path("one"))}, KEYS)


def test_a_tool_that_read_the_labels_may_not_judge(openface: Path, tmp_path: Path):
    assert is_filed(str(openface)) and not is_filed("tiny-units-judge")
    assert tool_of("openface") == tool_of(str(openface)) == "OpenFace"
    config = preset_config("tiny")
    photos = config.photos.model_copy(update={"labels_read_by": ("open-face", "py_feat")})
    judge = config.evaluate.model_copy(update={"units_judge": str(openface)})
    labelled = config.model_copy(update={"photos": photos, "evaluate": judge})
    assert labels_read_by(labelled, None) == ["OpenFace", "py-feat"]
    with pytest.raises(UserError, match="OpenFace read the labels"):
        require_apart(labelled, None)
    require_apart(config.model_copy(update={"evaluate": judge}), None)
