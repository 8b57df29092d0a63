"""Tables in the dialects that people's programs write."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.corpus.tables.column_names import is_header, open_labels
from sfe_core.corpus.tables.tables import open_table, read_number
from sfe_core.errors import UserError

ROWS = [["a/föö.jpg", "happy", "0.5"], ["b.jpg", "sad", "-0.25"]]


def rows_of(path: Path) -> list[list[str]]:
    return [cells for _, cells in open_labels(path).rows(lambda *torn: pytest.fail(str(torn)))]


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]
)
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "t.csv"
    text = "\r\n".join(separator.join(row) for row in [["Path", "Emotion", "Valence"], *ROWS])
    path.write_bytes(text.encode(encoding))
    table = open_labels(path)
    assert (table.names, table.columns) == (
        ("Path", "Emotion", "Valence"),
        ("path", "emotion", "valence"),
    )
    assert rows_of(path) == ROWS


@pytest.mark.parametrize(
    "text",
    [
        "path;emotion;valence\na/föö.jpg;happy;0,5\nb.jpg;sad;-0,25\n",
        "sep=;\npath;emotion;valence\na/föö.jpg;happy;0,5\nb.jpg;sad;-0,25\n",
        "\n\npath\temotion\tvalence\na/föö.jpg\thappy\t0,5\n\nb.jpg\tsad\t-0,25\n",
        "a/föö.jpg;happy;0,5;0,1\nb.jpg;sad;-0,25;0,2\n",
        'path,emotion,valence\n"a/föö.jpg",happy, 0.5\nb.jpg,"sad" ,-0.25\n',
        "path  emotion   valence\na/föö.jpg  happy 0.5 \n b.jpg sad  -0.25\n",
    ],
    ids=["decimal commas", "excel", "tabs", "headerless", "quotes", "many blanks"],
)
def test_dialects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    assert [cells[:3] for cells in rows_of(path)] == ROWS


def test_a_cell_of_landmarks_does_not_make_the_semicolon_a_separator(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1/a.jpg,10,11,90,95,1.5;2.5;3,4,0.5,-0.125\n", encoding="utf-8")
    assert rows_of(path)[0][5:] == ["1.5;2.5;3", "4", "0.5", "-0.125"]


def test_torn_rows_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("path,emotion\n\na,happy\nb\nc,sad,1\n", encoding="utf-8")
    torn: list[tuple[int, str]] = []
    table = open_labels(path)
    assert list(table.rows(lambda number, found: torn.append((number, found)))) == [
        (3, ["a", "happy"])
    ]
    assert torn == [(4, "1 cells, the header has 2"), (5, "3 cells, the header has 2")]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["Image name", "neutral", "happiness"], True),
        (["input", "FaceScore", "AU01", "AU12"], True),
        (["image", "happy"], True),
        (["frame", "pose_Rx", "AU01_r", "AU45_c"], True),
        (["one", "fear"], False),
        (["one", "none"], False),
        (["a.jpg", "label"], False),
        (["subject/one", "x"], False),
        (["one", "3"], False),
        (["one", "0,5"], False),
    ],
)
def test_headers(cells: list[str], expected: bool) -> None:
    assert is_header(cells) == expected


def test_numbers() -> None:
    texts = ["0.5", "0,5", "-1,25", "1e-3", "1,2,3", "1,234.5", "", "x"]
    assert [read_number(text) for text in texts] == [
        0.5, 0.5, -1.25, 0.001, None, None, None, None,
    ]  # fmt: skip


def test_no_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(" \n", encoding="utf-8")
    with pytest.raises(UserError, match="is empty"):
        open_table(tmp_path / "e.csv", is_header)
    with pytest.raises(UserError, match="cannot be read"):
        open_table(tmp_path / "gone.csv", is_header)


@pytest.mark.parametrize(
    ("begin", "kind"),
    [(b"PK\x03\x04", "Excel"), (b"PAR1", "Parquet"), (b"\xff\xd8\xff\xe0", "a picture"),
     (b'{"a": 1}', "JSON")],
)  # fmt: skip
def test_files_that_are_no_text_are_refused_by_what_they_are(
    tmp_path: Path, begin: bytes, kind: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(begin + b"\x00\x01,\n" * 20)
    with pytest.raises(UserError, match=rf"labels\.csv: is .*{kind}"):
        open_labels(path)
