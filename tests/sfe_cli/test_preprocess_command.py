"""`sfe preprocess` as typed: plans, devices, verification."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sfe_cli.typed import sfe

SMALL = ("--set", "preprocess.crop_size=64", "--cpu-processes", "1")


@pytest.fixture
def folder(workspace_folder: Path) -> Path:
    """A workspace with two portraits."""
    import skimage.data
    from PIL import Image

    face = Image.fromarray(skimage.data.astronaut()[40:200, 145:305].copy())
    face.save(workspace_folder / "photos" / "a.png")
    face.resize((200, 200)).save(workspace_folder / "photos" / "b.png")
    return workspace_folder


def test_plan_run_and_verification(folder: Path) -> None:
    planned = sfe("preprocess", "-w", folder, "--dry-run", *SMALL)
    assert planned.exit_code == 0 and "1 x cpu" in planned.stdout
    assert not (folder / "corpus").exists()
    assert sfe("preprocess", "-w", folder, *SMALL).exit_code == 0
    assert (folder / "corpus" / "report.html").is_file()
    whole = sfe("preprocess", "-w", folder, "--verify")
    assert whole.exit_code == 0 and "12" in whole.stdout
    (folder / "corpus" / "inputs" / "a.png").write_bytes(b"other")
    (folder / "corpus" / "depth" / "b.png").unlink()
    faulty = sfe("preprocess", "-w", folder, "--verify")
    assert faulty.exit_code == 1
    assert "inputs/a.png" in faulty.stdout and "depth/b.png" in faulty.stdout
    part = sfe("preprocess", "-w", folder, "--dry-run", *SMALL)
    assert "of these, in part" in part.stdout


def test_gpus_for_parts_that_use_none_are_a_mistake(folder: Path) -> None:
    result = sfe("preprocess", "-w", folder, "--gpus", 2)
    assert result.exit_code == 2
    both = sfe("preprocess", "-w", folder, "--gpus", 1, "--cpu-processes", 1)
    assert both.exit_code == 2
    assert not (folder / "corpus").exists()


def test_what_labels_mean_is_told_and_whose_numbers_are_asked_for(folder: Path) -> None:
    labels = folder / "photos" / "labels.csv"
    labels.write_text("key,emotion\na,1\na,2\nb,6\n", encoding="utf-8")
    planned = sfe("preprocess", "-w", folder, "--dry-run", *SMALL)
    assert planned.exit_code == 0
    assert "warning: labels.csv: emotions are numbers, read as AffectNet's" in planned.output
    assert "1 line contradicts an earlier one" in planned.output

    labels.write_text("image,label\na.png,0\nb.png,6\n", encoding="utf-8")
    for dry in (["--dry-run"], []):
        asked = sfe("preprocess", "-w", folder, *dry, *SMALL)
        assert asked.exit_code == 2 and "photos.classes" in asked.output
    told = sfe("preprocess", "-w", folder, "--set", "photos.classes=expw", *SMALL)
    assert told.exit_code == 0
    shown = " ".join(told.stdout.split())
    assert "emotions anger 1, neutral 1" in shown and "numbers mean expw" in shown
