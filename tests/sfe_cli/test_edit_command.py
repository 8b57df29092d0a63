"""`sfe edit` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.sfe_cli.typed import sfe
from tests.sfe_core.sampling.editing.rigged import make_rigged, write_photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("typed")
    make_rigged(root)
    write_photo(root / "in" / "her.png", 11)
    write_photo(root / "target.png", 33, "surprise", 77)
    return root


def test_photos_and_numbers_in_one_picture(folder: Path) -> None:
    target = folder / "target.png"
    result = sfe(
        "edit", folder / "in", "-w", folder, "--out", folder / "out", "--expression-of", target,
        "--pose-of", target, "--light", "left", "--yaw", "-10", "--au", "AU12=3", "--strength",
        "0.8", "--scheduler", "dpm++", "--steps", 2, "--redraws", 0, "--keep-surround",
        "--in-photo",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "1, 1 of them drawn now" in result.stdout and "sheet.png" in result.stdout
    (entry,) = json.loads((folder / "out" / "edits.json").read_text(encoding="utf-8"))["pictures"]
    asked = entry["asked"]
    assert asked["light"] == "left" and asked["yaw"] == -10 and asked["strength"] == 0.8
    assert asked["expression"] == {"units": {"AU12": [3.0, 3.0]}}
    assert entry["in_photo"] == "in_photo/her.png" and "in the photo" in result.stdout
    with Image.open(folder / "out" / "in_photo" / "her.png") as laid:
        assert laid.size == (128, 128)
    assert (folder / "out" / "her.png").is_file() and (folder / "out/buffers/her.png").is_file()


def test_words_and_sweeps(folder: Path) -> None:
    result = sfe(
        "edit", folder / "in" / "her.png", "-w", folder, "--emotion", "happy=0.7", "--sweep",
        "yaw", "--count", 2, "--steps", 2, "--redraws", 0,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "2, 2 of them drawn now" in result.stdout and "grid" in result.stdout
    result = sfe(
        "edit", folder / "in" / "her.png", "-w", folder, "--valence", 0.8, "--arousal", 0.4,
        "--steps", 2, "--redraws", 0,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((), "nothing is to change"),
        (("--light", "behind"), "left, right"),
        (("--emotion", "hungry"), "hungry"),
        (("--au-change", "AU12=+2", "--emotion", "sad"), "--au-change"),
        (("--sweep", "hat"), "hat"),
    ],
)
def test_mistakes_are_one_line(folder: Path, typed: tuple[str, ...], said: str) -> None:
    result = sfe("edit", folder / "in" / "her.png", "-w", folder, *typed)
    assert result.exit_code == 2 and said in result.stderr
