"""Emotions that a recogniser reads where no label tells: once a crop, never by the judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.corpus.annotations.read_emotions import FILE, ReadEmotions
from sfe_core.corpus.inspection.album_expressions import AlbumExpressions
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from tests.tiny import make_tiny_recogniser, make_tiny_workspace


def rows_of(workspace) -> list[dict]:
    rows = read_manifest(workspace.corpus / MANIFEST).to_dict("records")
    for row in rows[2:]:
        row["emotion"] = None
    return rows


def test_crops_without_a_label_are_read_once(tmp_path: Path, tiny_base: Path):
    reader = str(make_tiny_recogniser(tmp_path / "reader", seed=3))
    made = make_tiny_workspace(tmp_path, tiny_base, images=5, photos={"emotions_read_by": reader})
    opened = ReadEmotions.open(made)
    assert opened is not None and opened.read_new(rows_of(made), Reporter()) == 3
    again = ReadEmotions.open(made)
    assert again is not None and again.by_crop == opened.by_crop
    assert again.read_new(rows_of(made), Reporter()) == 0
    assert all(again.of(row) in EMOTIONS for row in rows_of(made)[2:])
    assert again.of(rows_of(made)[0]) is None
    # Another recogniser is another reader, and a line cut short by a kill is read again.
    lines = (made.corpus / FILE).read_text(encoding="utf-8").splitlines()
    (made.corpus / FILE).write_text("\n".join([*lines[:2], lines[2][:20]]), encoding="utf-8")
    torn = ReadEmotions.open(made)
    assert torn is not None and torn.read_new(rows_of(made), Reporter()) == 1


def test_the_judge_reads_no_labels(tmp_path: Path, tiny_base: Path):
    one, other = (str(make_tiny_recogniser(tmp_path / name, seed=3)) for name in ("a", "b"))
    settings = {"photos": {"emotions_read_by": one}, "evaluate": {"judge": other}}
    made = make_tiny_workspace(tmp_path, tiny_base, images=2, **settings)
    with pytest.raises(UserError, match="holds the weights of evaluate.judge"):
        ReadEmotions.open(made)
    with pytest.raises(ValueError, match="evaluate.judge must not be"):
        make_tiny_workspace(
            tmp_path, tiny_base, photos={"emotions_read_by": one}, evaluate={"judge": one}
        )


def test_an_album_says_what_it_lacks():
    albums = AlbumExpressions()
    albums.add({"key": "anna/1", "emotion": "happy", "emotion_source": "labels"})
    assert albums.told() == []  # labels say so themselves
    albums.add({"key": "anna/2", "emotion": "sad", "emotion_source": "tiny-emotion-loss"})
    lacking = ", ".join(name for name in EMOTIONS if name not in ("happy", "sad"))
    (sentence,) = albums.told()
    assert sentence == f"the album of anna shows happy 1, sad 1; it lacks {lacking}"
