"""`sfe generate` and the options of `sfe package-checkpoint`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from sfe_core.files import sha256_file
from sfe_core.packaging import hub
from sfe_core.sampling.pngs import read_record
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.fineface_files import write_fineface
from tests.sfe_cli.typed import sfe
from tests.tiny_workspace import make_run, make_workspace


@pytest.fixture(scope="module")
def folder(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = make_workspace(tmp_path_factory.mktemp("typed") / "work", tiny_base, count=1)
    make_run(workspace)
    settings = {
        "preset": "tiny",
        "model": {"base": str(tiny_base), "resolution": 32},
        "guidance": {"block_channels": [8, 16, 16]},
        "sampling": {"steps": 2},
        "preprocess": {"crop_size": 64},
    }
    (workspace.root / "sfe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return workspace.root


def test_a_dry_run_tells_and_writes_nothing(folder: Path):
    result = sfe(
        "package-checkpoint", "-w", folder, "--dry-run", "--dtype", "fp16", "--also", "single-file",
        "--name", "dry", "--push-to", "me/faces",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    for said in ("run first, step 10", "single-file", "would push to", "me/faces", "private"):
        assert said in result.stdout
    assert not (folder / "packaged" / "dry").exists()


def test_forms_are_listed_and_a_push_uses_the_package_that_stands(folder: Path, monkeypatch):
    pushed = []

    def push(package, repository, public, force):
        pushed.append((package.name, repository, public, force))
        return "https://hub/commit"

    monkeypatch.setattr(hub, "push_package", push)
    typed = ("package-checkpoint", "-w", folder, "--name", "typed", "--also", "lora-kohya")
    first = sfe(*typed)
    assert first.exit_code == 0, first.stderr
    assert "lora/kohya.safetensors" in first.stdout and "rank 32" in first.stdout
    assert sfe(*typed).exit_code == 2
    second = sfe(*typed, "--push-to", "me/faces", "--public")
    assert second.exit_code == 0, second.stderr
    assert "https://hub/commit" in second.stdout and "stood from before" in second.stdout
    assert pushed == [("typed", "me/faces", True, False)]


def test_sweeps_are_drawn_and_named(folder: Path):
    assert sfe("package-checkpoint", "-w", folder).exit_code == 0
    typed = ("generate", "portrait", "-w", folder, "--emotion", "Sad", "--sweep", "intensity")
    result = sfe(*typed, "--count", 2)
    assert result.exit_code == 0, result.stderr
    assert "sad, portrait" in result.stdout and "2, 2 of them drawn now" in result.stdout
    names = sorted(path.name for path in folder.glob("generated/prompts/*/*.png"))
    assert names == ["01-sad-0.00.png", "02-sad-1.00.png", "grid.png"]
    assert "2, 0 of them drawn now" in sfe(*typed, "--count", 2).stdout


def test_units_of_each_side_reach_the_pictures_record(folder: Path):
    typed = ("generate", "portrait", "-w", folder, "--au", "AU12=3,AU6=2", "--au", "AU12R=0")
    result = sfe(*typed, "--package", _package(folder), "--out", folder / "smirk")
    assert result.exit_code == 0, result.stderr
    (picture,) = (folder / "smirk").glob("*.png")
    record = read_record(picture)
    assert record["expression"] == {"units": {"AU12": [3.0, 0.0], "AU6": [2.0, 2.0]}}
    assert record["prompt"] == "portrait" and record["maps"]


def test_a_lora_is_meant_from_where_the_command_is_typed(folder: Path, monkeypatch):
    made = sfe("package-checkpoint", "-w", folder, "--name", "apart", "--also", "lora-kohya")
    assert made.exit_code == 0, made.stderr
    monkeypatch.chdir(folder / "packaged" / "apart" / "lora")
    typed = ("generate", "x", "-w", folder, "--lora", "kohya.safetensors=-0.5")
    result = sfe(*typed, "--package", _package(folder), "--out", folder / "with-lora")
    assert result.exit_code == 0, result.stderr
    (picture,) = (folder / "with-lora").glob("*.png")
    assert read_record(picture)["drawn_with"]["loras"] == {
        sha256_file(Path("kohya.safetensors")): -0.5
    }


def test_a_table_draws_a_picture_per_line(folder: Path):
    table = folder / "faces.csv"
    table.write_text("name,emotion,intensity,AU12L\na,sad,0.5,\nb,,,4\n", encoding="utf-8")
    typed = ("generate", "portrait", "-w", folder, "--table", table, "--out", folder / "faces")
    result = sfe(*typed, "--package", _package(folder))
    assert result.exit_code == 0, result.stderr
    said = [read_record(folder / "faces" / name)["expression"] for name in ("01-a.png", "02-b.png")]
    assert said == [{"emotion": "sad", "intensity": 0.5}, {"units": {"AU12": [4.0, 0.0]}}]


def test_a_photos_own_expression_is_read_changed_and_told(folder: Path, tmp_path: Path):
    photo = tmp_path / "her.png"
    Image.fromarray(render_face(sample_face(5, "sad", 77), 160).image).save(photo)
    typed = ("generate", "-w", folder, "--like", photo, "--au-change", "AU12=+2,AU18=1")
    made = sfe(*typed, "--package", _package(folder), "--out", folder / "changed")
    assert made.exit_code == 0, made.stderr
    (picture,) = (folder / "changed").glob("*.png")
    record = read_record(picture)
    assert record["change"] == {"AU12": [2.0, 2.0], "AU18": [1.0, 1.0]}
    assert record["read_by"].keys() == {"tiny-units-loss", "fitted head"} and record["maps"]
    lines = [line.split("  ")[0] for line in made.stdout.splitlines()]
    assert lines[1:4] == ["read by tiny-units-loss", "read by fitted head", "changed to"]
    left = record["read_by"]["tiny-units-loss"]["AU12"][0]
    assert f"AU12 left {left + 2:.1f}" in made.stdout or f"AU12 {left + 2:.1f}" in made.stdout


def test_finefaces_files_are_packaged_and_drawn_with(folder: Path, tiny_base: Path, tmp_path: Path):
    files = write_fineface(tmp_path / "fineface", tiny_base)
    typed = ("package-checkpoint", "-w", folder, "--fineface", files, "--name", "fineface")
    told = sfe(*typed, "--dry-run")
    assert told.exit_code == 0 and "with FineFace's action units" in told.stdout
    made = sfe(*typed)
    assert made.exit_code == 0, made.stderr
    drawn = sfe("generate", "x", "-w", folder, "--package", "fineface", "--au", "AU12=3", "--out",
                folder / "smile")  # fmt: skip
    assert drawn.exit_code == 0, drawn.stderr
    (picture,) = (folder / "smile").glob("*.png")
    assert read_record(picture)["units"] == {"AU12L": 3.0, "AU12R": 3.0}


def _package(folder: Path) -> str:
    if not (folder / "packaged" / "asked").exists():
        assert sfe("package-checkpoint", "-w", folder, "--name", "asked").exit_code == 0
    return "asked"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("generate",), "PROMPT: is empty"),
        (("generate", "x", "--emotion", "sad=2"), "intensity: 2; give 0 to 1.5"),
        (("generate", "x", "--strength", "0.7"), "is of --emotion, which is not given"),
        (("generate", "x", "--emotion", "sad=1", "--strength", "0.7"), "--strength: is said twice"),
        (("generate", "x", "--emotion", "sad", "--strength", "1.6"), "less than or equal to 1.5"),
        (("generate", "x", "--au", "AU99=2"), "AU99: is not an action unit"),
        (("generate", "x", "--mix", "sad"), "'sad' has no value"),
        (("generate", "x", "--emotion", "sad=0.5", "--valence", "0.1"), "decide the strength"),
        (("generate", "x", "--table", "gone.csv"), "cannot be read"),
        (
            ("generate", "x", "--expression-of", "gone.png", "--sweep", "smile"),
            "'smile' is unknown",
        ),
        (("generate", "x", "--expression-of", "gone.png"), "gone.png"),
        (
            ("generate", "x", "--expression", "a.csv", "--expression-of", "b.png"),
            "say the face more than once",
        ),
        (("generate", "x", "--au-change", "AU12=+2"), "add --like PHOTO"),
        (("generate", "x", "--like", "a.png", "--au-change", "AU12=9"), "give -5 to 5"),
        (
            ("generate", "x", "--like", "a.png", "--au-change", "AU12=1", "--au", "AU4=1"),
            "keeps the photo's expression",
        ),
        (
            ("generate", "x", "--like", "a.png", "--au-change", "AU12=1", "--expression-of", "b"),
            "keeps the photo's expression",
        ),
        (("package-checkpoint", "--fineface", "gone"), "holds no attn_processors.ckpt"),
        (("generate", "x", "--emotion", "joy"), "choose one of neutral, happy"),
        (("generate", "x", "--package", "gone"), "there are"),
        (("generate", "x", "--fusion-strength", "0.5"), "learnt no fusion"),
        (("generate", "x", "--lora", "gone.safetensors"), "gone.safetensors: does not exist"),
        (("generate", "x", "--lora", "a=9"), "give -4 to 4"),
        (("generate", "x", "--lora", "a=nan"), "give -4 to 4"),
        (("generate", "x", "--lora", "a", "--lora", "./a=1"), "is given twice"),
        (("package-checkpoint", "--push-to", "nowhere"), "owner/name"),
        (("package-checkpoint", "--from", "gone"), "gone: does not exist"),
    ],
)
def test_mistakes_are_one_line(folder: Path, args, said):
    result = sfe(args[0], "-w", folder, *args[1:])
    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.count("\n") == 1
