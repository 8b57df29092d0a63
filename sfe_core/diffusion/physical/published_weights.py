"""Reading `model*.pt` of DiffusionRig and DiffusionRig-Emo, whose sizes only the tensors tell."""

from __future__ import annotations

import re
import zipfile
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
_LAYER = re.compile(rf"{_UNET}(input|output)_blocks\.(\d+)\.(\d+)\.(\w+)\.")
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
    levels = _levels(state, path)
    code_width = _size(state, f"{_UNET}input_blocks.1.0.cond_emb_layers.1.weight", 1, path)
    latent_width = _size(state, "encoder.fc.weight", 0, path)
    if code_width < latent_width:
        raise UserError(
            path,
            f"modulates by {code_width} numbers, fewer than the encoder's {latent_width}",
            _REMEDY,
        )
    return {
        **levels,
        "encoder_kind": "resnet50" if "encoder.layer1.0.conv3.weight" in state else "resnet18",
        "encoder_width": _size(state, "encoder.conv1.weight", 0, path),
        "latent_width": latent_width,
        "extra_width": code_width - latent_width,
    }


def _levels(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Widths, attention and picture size of the UNet.

    A level has as many stages on the way up as on the way down, where the deepest has no halving
    block but the first convolution comes before all. Only what doubles a map is a residual block
    that is not the first of its stage.
    """
    layers = [match.groups() for match in map(_LAYER.match, state) if match]
    upward = {stage for way, stage, _, _ in layers if way == "output"}
    doubling = {
        stage
        for way, stage, place, layer in layers
        if way == "output" and place != "0" and layer == "in_layers"
    }
    attending = {stage for way, stage, place, _ in layers if way == "input" and place == "1"}
    levels = len(doubling) + 1
    per_level = len(upward) // levels
    if per_level < 2:
        raise UserError(path, "is not a model of DiffusionRig (no output blocks)", _REMEDY)
    firsts = [1 + level * per_level for level in range(levels)]
    base_width = _size(state, f"{_UNET}time_embed.0.weight", 1, path)
    last = "0.out_layers.3.weight"  # of a block, with as many channels as its level has
    widths = [_size(state, f"{_UNET}input_blocks.{first}.{last}", 0, path) for first in firsts]
    multipliers = tuple(width / base_width for width in widths)
    attentive = [level for level, first in enumerate(firsts) if str(first) in attending]
    image_size = _image_size(multipliers, attentive, path)
    return {
        "image_size": image_size,
        "base_width": base_width,
        "multipliers": multipliers,
        "attention_sizes": tuple(image_size // 2**level for level in attentive),
        "blocks_per_level": per_level - 1,
    }


def _size(state: Mapping[str, Tensor], name: str, axis: int, path: Path) -> int:
    if name not in state:
        raise UserError(path, f"is not a model of DiffusionRig (no {name})", _REMEDY)
    shape = list(state[name].shape)
    if len(shape) <= axis or not shape[axis]:
        raise UserError(path, f"is not a model of DiffusionRig ({name} is {shape})", _REMEDY)
    return shape[axis]


def _image_size(multipliers: tuple[float, ...], attentive: list[int], path: Path) -> int:
    """By the published multipliers; else the deepest level that attends is taken to be 16 px."""
    for size, published in MULTIPLIERS.items():
        if multipliers == published:
            return size
    if not attentive:
        raise UserError(path, "does not tell its image size: no level attends", _REMEDY)
    return _ATTENTION_SIZE * 2 ** attentive[-1]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        mapped = zipfile.is_zipfile(path)
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torn and forbidden pickles fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(path, f"cannot be read as weights ({reason})", _REMEDY) from error
    if not isinstance(stored, dict) or not all(isinstance(one, Tensor) for one in stored.values()):
        raise UserError(path, "holds other things than named tensors", _REMEDY)
    return {str(name).removeprefix("module."): tensor for name, tensor in stored.items()}
