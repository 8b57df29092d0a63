"""Sets with texts about their pictures: metadata files, kohya's folders and meta_cap.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.importing.data_set import carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.errors import UserError

Picture = Callable[[Path], Path]
_JSONL = (
    '{"file_name": "a.png", "text": "A", "label": "happy"}\n{"file_name": "b.png", "text": "B"}'
)


@pytest.mark.parametrize(
    ("source", "texts", "form", "captions"),
    [
        ("metadata.jsonl", {"metadata.jsonl": _JSONL}, "list", {"a": "A", "b": "B"}),
        ("x.json", {"x.json": f"[{_JSONL}]".replace("\n", ",")}, "list", {"a": "A", "b": "B"}),
        ("metadata.csv", {"metadata.csv": "file_name,text\na.png,A\nb.png,B\n"}, "list",
         {"a": "A", "b": "B"}),
        ("meta_cap.json", {"meta_cap.json": json.dumps(
            {"/d/a.png": {"caption": "A", "tags": "t"}, "/d/b.png": {"tags": "B"}})}, "captions",
         {"a": "A", "b": "B"}),
        ("caps", {"caps": '{"a": "A", "b": ["B"]}'}, "captions", {"a": "A", "b": "B"}),
        (".", {"metadata.jsonl": _JSONL}, "texts", {"a": "A", "b": "B"}),
        (".", {"a.txt": "A", "b.caption": "B"}, "texts", {"a": "A", "b": "B"}),
    ],
)  # fmt: skip
def test_texts_are_imported(
    workspace: Workspace, tmp_path: Path, picture: Picture, source: str, texts: dict[str, str],
    form: str, captions: dict[str, str],
) -> None:  # fmt: skip
    folder = tmp_path / "set"
    for name in ("a.png", "b.png"):
        picture(folder / name)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    found = find_source(folder / source, None, None)
    assert found.form == form
    summary = carry_out(workspace, plan_import(workspace, found, folder))
    assert (summary.images, summary.captioned) == (2, 2)
    assert json.loads((workspace.photos / "captions.json").read_text(encoding="utf-8")) == captions


def test_a_folder_with_lists_beside_its_photos_asks_for_the_list(
    tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "17_tables" / "a.png")
    (tmp_path / "17_tables" / "b.csv").write_text("path,emotion\na.png,happy\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds b.csv, .*name the list: .*b.csv --images"):
        find_source(tmp_path / "17_tables", None, None)


def test_the_concept_of_a_folder_stands_in_for_a_text_and_repeats_are_told(
    workspace: Workspace, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "10_woman" / "a.png").with_suffix(".txt").write_text("A", encoding="utf-8")
    picture(tmp_path / "10_woman" / "b.png")
    picture(tmp_path / "other" / "c.png")
    summary = carry_out(workspace, plan_import(workspace, find_source(tmp_path, None, None)))
    text = json.loads((workspace.photos / "captions.json").read_text(encoding="utf-8"))
    assert text == {"10_woman/a": "A", "10_woman/b": "woman"}
    assert summary.problem_counts == {"unlabelled": 1}
    assert any("10_woman" in text for text in summary.columns_told)
