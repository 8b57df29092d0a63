"""`sfe evaluate` as typed: folders of pictures, comparisons, and mistakes told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfe_cli.evaluate import given_images
from sfe_core.errors import UserError
from sfe_core.evaluation import evaluate as evaluation
from sfe_core.evaluation.summary import EvaluationSummary
from tests.sfe_cli.typed import sfe


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    assert sfe("init", "-w", folder).exit_code == 0
    return folder


def summary_in(folder: Path, top1: float) -> EvaluationSummary:
    """A small evaluation as it lies on disk."""
    score = {"low": None, "high": None, "n": 4, "backend": "judge", "weights_sha256": "0"}
    stored = {
        "split": "val300",
        "keys_sha256": "k",
        "pictures": 4,
        "resolution": 64,
        "emotions": {"happy": 4},
        "reference": {"split": "train", "n": 9},
        "metrics": {
            "top1": {
                "title": "Emotion Top-1",
                "unit": "share",
                "better": "higher",
                "headline": True,
                "digits": 1,
            }
        },
        "scores": {"base": {"top1": {"value": top1, "resize": "64 px", **score}}},
        "deltas": {},
        "tests": {},
        "confusion": {},
        "excluded": {},
        "notes": ["few pictures"],
        "provenance": {
            "sfe": "0",
            "torch": "0",
            "base": "tiny-sd",
            "package": "first",
            "weights_sha256": {},
            "corpus_sha256": "c",
            "loss_networks": [],
            "settings": {"sampling": {"steps": int(100 * top1)}},
        },
    }
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(stored), encoding="utf-8")
    return EvaluationSummary.model_validate({**stored, "folder": folder})


def test_folders_after_images_reach_the_core(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def measure(*arguments):
        calls.append(arguments)
        return summary_in(workspace / "evaluation" / "x", 0.5)

    monkeypatch.setattr(evaluation, "evaluate", measure)
    words = ["evaluate", "-w", str(workspace), "--images", "base=one", "fine=two words", "--name"]
    result = sfe(*words, "x")
    assert result.exit_code == 0, result.output
    _, split, package, _, images, name, _ = calls[0]
    assert (split, package, name) == (None, None, "x")
    assert images == {"base": Path("one"), "fine": Path("two words")}
    assert "50.0 %" in result.stdout and "few pictures" in result.stdout


def test_words_that_are_no_folders_are_the_users_mistakes():
    assert given_images(["a=x"], ["b=y=z"]) == {"a": Path("x"), "b": Path("y=z")}
    with pytest.raises(UserError, match="is not NAME=DIR"):
        given_images(["folder"], [])
    with pytest.raises(UserError, match="comes twice"):
        given_images(["a=x"], ["a=y"])
    with pytest.raises(UserError, match="is not an option"):
        given_images([], ["a=x"])


def test_two_evaluations_stand_side_by_side(workspace: Path):
    for name, top1 in {"first": 0.25, "second": 0.5}.items():
        summary_in(workspace / "evaluation" / name, top1)
    words = ["evaluate", "-w", str(workspace), "--compare", "first", "second"]
    result = sfe(*words)
    assert result.exit_code == 0, result.output
    line = next(line for line in result.stdout.splitlines() if "Top-1" in line)
    assert "25.0 %" in line and "50.0 %" in line and "+25.0 %" in line
    assert "sampling.steps 25 in first, 50 in second" in result.stdout
    found = json.loads(sfe(*words, "--json").stdout)
    assert found["scores"][0]["change"]["value"] == 0.25


def test_an_unknown_evaluation_is_one_line(workspace: Path):
    summary_in(workspace / "evaluation" / "first", 0.5)
    words = ["evaluate", "-w", str(workspace), "--compare", "first", "none"]
    result = sfe(*words)
    assert result.exit_code == 2
    assert "there are: first" in result.output and "Traceback" not in result.output
