"""`sfe corpus import` as it is typed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.rig_files import write_rig_database
from tests.sfe_cli.typed import sfe


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "3").mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(folder / "3" / "a.jpg")
    (folder / "odd").mkdir()
    Image.new("RGB", (8, 8), "blue").save(folder / "odd" / "b.jpg")
    return folder


def call(*args: str | Path):
    return sfe("corpus", "import", *args)


def test_an_import_tells_what_it_took_and_what_it_passed_over(
    workspace_folder: Path, data_set: Path
) -> None:
    result = call(data_set, "-w", workspace_folder, "--classes", "fer2013", "--into", "fer")
    assert result.exit_code == 0, result.output
    assert (workspace_folder / "photos/fer/3/a.jpg").is_symlink()
    assert "happy 1" in result.stdout and "wrong label 1" in result.stdout
    assert "set.problems.csv" in result.stdout and "sfe preprocess" in result.stdout
    text = (workspace_folder / "photos/labels.csv").read_text(encoding="utf-8")
    assert text == "key,emotion\nfer/3/a,happy\n"


def test_json_and_dry_run(workspace_folder: Path, data_set: Path) -> None:
    arguments = (data_set, "-w", workspace_folder, "--classes", "raf-db", "--json")
    planned = json.loads(call(*arguments, "--dry-run").stdout)
    assert planned["images"] == 1 and planned["emotions"] == {"disgust": 1}
    assert list((workspace_folder / "photos").iterdir()) == []
    done = json.loads(call(*arguments, "--as", "copy").stdout)
    assert done["put_into_photos"] == 1 and done["passed_over"] == {"wrong label": 1}


def test_a_data_base_of_diffusion_rig_tells_of_buffers_and_mean_shape(
    workspace_folder: Path, tmp_path: Path
) -> None:
    write_rig_database(tmp_path / "anna", [Image.new("RGB", (8, 8), "red")])
    (tmp_path / "anna" / "mean_shape.pkl").write_bytes(pickle.dumps(torch.zeros(1, 100)))
    planned = call(tmp_path / "anna", "-w", workspace_folder, "--dry-run")
    assert planned.exit_code == 0 and "albedo" in planned.stdout, planned.output
    assert not (workspace_folder / "maps").exists()
    done = json.loads(call(tmp_path / "anna", "-w", workspace_folder, "--json").stdout)
    assert done["with_a_render"] == 1
    assert done["mean_shape"].endswith("corpus/mean_shapes/anna.npz")
    assert (workspace_folder / "photos/anna/000000.png").is_file()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([], "which mean different emotions in different data sets"),
        (["--classes", "affect"], "'affect' is unknown; choose affectnet"),
        (["--format", "table"], "'table' is unknown"),
        (["--as", "move"], "'move' is not one of"),
    ],
)
def test_mistakes_are_one_line(
    workspace_folder: Path, data_set: Path, extra: list[str], said: str
) -> None:
    result = call(data_set, "-w", workspace_folder, *extra)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and said in result.stderr
