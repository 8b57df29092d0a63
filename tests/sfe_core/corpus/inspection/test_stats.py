"""The corpus in numbers, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.inspection.stats import corpus_stats
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, to_frame, write_manifest
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from tests.sfe_core.conftest import with_settings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """30 happy, 10 sad, 5 unlabelled faces to learn from, 3 held out, 2 without a face."""
    from sfe_core.config.model import Config

    rows = []
    kinds = [("happy", "train")] * 30 + [("sad", "train")] * 10 + [(None, "train")] * 5
    kinds += [("happy", "val300")] * 2 + [("fear", "val300")]
    for number, (emotion, split) in enumerate(kinds):
        key = f"{number:03d}"
        rows.append(
            {
                "key": key,
                "photo": f"{key}.png",
                "status": "ok",
                "emotion": emotion,
                "split": split,
                "valence": number / 100 if split == "train" else None,
                "identity": str(number % 7),
                "caption": emotion or "a face",
                "label_AU12": float(number % 5),
                "label_note": "text",
            }
        )
    rows += [{"key": f"x{n}", "photo": f"x{n}.png", "status": "no_face"} for n in range(2)]
    workspace = Workspace(tmp_path, Config())
    workspace.corpus.mkdir()
    write_manifest(workspace.corpus / MANIFEST, to_frame(rows))
    return workspace


def count(workspace: Workspace, **sections):
    return corpus_stats(Corpus.open(workspace), with_settings(workspace, **sections).config)


def test_faces_are_counted_by_emotion_and_split(workspace):
    stats = count(workspace, train={"balance": 0.0, "steps": 9, "effective_batch": 10})
    assert stats.statuses == {"ok": 48, "no_face": 2}
    assert stats.splits == {"train": 45, "val300": 3}
    found = {row.emotion: row for row in stats.emotions}
    assert len(found) == 9 and found["happy"].splits == {"train": 30, "val300": 2}
    assert found["fear"].splits == {"val300": 1} and found["fear"].chosen == 0
    assert {name: row.drawn for name, row in found.items() if row.drawn} == {
        "happy": 30,
        "sad": 10,
        "unlabelled": 5,
    }
    assert stats.epoch_images == 45 and stats.epochs == 2.0
    assert stats.identities == 7 and stats.captions == 3 and stats.views == 1


def test_balance_draws_rare_emotions_more_often_and_leaves_nobody_out(workspace):
    found = {row.emotion: row for row in count(workspace, train={"balance": 1.0}).emotions}
    assert abs(found["happy"].drawn - 30) <= 1 and abs(found["sad"].drawn - 30) <= 1
    assert found["sad"].times == pytest.approx(3.0, abs=0.11) and found["fear"].times == 0.0
    assert found["unlabelled"].drawn >= 5


def test_units_and_people_are_drawn_as_training_draws_them(workspace):
    found = {row.unit: row for row in count(workspace, train={"balance": 0.0}).units}
    assert list(found) == ["AU12"]  # from intensity 1 on
    assert (found["AU12"].chosen, found["AU12"].drawn) == (36, 36)
    weak = count(workspace, train={"balance": 0.0}, captions={"units_from": 4}).units
    assert (weak[0].chosen, weak[0].drawn) == (9, 9)
    people = count(workspace, train={"balance": 0.0, "balance_subjects": 1.0})
    assert people.epoch_images == 7 * 7  # 45 faces of seven people, the most of one being seven


def test_the_data_section_narrows_what_is_counted(workspace):
    data = {"emotions": ("happy",), "ranges": {"valence": (0.1, 1)}, "flip": 0.5}
    stats = count(workspace, data=data)
    assert stats.left_out == {"emotions": 15, "ranges.valence": 10}
    assert sum(row.chosen for row in stats.emotions) == 20 and stats.views == 2
    spread = {row.name: row for row in stats.numbers}
    assert set(spread) == {"valence", "label_AU12"}
    values = np.arange(10, 30) / 100
    assert spread["valence"].known == 20
    assert spread["valence"].mean == pytest.approx(values.mean())
    assert spread["valence"].deviation == pytest.approx(values.std())
    assert spread["valence"].high == pytest.approx(np.quantile(values, 0.95))
    with pytest.raises(UserError, match="holds no picture"):
        corpus_stats(Corpus.open(workspace), workspace.config, "test")


def test_the_manifest_is_left_alone(workspace):
    before = read_manifest(workspace.corpus / MANIFEST)
    count(workspace)
    assert before.equals(read_manifest(workspace.corpus / MANIFEST))
