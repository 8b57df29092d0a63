"""A workspace as preprocess and train would leave it, from random pictures and weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import yaml
from diffusers import UNet2DConditionModel

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.hashing import hash_base
from sfe_core.diffusion.unit_attention import UnitAttention, UnitEncoder
from sfe_core.files import derive_seed
from sfe_core.training.engine.checkpoints import CheckpointMeta
from tests.corpora import write_corpus

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
    write_held_out(workspace, [f"id {n // 3}/häppy.{n}" for n in range(count)])
    return workspace


def write_held_out(
    workspace: Workspace, keys: list[str], captions: dict[str, str] | None = None
) -> None:
    """A corpus with `keys` in the held-out split, and one row of the train split."""
    rows = [{"key": key, "split": SPLIT} for key in keys]
    for row in rows:
        if captions and row["key"] in captions:
            row["caption"] = captions[row["key"]]
    write_corpus(workspace, [*rows, {"key": "train/one", "split": "train"}], SIDE_PX)


def write_settings(workspace: Workspace, **changes: object) -> Path:
    """Write its configuration as its sfe.yaml, for commands; returns its folder."""
    settings = workspace.config.model_dump(mode="json", exclude={"preset"}) | changes
    (workspace.root / "sfe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return workspace.root


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
        unet, encoders = changed_networks(workspace, derive_seed(seed, suffix) % 2**31)
        unet.save_pretrained(folder / f"unet{suffix}")
        if bank:
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
        must_match={"loss.emotion_network": "cd" * 32},
    )
    (folder / "meta.json").write_text(json.dumps(meta.to_json()), encoding="utf-8")
    settings = workspace.config.model_dump(mode="json")
    (folder.parent / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    lines = [{"step": n, "raw": {"noise": 1 / n}} for n in (step // 2, step, step + 5)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder.parent / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


def changed_networks(workspace: Workspace, seed: int) -> tuple[UNet2DConditionModel, GuidanceBank]:
    """The base's UNet with its weights shaken, and guidance encoders that are not zero."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(Path(workspace.config.model.base) / "unet")
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    guidance = workspace.config.guidance
    bank = GuidanceBank(guidance.maps, guidance.block_channels, unet.config.block_out_channels[0])
    for encoder in bank.encoders.values():
        torch.nn.init.normal_(encoder.conv_out.weight, std=0.5)
    return unet, bank


def make_units_run(workspace: Workspace, units: tuple[str, ...], alone: bool = True) -> Path:
    """A checkpoint with action units that do something.

    Args:
        alone: the run learnt nothing else; False: UNet and guidance encoders too.
    """
    folder = make_run(workspace)
    for suffix in ("", "_ema"):
        unet = UNet2DConditionModel.from_pretrained(Path(workspace.config.model.base) / "unet")
        attention = woken(UnitAttention.beside(unet, units, 16), derive_seed(1, suffix) % 2**31)
        attention.save_pretrained(folder / f"action_units{suffix}")
        for part in ("unet", "guidance_encoder") if alone else ():
            shutil.rmtree(folder / f"{part}{suffix}")
    return folder


def woken(units: UnitAttention, seed: int = 0) -> UnitAttention:
    """The same, off zero as training leaves it."""
    torch.manual_seed(seed)
    for layer in units.projections.to_v.values():
        torch.nn.init.normal_(layer.weight, std=0.3)
    if isinstance(units.encoder, UnitEncoder):
        torch.nn.init.normal_(units.encoder.directions)
        torch.nn.init.normal_(units.encoder.bent.weight, std=0.05)
    return units
