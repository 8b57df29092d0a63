"""Tables with the pictures inside give these pictures, bit by bit, with the right labels."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.importing.data_set import ImportSummary, carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.errors import UserError
from tests.cases.picture_tables import grey, jpeg, make, write_parquet, write_pixels


def take_in(workspace: Workspace, path: Path, scheme: str | None = None) -> ImportSummary:
    return carry_out(workspace, plan_import(workspace, find_source(path, None, scheme)))


def emotions_of(workspace: Workspace) -> dict[str, str]:
    with (workspace.photos / "labels.csv").open(encoding="utf-8") as stream:
        return {row["key"]: row["emotion"] for row in csv.DictReader(stream)}


def test_fer2013_becomes_pictures_and_ferplus_votes_go_with_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    make(tmp_path)
    assert take_in(workspace, tmp_path / "fer2013.csv").scheme == "fer2013"
    keys = [f"fer{n:07d}" for n in range(3)]
    assert emotions_of(workspace) == dict(zip(keys, ("anger", "happy", "neutral"), strict=True))
    for number, key in enumerate(keys):
        with Image.open(workspace.photos / f"{key}.png") as image:
            assert np.array_equal(np.asarray(image), grey(number))
    again = take_in(workspace, tmp_path / "fer2013.csv")
    assert (again.images, again.placed) == (3, 0)
    votes = take_in(workspace, tmp_path / "fer2013new.csv")  # a tie, and a third without a face
    assert votes.problem_counts == {"unlabelled": 2, "replaced": 1}
    assert emotions_of(workspace)["fer0000000"] == "happy"


def test_another_set_in_fer2013s_form_has_its_own_numbers(
    workspace: Workspace, tmp_path: Path
) -> None:
    make(tmp_path)
    assert take_in(workspace, tmp_path / "ckextended.csv").scheme == "ck-extended"
    assert list(emotions_of(workspace).values()) == ["anger", "happy", "neutral", "contempt"]


def test_rows_of_ferplus_beside_fer2013_need_no_import_of_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    make(tmp_path)
    assert take_in(workspace, tmp_path / "fer2013new.csv").images == 1
    assert [path.name for path in workspace.photos.glob("*.png")] == ["fer0000000.png"]


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 x", "1 2 3 256", ""])
def test_pixels_that_are_no_picture_are_told(
    workspace: Workspace, tmp_path: Path, text: str
) -> None:
    path = write_pixels(tmp_path / "fer2013.csv", (0, 3))
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"3,{text},Training\n")
    summary = take_in(workspace, path)
    assert summary.images == 2 and summary.problem_counts == {"bad line": 1}
    assert len(emotions_of(workspace)) == 2


@pytest.mark.parametrize(
    ("paths", "keys"),
    [
        ((), ["set_0000000", "set_0000001"]),
        (("x/a.png", "y/b.png"), ["a", "b"]),
        (("x/a.png", "y/a.png"), ["set_0000000", "set_0000001"]),
    ],
    ids=["numbered", "by path", "two of a name"],
)
@pytest.mark.parametrize("name", ["set.parquet", "set.csv"])
def test_parquet_gives_its_pictures_and_the_names_of_its_classes(
    workspace: Workspace, tmp_path: Path, paths: tuple[str, ...], keys: list[str], name: str
) -> None:
    path = write_parquet(tmp_path / name, (1, 0), ("sad", "happy"), paths)
    summary = take_in(workspace, path)
    assert (summary.captioned, summary.scheme) == (2, None)
    assert emotions_of(workspace) == dict(zip(keys, ("happy", "sad"), strict=True))
    contents = [(workspace.photos / f"{key}.jpg").read_bytes() for key in keys]
    assert contents == [jpeg(0), jpeg(1)]


def test_numbers_in_parquet_without_names_are_asked_for(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "set.parquet", (3, 4))
    with pytest.raises(UserError, match="nothing says whose they are"):
        find_source(path, None, None)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + bytes(20))
    with pytest.raises(UserError, match="is a Parquet table that cannot be read"):
        find_source(tmp_path / "torn.parquet", None, None)


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_attributes_of_celeba_say_gender_and_age_and_no_emotion(
    workspace: Workspace, tmp_path: Path, picture: Callable[[Path], Path], form: str
) -> None:
    make(tmp_path)
    path = tmp_path / "list_attr_celeba.txt"
    if form == "csv":
        text = "image_id,Male,Smiling,Young\na.png,1,1,-1\nb.png,-1,-1,1\n"
        path = tmp_path / "list_attr_celeba.csv"
        path.write_text(text, encoding="utf-8")
    for name in ("a.png", "b.png"):
        picture(tmp_path / "images" / name)
    summary = carry_out(
        workspace, plan_import(workspace, find_source(path, None, None), tmp_path / "images")
    )
    assert summary.columns_ignored == ["Smiling"] and not summary.emotion_counts
    text = (workspace.photos / "labels.csv").read_text(encoding="utf-8")
    assert text == "key,age,gender\na,,male\nb,young,female\n"
