"""A workspace whose photos have labels of action units, and a package that is told them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.diffusion.unit_attention import UnitAttention
from sfe_core.faces.recognition.tiny_units import TinyUnitsJudge
from tests.sfe_core.conftest import with_settings
from tests.tiny_workspace import woken

UNITS = ("AU4", "AU12", "AU25")  # of the judge; the package knows the first two


def label_units(workspace: Workspace, people: int = 3) -> None:
    """Labels at random in the manifest, AU12 with a side of its own, and who is on each photo."""
    path = workspace.corpus / MANIFEST
    rows, random = read_manifest(path), np.random.default_rng(0)
    rows["label_AU4"] = random.uniform(0, 5, len(rows))
    rows["label_AU12L"], rows["label_AU12R"] = random.uniform(0, 5, (2, len(rows)))
    rows["label_AU25"] = random.integers(0, 6, len(rows)).astype(float)
    rows["identity"] = [f"person {place % people}" for place in range(len(rows))]
    write_manifest(path, rows)


def write_units_package(workspace: Workspace, base: Path, name: str = "told") -> Path:
    """A packaged model that is the base, told of two units."""
    folder = workspace.packaged / name
    shutil.copytree(base, folder)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    woken(UnitAttention.beside(unet, UNITS[:2], 16)).save_pretrained(folder / "action_units")
    record = {"packaged_at": "2024-01-01T00:00:09"}
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def write_units_judge(folder: Path) -> Path:
    """A random reader of the units."""
    torch.manual_seed(11)
    TinyUnitsJudge(UNITS, 32, (16, 24), (1, 1)).save_pretrained(folder)
    return folder


def with_units(workspace: Workspace, judge: Path) -> Workspace:
    """The workspace, units read by `judge`, few resamples."""
    changed = {"units_judge": str(judge), "bootstrap": 40}
    return with_settings(workspace, evaluate=changed)
