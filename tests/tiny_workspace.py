"""A workspace as preprocess and train would leave it, from random pictures and weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from diffusers import UNet2DConditionModel
from PIL import Image

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS, MANIFEST, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import to_frame, write_manifest
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.emotions import EMOTIONS
from sfe_core.files import derive_seed, sha256_file
from sfe_core.training.engine.checkpoints import CheckpointMeta
from sfe_core.training.engine.session import hash_base

SPLIT = "val300"
SIDE_PX = 32


def make_workspace(folder: Path, base: Path, count: int = 8, **sampling: object) -> Workspace:
    """A workspace with a corpus of `count` held-out items of 32 px and one training item."""
    config = Config.model_validate(
        {
            "model": {"base": str(base), "resolution": SIDE_PX},
            "guidance": {"block_channels": [8, 16, 16]},
            "sampling": {"steps": 2, "guidance_scale": 3.0, "batch_size": 3, **sampling},
            "triptych": {"tile_px": 64},
        }
    )
    workspace = Workspace(Path(folder), config)
    write_corpus(workspace, [f"id {n // 3}/häppy.{n}" for n in range(count)])
    return workspace


def write_corpus(
    workspace: Workspace, keys: list[str], captions: dict[str, str] | None = None
) -> None:
    """Random crops and maps, the manifest over them, and one row of the train split."""
    rows = [_row(workspace.corpus, key, place) for place, key in enumerate([*keys, "train/one"])]
    for row in rows:
        row["caption"] = (captions or {}).get(row["key"], row["caption"])
        row["split"] = "train" if row["key"].startswith("train/") else SPLIT
    write_manifest(workspace.corpus / MANIFEST, to_frame(rows))


def _row(corpus: Path, key: str, place: int) -> dict[str, object]:
    random = np.random.default_rng(derive_seed("tiny corpus", key))
    row: dict[str, object] = {"key": key, "photo": f"{key}.jpg", "status": "ok"}
    for name, folder in {"inputs": INPUTS, **MAP_FOLDERS}.items():
        path = artefact(corpus, folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "depth":
            pixels = random.integers(0, 65536, (SIDE_PX, SIDE_PX)).astype(np.uint16)
        else:
            pixels = random.integers(0, 256, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        row[f"{name}_sha256"] = sha256_file(path)
    emotion = EMOTIONS[place % len(EMOTIONS)]
    return row | {"emotion": emotion, "caption": f"{emotion}, face", "caption_source": "template"}


def make_run(
    workspace: Workspace,
    run: str = "first",
    step: int = 10,
    ema: bool = True,
    bank: bool = True,
    seed: int = 1,
    saved_minute: int = 0,
) -> Path:
    """A checkpoint whose UNet differs from the base's and whose guidance encoders do something."""
    folder = workspace.runs / run / f"checkpoint-{step}"
    for suffix in ("", "_ema") if ema else ("",):
        torch.manual_seed(derive_seed(seed, suffix) % 2**31)
        unet = UNet2DConditionModel.from_pretrained(Path(workspace.config.model.base) / "unet")
        with torch.no_grad():
            for parameter in unet.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        unet.save_pretrained(folder / f"unet{suffix}")
        if bank:
            encoders = GuidanceBank(
                maps=workspace.config.guidance.maps,
                block_channels=workspace.config.guidance.block_channels,
                out_channels=unet.config.block_out_channels[0],
            )
            for encoder in encoders.encoders.values():
                torch.nn.init.normal_(encoder.conv_out.weight, std=0.5)
            encoders.save_pretrained(folder / f"guidance_encoder{suffix}")
    base = workspace.config.model.base
    meta = CheckpointMeta(
        step=step,
        images_seen=64 * step,
        saved_at=f"2026-01-01T00:{saved_minute:02d}:00+00:00",
        base=base,
        base_sha256=hash_base(Path(base)),
        corpus_sha256="ab" * 32,
        has_ema=ema,
    )
    (folder / "meta.json").write_text(json.dumps(meta.to_json()), encoding="utf-8")
    settings = workspace.config.model_dump(mode="json")
    (folder.parent / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    lines = [{"step": n, "raw": {"noise": 1 / n}} for n in (step // 2, step, step + 5)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder.parent / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder
