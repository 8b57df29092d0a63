"""The demo, then the five commands again in its folder, with random models: plumbing only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sfe_core import demo
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet
from tests.sfe_cli.typed import sfe

pytestmark = pytest.mark.slow


def ok(*args: str | Path) -> str:
    result = sfe(*args)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


PHOTOS = {"count": 24, "size_px": 128, "balanced": True, "expressions_per_identity": 4}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict:
    """The smallest at which every step has something to do."""
    models = tmp_path_factory.mktemp("models")
    TinyEmotionNet().save_pretrained(models / "loss")
    TinyEmotionJudge().save_pretrained(models / "judge")
    return {
        "model.base": str(tiny_base),
        "model.resolution": 32,
        "guidance.block_channels": [8, 16, 32],
        "loss.emotion_network": str(models / "loss"),
        "evaluate.judge": str(models / "judge"),
        "evaluate.bootstrap": 40,
        "preprocess.crop_size": 64,
        "preprocess.workers": 1,
        "train.steps": 2,
        "train.batch_size": 4,
        "train.effective_batch": 4,
        "sampling.steps": 2,
    }


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory, settings: dict) -> Path:
    """What `sfe demo` leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SETTINGS", settings)
        patch.setattr(demo, "PHOTOS", PHOTOS)
        folder = tmp_path_factory.mktemp("demo") / "sfe demo ü"
        said = ok("demo", "--folder", folder, "--seed", 3)
    assert "report.html" in said
    return folder


def test_the_demo_leaves_a_report_triptychs_and_a_workspace(demo_folder):
    assert (demo_folder / "evaluation/val300/report.html").stat().st_size > 10_000
    summary = json.loads((demo_folder / "evaluation/val300/summary.json").read_text())
    assert {"base", "text", "guided", "real"} <= set(summary["scores"])
    assert list((demo_folder / "triptychs/val300").rglob("*.png"))
    origins = json.loads(ok("config", "show", "--json", "-w", demo_folder))
    assert origins["train.seed"] == {"value": 3, "from": "sfe.yaml"}


@pytest.mark.slow
def test_the_demo_of_action_units_shows_two_of_them(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(demo, "PHOTOS", PHOTOS)
    monkeypatch.setattr(demo, "UNIT_PHOTOS", {"count": 16, "random_units": True})
    monkeypatch.setattr(demo, "UNIT_SETTINGS", settings)
    monkeypatch.setattr(demo, "UNIT_SWEEP", "AU12")
    said = ok("demo", "--folder", tmp_path / "demo", "--recipe", "action-units")
    assert "Units, Pearson" in said and "moves others" in said and "units.png" in said
    assert any(line.split()[:1] == ["AU12"] for line in said.splitlines())
    assert (tmp_path / "demo/units.png").stat().st_size > 1000
    summary = json.loads((tmp_path / "demo/evaluation/val300/summary.json").read_text())
    assert "unit_pearson_AU12" in summary["scores"]["text"]


@pytest.mark.slow
def test_the_demo_of_one_person_shows_the_person_below_the_base(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(demo, "ALBUM", {"count": 6, "size_px": 128, "emotions": ("happy", "sad")})
    few = {"evaluate.person_noises": 2, "evaluate.identity": "dlib"}
    # Those of the preset are of its own base.
    options = {"prior_pictures": 1, "prior_steps": 2, "prior_faces": False, "expressions": None}
    own = {key: value for key, value in settings.items() if not key.startswith("guidance")}
    monkeypatch.setattr(demo, "ALBUM_SETTINGS", {**own, **few, "recipe_options": options})
    said = ok("demo", "--folder", tmp_path / "demo", "--recipe", "personal")
    assert "Class prompt shown" in said and "story.png" in said
    sheet = Image.open(tmp_path / "demo/story.png")
    assert sheet.width > 8 * 32 and sheet.height > 2 * 32
    summary = json.loads((tmp_path / "demo/evaluation/personal/summary.json").read_text())
    assert summary["personal"]["person"] == "sks woman"
    assert len(list((tmp_path / "demo/photos/3584").glob("*.jpg"))) == 6


def test_the_demo_knows_four_recipes(tmp_path):
    result = sfe("demo", "--folder", tmp_path / "demo", "--recipe", "emotions")
    assert result.exit_code == 2 and not (tmp_path / "demo").exists()
    assert (
        "--recipe emotions: is unknown; choose stableface, action-units, personal, physical"
        in result.stderr
    )


def test_the_demo_refuses_a_folder_in_use(demo_folder):
    result = sfe("demo", "--folder", demo_folder)
    assert result.exit_code == 2 and "--folder" in result.stderr


def test_the_five_commands_go_on_in_the_same_folder(demo_folder):
    again = ok("preprocess", "-w", demo_folder)
    assert "0, 24 stood from before" in again
    plan = ok("train", "-w", demo_folder, "--dry-run", "--resume", "auto", "--steps", 3)
    assert "3, from 2" in plan
    trained = ok("train", "-w", demo_folder, "--resume", "auto", "--steps", 3)
    assert "checkpoint-3" in trained
    ok("package-checkpoint", "-w", demo_folder, "--name", "second", "--weights", "raw")
    ok("triptych", "-w", demo_folder, "--package", "second")
    numbers = json.loads(ok("evaluate", "-w", demo_folder, "--package", "second", "--json"))
    assert numbers["provenance"]["package"] == "second"
    assert "open" in json.loads(sfe("doctor", "-w", demo_folder, "--json").stdout)["next"]


def test_names_that_do_not_exist_list_those_that_do(demo_folder):
    for command in ("triptych", "evaluate"):
        package = sfe(command, "-w", demo_folder, "--package", "nothing")
        assert package.exit_code == 2 and "there are" in package.stderr
        split = sfe(command, "-w", demo_folder, "--split", "nothing")
        assert split.exit_code == 2 and "val300" in split.stderr
    resume = sfe("train", "-w", demo_folder, "--resume", "nowhere")
    assert resume.exit_code == 2 and "nowhere" in resume.stderr
    run = sfe("package-checkpoint", "-w", demo_folder, "--run", "nothing")
    assert run.exit_code == 2 and "nothing" in run.stderr


def test_gpus_that_are_not_there_are_an_error_that_names_the_way(demo_folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    result = sfe("train", "-w", demo_folder, "--gpus", 2)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "--cpu-processes" in result.stderr


def test_commands_out_of_order_say_which_comes_first(workspace_folder):
    empty = sfe("preprocess", "-w", workspace_folder)
    assert empty.exit_code == 2 and "sfe synthesize" in empty.stderr
    for command in ("package-checkpoint", "triptych", "evaluate"):
        result = sfe(command, "-w", workspace_folder)
        assert result.exit_code == 2, command
        assert result.stderr.count("\n") == 1 and "`sfe " in result.stderr


def test_synthesize_checks_its_range_and_writes_labels(workspace_folder):
    args = ("synthesize", "-w", workspace_folder, "--count", 4, "--size", 64, "--workers", 1)
    bad = sfe(*args, "--identities", "9:3")
    assert bad.exit_code == 2 and "A:B" in bad.stderr
    ok(*args, "--identities", "10:12", "--per-identity", 2)
    names = sorted(path.parent.name for path in (workspace_folder / "photos").rglob("*.jpg"))
    assert names == ["0010", "0010", "0011", "0011"]
    assert (workspace_folder / "photos/labels.csv").is_file()
