from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfe_core.errors import RunError, UserError
from sfe_core.packaging.selection import choose_checkpoint


def checkpoint(runs: Path, run: str, step: int, minute: int) -> Path:
    folder = runs / run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    meta = {
        "step": step,
        "images_seen": step,
        "saved_at": f"2026-01-01T00:{minute:02d}:00+00:00",
        "base": "tiny-sd",
        "base_sha256": "",
        "corpus_sha256": "",
        "has_ema": False,
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    checkpoint(tmp_path, "b-old", 9, 1)
    checkpoint(tmp_path, "b-old", 100, 2)
    checkpoint(tmp_path, "a-new", 20, 3)
    return tmp_path


def test_the_default_is_the_last_step_of_the_run_saved_last(runs: Path):
    chosen = choose_checkpoint(runs)
    assert (chosen.run, chosen.step, chosen.has_ema) == ("a-new", 20, False)


def test_steps_are_numbers_not_words(runs: Path):
    assert choose_checkpoint(runs, run="b-old").step == 100
    assert choose_checkpoint(runs, run="b-old", step=9).folder == runs / "b-old" / "checkpoint-9"


def test_a_missing_step_lists_those_present(runs: Path):
    with pytest.raises(UserError, match=r"b-old has no checkpoint 50; it has: 9, 100$"):
        choose_checkpoint(runs, run="b-old", step=50)


def test_a_missing_run_lists_those_present(runs: Path):
    (runs / "empty").mkdir()
    with pytest.raises(UserError, match=r"no run 'c' with a checkpoint; there are: a-new, b-old$"):
        choose_checkpoint(runs, run="c")


def test_no_run_at_all_says_to_train(tmp_path: Path):
    for run in (None, "first"):
        with pytest.raises(UserError, match="sfe train"):
            choose_checkpoint(tmp_path / "runs", run=run)


def test_a_torn_checkpoint_is_passed_over_unless_asked_for(runs: Path):
    (checkpoint(runs, "b-old", 200, 9) / "meta.json").unlink()
    assert choose_checkpoint(runs, run="b-old").step == 100
    with pytest.raises(RunError, match=r"checkpoint-200: is torn .*; whole are: 9, 100$"):
        choose_checkpoint(runs, run="b-old", step=200)
