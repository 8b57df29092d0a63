"""`sfe corpus export`, `check` and `report`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.manifest import plain_rows, read_manifest, to_frame, write_manifest
from sfe_core.corpus.quality import MEASURES
from tests.sfe_cli.typed import sfe
from tests.tiny_workspace import write_held_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace of four faces of val300 and one of train, all measured as usual ones are."""
    workspace = Workspace(tmp_path / "work", Config())
    write_held_out(workspace, ["a", "b", "c", "d/e"])
    rows = plain_rows(read_manifest(workspace.corpus / MANIFEST))
    points = np.random.default_rng(0).uniform(4, 28, 136).tolist()
    for row in rows:
        row |= dict.fromkeys(MEASURES, 0.3)
        row |= {"depth_clipped": 0.0, "landmarks_on_mesh": 1.0, "landmarks": points}
        row |= {"crop_x": 16.0, "crop_y": 16.0, "crop_side": 32.0, "crop_rule": "landmarks"}
        row |= {"brightness": 100.0, "contrast": 30.0, "fit_error": 0.02, "invented_border": 0.3}
    write_manifest(workspace.corpus / MANIFEST, to_frame(rows))
    (workspace.root / "sfe.yaml").write_text("preset: tiny\n", encoding="utf-8")
    return workspace.root


def test_export_says_what_it_wrote_and_what_to_type_next(folder: Path, tmp_path: Path) -> None:
    said = sfe("corpus", "export", "-w", folder, "--samples-per-shard", 3)
    assert said.exit_code == 0, said.stderr
    assert "train 1, val300 4" in said.stdout and "3, 3 written now" in said.stdout
    assert "corpus.shards=exported`" in said.stdout
    again = sfe("corpus", "export", "-w", folder, "--samples-per-shard", 3)
    assert "3, 0 written now" in again.stdout
    aside = tmp_path / "aside"
    part = sfe("corpus", "export", "-w", folder, "--to", aside, "--split", "train", "--map", "mesh")
    assert part.exit_code == 0 and f"corpus.shards={aside.resolve()}`" in part.stdout
    assert {path.name for path in aside.iterdir()} == {
        "index.json",
        "manifest.parquet",
        "members.parquet",
        "train-000000.tar",
    }


def test_check_lists_faults_and_ends_with_1(folder: Path) -> None:
    fine = sfe("corpus", "check", "-w", folder)
    assert fine.exit_code == 0 and "fit to learn from  5" in fine.stdout
    said = " ".join(fine.stdout.split())
    assert "5 of 5 faces have over 10% of their crop beyond the photo" in said
    artefact(folder / "corpus", "depth", "d/e").unlink()
    bad = sfe("corpus", "check", "-w", folder)
    assert bad.exit_code == 1 and "depth is missing" in bad.stdout and "d/e" in bad.stdout
    assert "fit to learn from  4" in bad.stdout
    only = sfe("corpus", "check", "-w", folder, "--split", "train")
    assert only.exit_code == 0
    listed = sfe(
        "corpus", "check", "-w", folder, "--json", "--set", "quality.mesh_coverage=[0.4, 0.5]"
    )
    faults = json.loads(listed.stdout)
    assert listed.exit_code == 1 and len(faults) == 5
    assert {"key": "a", "problem": "mesh_coverage 0.3, allowed 0.4 to 0.5"} in faults
    odd = sfe("corpus", "check", "-w", folder, "--set", "quality.mesh_coverage=[0.5, 0.4]")
    assert odd.exit_code == 2 and "quality.mesh_coverage" in odd.stderr


def test_check_reads_every_picture_when_thorough(folder: Path) -> None:
    said = sfe("corpus", "check", "-w", folder, "--thorough", "--json")
    problems = {fault["problem"].split()[0] for fault in json.loads(said.stdout)}
    # Random noise fills mesh and landmarks wholly, whatever the manifest says.
    assert problems == {"mesh_coverage", "landmarks_drawn"}


def test_report_writes_the_page(folder: Path) -> None:
    said = sfe("corpus", "report", "-w", folder)
    assert said.exit_code == 0 and "report.html" in said.stdout
    assert "5 faces of 5 photos" in (folder / "corpus" / "report.html").read_text()
    (folder / "corpus" / MANIFEST).unlink()
    empty = sfe("corpus", "report", "-w", folder)
    assert empty.exit_code == 2 and "no corpus yet" in empty.stderr


def test_stats_counts_and_takes_settings_as_typed(folder: Path) -> None:
    said = sfe("corpus", "stats", "-w", folder, "--set", "data.ranges={crop_side: [30, 40]}")
    assert said.exit_code == 0, said.stderr
    assert "times each" in said.stdout and "ranges.crop_side 0" in said.stdout
    counted = json.loads(sfe("corpus", "stats", "-w", folder, "--split", "val300", "--json").stdout)
    assert counted["splits"] == {"val300": 4, "train": 1}
    assert sum(row["chosen"] for row in counted["emotions"]) == 4
    refused = sfe("corpus", "stats", "-w", folder, "--set", "data.ranges={smile: [0, 1]}")
    assert refused.exit_code == 2 and "data.ranges.smile" in refused.stderr
