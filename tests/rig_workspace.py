"""A workspace for the physical recipe: half spheres under a light, each person with colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from tests.corpora import write_buffers, write_corpus
from tests.tiny import ANY_QUALITY

SIDE = 32  # sfe.yaml knows no smaller resolution
NETWORK: dict[str, Any] = {
    "base_width": 32,
    "multipliers": [1, 1],
    "attention_px": [16],
    "blocks_per_level": 1,
    "encoder_width": 8,
    "latent_width": 8,
}
Scene = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def scene(seed: int, side: int = SIDE) -> Scene:
    """Floats of a half sphere: shaded, normals and albedo [S, S, 3], and where it is [S, S]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / (side / 2) - (1 - 1 / side)
    inside = x**2 + y**2 < random.uniform(0.4, 0.8)
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    normals = np.stack([x, -y, z], axis=2) * inside[..., None]
    light = np.array([random.uniform(-0.6, 0.6), random.uniform(-0.3, 0.3), 0.8])
    # Redder than green and greener than blue, as skin is, and a mouth: else it is refused.
    skin = np.sort(random.uniform(0.3, 0.9, 3))[::-1]
    mouth = np.where((np.abs(x) < 0.3) & (np.abs(y - 0.35) < 0.15), 0.7, 1.0)
    albedo = skin * (mouth * inside)[..., None]
    shaded = albedo * np.clip(normals @ light, 0.1, None)[..., None]
    return shaded.astype("f"), normals.astype("f"), albedo.astype("f"), inside


def landmarks(side: int = SIDE) -> list[float]:
    """68 points (x, y) on the smallest half sphere: the contour round the others."""
    angles = np.arange(68) * 2.4
    radii = np.where(np.arange(68) < 17, 0.55, np.linspace(0, 0.5, 68)) * side / 2
    points = side / 2 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points.ravel().tolist()


def photo(drawn: Scene, seed: int) -> np.ndarray:
    """The shaded half sphere before a background of one colour: uint8 [S, S, 3]."""
    shaded, _, _, inside = drawn
    behind = np.random.default_rng(seed).uniform(0, 1, 3)
    return (np.where(inside[..., None], shaded, behind).clip(0, 1) * 255).round().astype(np.uint8)


def rig_workspace(
    root: Path,
    options: dict[str, Any] | None = None,
    photos: int = 24,
    side: int = SIDE,
    **sections: dict,
) -> Workspace:
    """Stage 1 on photos of one person p, every sixth of them held out.

    Args:
        root: its folder.
        side: of the photos, pixels.
        options: of the recipe, over `NETWORK`.
        sections: fields of sfe.yaml, over those here.
    """
    settings: dict[str, Any] = {
        "recipe": "physical",
        "recipe_options": {**NETWORK, **(options or {})},
        "model": {"base": "none", "resolution": side},
        "preprocess": {"crop_size": side, "save_buffers": True},
        "guidance": {"maps": []},
        "quality": ANY_QUALITY,
        "train": {
            "steps": 4,
            "batch_size": 4,
            "effective_batch": 8,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "ema_decay": 0.9,
            "snr_gamma": None,
            "balance": 0,
            "log_every": 1,
            "checkpoint_every": 2,
            "sample_every": 0,
            "best_metric": "l1",
            "trackers": [],
        },
        "loss": {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0},
        "sampling": {"batch_size": 4},
    }
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    workspace = Workspace(root, Config.model_validate(settings))
    scenes = {f"p/{number}": scene(number, side) for number in range(photos)}
    crops = {key: photo(drawn, int(key[2:])) for key, drawn in scenes.items()}
    rows = [
        {
            "key": key,
            "split": "val300" if number % 6 == 5 else "train",
            "landmarks": landmarks(side),
            "crop_side": float(side),
            "crop_x": side / 2,
            "crop_y": side / 2,
        }
        for number, key in enumerate(scenes)
    ]
    write_corpus(workspace, rows, side, crops)
    write_buffers(workspace, scenes)
    return workspace
