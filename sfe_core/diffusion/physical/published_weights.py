"""Reading `model*.pt` of DiffusionRig and DiffusionRig-Emo, whose sizes only the tensors tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.rig_unet import MULTIPLIERS
from sfe_core.errors import UserError
from sfe_core.strict_loading import load_strictly

_UNET = "denoisingUNet."
_REMEDY = "give a model*.pt of DiffusionRig or DiffusionRig-Emo"
_ATTENTION_SIZE = 16  # of the feature maps on which published networks attend


def load_published_rig(path: Path) -> DiffusionRig:
    """The network of a `model*.pt`, on the CPU, in float32 and evaluation mode.

    Args:
        path: as the authors' training writes it: names to tensors, without their settings.

    Raises:
        UserError: it cannot be read, holds anything but tensors, or tensors are missing, unknown
            or of other shapes than the network that it tells of; names them.
    """
    state = _read(path)
    rig = DiffusionRig(**rig_settings(state, path))
    load_strictly(rig, state, path, _REMEDY)
    return rig.eval()


def rig_settings(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The settings of the network that these tensors are of, as `DiffusionRig` takes them.

    Not told by tensors, and left as published: heads and dropout.

    Args:
        state: its tensors by published name.
        path: where they are from, for the error.

    Raises:
        UserError: a tensor that tells a size is missing.
    """
    unet = {name.removeprefix(_UNET): one for name, one in state.items() if name.startswith(_UNET)}
    try:
        settings = _levels(unet)
        code_width = unet["input_blocks.1.0.cond_emb_layers.1.weight"].shape[1]
        latent_width = state["encoder.fc.weight"].shape[0]
        encoder_width = state["encoder.conv1.weight"].shape[0]
    except (KeyError, IndexError) as error:
        problem = f"is not a model of DiffusionRig (no readable {error.args[0]})"
        raise UserError(path, problem, _REMEDY) from error
    if code_width < latent_width:
        raise UserError(
            path,
            f"modulates by {code_width} numbers, fewer than the encoder's {latent_width}",
            _REMEDY,
        )
    return {
        **settings,
        "encoder_kind": "resnet50" if "encoder.layer1.0.conv3.weight" in state else "resnet18",
        "encoder_width": encoder_width,
        "latent_width": latent_width,
        "extra_width": code_width - latent_width,
    }


def _levels(unet: Mapping[str, Tensor]) -> dict[str, Any]:
    """Widths, attention and picture size of the UNet.

    A level has as many blocks on the way up as there are on the way down together with the one that
    halves the map; only those that double it stand second or third in their stage.
    """
    stages = len({name.split(".")[1] for name in unet if name.startswith("output_blocks.")})
    doubling = sum(
        name.startswith("output_blocks.")
        and name.endswith(".in_layers.2.weight")
        and name.split(".")[2] != "0"
        for name in unet
    )
    levels = doubling + 1
    per_level = stages // levels
    firsts = [1 + level * per_level for level in range(levels)]
    base_width = unet["time_embed.0.weight"].shape[1]
    widths = [unet[f"input_blocks.{first}.0.out_layers.3.weight"].shape[0] for first in firsts]
    multipliers = tuple(width / base_width for width in widths)
    attentive = [
        level for level, first in enumerate(firsts) if f"input_blocks.{first}.1.qkv.weight" in unet
    ]
    image_size = _image_size(multipliers, attentive)
    return {
        "image_size": image_size,
        "base_width": base_width,
        "multipliers": multipliers,
        "attention_sizes": tuple(image_size // 2**level for level in attentive),
        "blocks_per_level": per_level - 1,
    }


def _image_size(multipliers: tuple[float, ...], attentive: list[int]) -> int:
    """By the published multipliers; else the deepest level that attends is taken to be 16 px."""
    for size, published in MULTIPLIERS.items():
        if multipliers == published:
            return size
    if not attentive:
        raise KeyError("image size: no level attends")
    return _ATTENTION_SIZE * 2 ** attentive[-1]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torn and forbidden pickles fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(path, f"cannot be read as weights ({reason})", _REMEDY) from error
    if not isinstance(stored, dict) or not all(isinstance(one, Tensor) for one in stored.values()):
        raise UserError(path, "holds other things than named tensors", _REMEDY)
    return {str(name).removeprefix("module."): tensor for name, tensor in stored.items()}
