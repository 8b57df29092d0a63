"""A stage of the build: tiny-rig, stage 1 of recipe physical on synthetic people, 64 px.

It draws a photo of any of these people from the face's shading, normals and albedo; the preset
tiny-physical goes on from it on one person's album. It predicts v and every timestep counts alike:
so few updates of a prediction of noise leave the colours of hair and background to chance, as what
the code tells of them is decided where the picture is next to all noise.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfe_core.config.init import init_workspace
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.physical.pipeline import RigPipeline, Sampler, load_rig_pipeline
from sfe_core.files import atomic_path, derive_seed, write_json
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import package_checkpoint
from sfe_core.packaging.rigs import write_pipeline
from sfe_core.recipes.physical import RigPhotos, collate_photos, reconstruction_errors
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.synthesis.photos import synthesize
from sfe_core.synthesis.tiny.cards import score_table, write_card
from sfe_core.training.engine.checkpoints import list_checkpoints, read_meta
from sfe_core.training.options import TrainOptions

RIG = "tiny-rig"
SCORES = "scores-rig.json"
FACES: dict[str, Any] = {
    "count": 2400,
    "size_px": 160,
    "seed": 6,
    "identity_range": (0, 3584),
    "expressions_per_identity": 3,
}
# Updates by which the run has come to an end, the learning rate fallen: what the first left drew
# unseen people hardly worse than its own, and so it goes on.
LEGS = (2000, 4000)
# 3.2 million numbers. On one core, 1,000 updates of 32 are twenty minutes, in bfloat16.
NETWORK: dict[str, Any] = {
    "freeze_encoder": False,
    "mean_shape": False,
    "base_width": 32,
    "multipliers": [1, 1, 2, 3],
    "attention_px": [8],
    "blocks_per_level": 1,
    "dropout": 0.0,
    "encoder_width": 16,
    "latent_width": 64,
    "p2_gamma": 0.0,
    "seen_px": None,
}
# What the run changes of the preset tiny-physical.
RUN: dict[str, Any] = {
    "model.base": "none",
    "model.prediction": "v_prediction",
    "preprocess.mean_shape": False,
    "split.by": "people",
    "train.steps": LEGS[-1],
    "train.batch_size": 32,
    "train.effective_batch": 32,
    "train.learning_rate": 8e-4,
    "train.schedule": "wsd",
    "train.warmup_steps": 50,
    "train.ema_decay": 0.99,
    "train.mixed_precision": "auto",
    "train.checkpoint_every": 100,
    "train.trackers": [],
    "train.best_metric": "loss",
    "data.flip": 0.5,
}
SCORED = 96  # faces of the held-out people
SAMPLERS: tuple[tuple[Sampler, int], ...] = (("dpm-solver++", 20), ("ddim", 50))


def make_rig(
    work: Path,
    workers: int,
    reporter: Reporter,
    faces: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
) -> Path:
    """Make work/tiny-rig, card and all; goes on where it stopped.

    Args:
        work: folder for what the stages leave.
        workers: processes that render and preprocess; training takes one.
        reporter: is told of progress.
        faces, changes, network: over `FACES`, `RUN` and `NETWORK`, for a shorter build.

    Returns:
        The folder, of a `RigPipeline` in half precision.
    """
    target = work / RIG
    if target.exists():
        return target
    told = {**FACES, **(faces or {})}
    options = {**NETWORK, **(network or {})}
    settings = {**RUN, **(changes or {}), "recipe_options": options, "preprocess.workers": workers}
    workspace = _workspace(work / "rig", told, settings, workers, reporter)
    _train(workspace, settings["train.steps"], reporter)
    package = package_checkpoint(workspace, run="shipped", reuse=True, reporter=reporter).folder
    with atomic_path(target) as partial:
        write_pipeline(package, partial, PackageOptions(precision="fp16"))
        scores = score_rig(partial, workspace)
        write_json(work / SCORES, scores)
        _describe(partial, workspace, told, settings, scores)
    return target


def ship_rig(work: Path, embedded: Path) -> None:
    """Copy work/tiny-rig below `embedded`, in place of what is there."""
    shutil.rmtree(embedded / RIG, ignore_errors=True)
    shutil.copytree(work / RIG, embedded / RIG)


def _workspace(
    folder: Path,
    faces: Mapping[str, Any],
    settings: Mapping[str, Any],
    workers: int,
    reporter: Reporter,
) -> Workspace:
    """Photos with their buffers; each part is made where it is not there yet."""
    init_workspace(folder, "tiny-physical", force=True, settings=settings)
    workspace = load_workspace(folder)
    if not (workspace.photos / "labels.csv").is_file():  # written last
        synthesize(folder, workers=workers, reporter=reporter, **faces)
    preprocess(workspace, reporter)
    return workspace


def _train(workspace: Workspace, steps: int, reporter: Reporter) -> None:
    """Leg by leg up to some updates."""
    options = TrainOptions(run="shipped", resume="auto", cpu_processes=1, accept_changes=True)
    for leg in (*(leg for leg in LEGS if leg < steps), steps):
        saved = list_checkpoints(workspace.runs / "shipped")
        if not saved or read_meta(saved[-1]).step < leg:
            launch(load_workspace(workspace.root, [f"train.steps={leg}"]), options, reporter)


# ---- Scores --------------------------------------------------------------------------------------


def score_rig(folder: Path, workspace: Workspace, count: int = SCORED) -> dict[str, Any]:
    """How near unseen people's photos are drawn from their own buffers and code.

    Args:
        folder: of the pipeline.
        workspace: whose held-out faces are drawn, the first `count` of them.

    Returns:
        Faces, and by the way of drawing "l1", "l1_face", "l1_outside" (mean absolute difference of
        pictures in [-1, 1]) and "perceptual" (ST-LPIPS). Row "another's code" is drawn with the
        code of another face: what the buffers tell by themselves; "shaded face" is not drawn at
        all, it is what the network is given.
    """
    corpus, size = Corpus.open(workspace), workspace.config.model.resolution
    faces = FaceDataset(corpus, workspace.config.split.validation_name, (), size, limit=count)
    photos = RigPhotos(faces, mean_shape=False)
    batch = collate_photos([photos[view] for view in photos.views]).to(torch.device("cpu"))
    measure = load_perceptual("st-lpips")

    @torch.no_grad()
    def told(drawn: torch.Tensor) -> dict[str, float]:
        numbers = reconstruction_errors(batch.pictures, drawn, batch.buffers)
        parts = zip(drawn.split(32), batch.pictures.split(32), strict=True)
        far = torch.cat([measure(*pair) for pair in parts])
        return numbers | {"perceptual": far.mean().item()}

    pipeline = load_rig_pipeline(folder)
    codes = torch.cat([pipeline.encode(some) for some in batch.pictures.split(32)])
    rows: dict[str, dict[str, float]] = {}
    for sampler, steps in SAMPLERS:
        drawn = _drawn(pipeline.use(sampler), batch.buffers, codes, steps, faces.keys)
        rows[f"{sampler}, {steps} steps"] = told(drawn)
    sampler, steps = SAMPLERS[0]
    others = codes.roll(1, dims=0)
    drawn = _drawn(pipeline.use(sampler), batch.buffers, others, steps, faces.keys)
    rows["another's code"] = told(drawn)
    rows["shaded face"] = told(batch.buffers[:, :3] * 2 - 1)
    return {"faces": len(faces), "rows": rows}


def _drawn(
    pipeline: RigPipeline,
    buffers: torch.Tensor,
    codes: torch.Tensor,
    steps: int,
    keys: list[str],
) -> torch.Tensor:
    """Each face by a seed of its own key, 32 at once."""
    parts = []
    for rows in np.array_split(np.arange(len(keys)), max(1, len(keys) // 32)):
        seeds = [derive_seed(0, keys[row], "score") for row in rows]
        parts.append(pipeline(buffers[rows], codes[rows], steps=steps, generators=seeds))
    return torch.cat(parts)


# ---- What is shipped -----------------------------------------------------------------------------


def _describe(
    folder: Path,
    workspace: Workspace,
    faces: Mapping[str, Any],
    settings: Mapping[str, Any],
    scores: Mapping[str, Any],
) -> None:
    """Write the card."""
    parameters = _parameters(folder)
    first, end = faces["identity_range"]
    corpus = Corpus.open(workspace)
    used = corpus.split("train")
    data = {
        "photos": f"{faces['count']} of {faces['size_px']} px, identities {first} to {end - 1}, "
        f"{faces['expressions_per_identity']} of each, seed {faces['seed']}",
        "learnt from": f"{len(used)} faces in crops of {workspace.config.model.resolution} px, "
        "their buffers from Anny's head fitted to detected landmarks, as `sfe preprocess` does",
    }
    network = settings["recipe_options"]
    training = {
        "recipe": "`physical`, stage 1, from random weights",
        "network": ", ".join(f"{name} {value}" for name, value in network.items()),
        "parameters": f"{parameters:,}",
        "updates": ", then on to ".join(str(leg) for leg in LEGS),
        "run": ", ".join(
            f"{name} {value}" for name, value in settings.items() if name.startswith("train.")
        ),
    }
    text = (
        f"{scores['faces']} faces of people who were not learnt from, drawn from their own buffers "
        "and code: mean absolute difference to the photo, pictures in [-1, 1], and ST-LPIPS. "
        "`another's code` keeps the buffers alone; `shaded face` is what the network is given.\n\n"
    )
    what = (
        "DiffusionRig's network (Ding et al. 2023, https://arxiv.org/abs/2304.06711), a fortieth "
        f"of its size: {workspace.config.model.resolution} px faces from shading, normals and "
        "albedo. It predicts v. Load it with `sfe_core.diffusion.physical.pipeline.RigPipeline`."
    )
    write_card(folder, what, data, training, text + score_table(scores["rows"], "drawn by"), RIG)


def _parameters(folder: Path) -> int:
    rig = load_rig_pipeline(folder).rig
    return sum(parameter.numel() for parameter in rig.parameters())
