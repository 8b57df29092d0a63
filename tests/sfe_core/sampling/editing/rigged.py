"""A workspace with a random rig of 32 px as its package, and synthetic photos to edit."""

from __future__ import annotations

from pathlib import Path

import yaml
from PIL import Image

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.physical.pipeline import RigPipeline, make_scheduler
from sfe_core.files import write_json
from sfe_core.packaging.listing import PROVENANCE, RUN_CONFIG
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.sfe_core.diffusion.physical.rigs import small_rig

SIDE = 32


def make_rigged(root: Path, person: str | None = None, mean_shape: bool = False) -> Workspace:
    """The workspace; its package says that it learnt a person with the mean shape, where asked."""
    (root / "photos").mkdir(parents=True, exist_ok=True)
    settings = {
        "preset": "tiny",
        "recipe": "physical",
        "preprocess": {
            "crop_size": 64,
            "workers": 1,
            "save_buffers": True,
            "mean_shape": mean_shape,
        },
        "model": {"resolution": SIDE},
        "sampling": {"batch_size": 3, "precision": "float32"},
    }
    (root / "sfe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    package = root / "packaged" / "rigged"
    RigPipeline(small_rig(), make_scheduler("ddim")).save_pretrained(package)
    write_json(package / PROVENANCE, {"packaged_at": "2026-01-01T00:00:00+00:00"})
    run = {"recipe": "physical", "recipe_options": {"mean_shape": mean_shape}}
    run["data"] = {"person": person}
    (package / RUN_CONFIG).write_text(yaml.safe_dump(run), encoding="utf-8")
    return load_workspace(root)


def write_photo(path: Path, seed: int, emotion: str = "neutral", identity: int = 5) -> Path:
    """A synthetic photo of 128 px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    face = render_face(sample_face(seed, emotion, identity), 128)
    Image.fromarray(face.image).save(path)
    return path
