"""The difference of two models as a LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

Every weight matrix W' of the fine-tuned UNet is the base's W plus a change; the best approximation
of that change by a product up · down of rank r keeps its r largest singular values (Eckart & Young
1936). For a run that trained a LoRA of rank r the change has rank r, and nothing is lost. Biases
and norms cannot be part of a LoRA; how much of the change is carried is measured and told. Where
text encoders were trained too, their attentions and MLPs are treated alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from sfe_core.diffusion.families.contract import Family
from sfe_core.diffusion.lora_files import load_adapter
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path
from sfe_core.packaging.weights import Precision, cast

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
KOHYA_FILE = "kohya.safetensors"
DEFAULT_RANK = 32
_OVERSAMPLED = 16  # extra columns of the randomised SVD, Halko et al. 2011, sec. 4.2
_EXACT_BELOW = 512  # sides up to which the full SVD is as fast

_TEXT_LAYERS = tuple(
    f".{name}.weight" for name in ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
)

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Lora:
    """A LoRA of a UNet, and of text encoders where they changed.

    Args:
        tensors: `unet.<layer>.lora_A.weight` (down) and `.lora_B.weight` (up), PEFT's names, and
            `text_encoder.text_model.<layer>…`, likewise of a second one; scale 1 (alpha = rank).
        rank: of every layer.
        carried: share of the squared change of all parameters, 0 to 1.
    """

    tensors: dict[str, torch.Tensor]
    rank: int
    carried: float


def extract_lora(base: Mapping[str, Tensors], tuned: Mapping[str, Tensors], rank: int) -> Lora:
    """The LoRA of rank `rank` nearest to `tuned` - `base`, for every layer that changed.

    Args:
        base: `unet`, `text_encoder`, … of the base to their state dicts.
        tuned: those of the fine-tuned model that were trained, of the same shapes.
        rank: of the product.

    Raises:
        UserError: the models are not of one shape, or are the same.
    """
    tensors: dict[str, torch.Tensor] = {}
    total = kept = 0.0
    for part in tuned:
        first, second = (_stripped(states[part]) for states in (base, tuned))
        if {n: t.shape for n, t in first.items()} != {n: t.shape for n, t in second.items()}:
            raise UserError("--also lora", f"{part} is not of the base's shape", "leave it out")
        for name in first:
            change = second[name].double() - first[name].double()
            energy = float(change.square().sum())
            total += energy
            if energy == 0 or not _can_hold(part, name, change):
                continue
            down, up = _factors(change, rank)
            prefix = "unet." if part == "unet" else f"{part}.text_model."
            layer = prefix + name.removesuffix(".weight")
            tensors[f"{layer}.lora_A.weight"] = down
            tensors[f"{layer}.lora_B.weight"] = up
            product = up.flatten(1).double() @ down.flatten(1).double()
            kept += energy - float((change.flatten(1) - product).square().sum())
    if not tensors:
        raise UserError("--also lora", "the weights are the base's own", "train first")
    return Lora(tensors, rank, kept / total)


def _stripped(tensors: Tensors) -> Tensors:
    # transformers drops the text encoder's wrapper from 5.6 on; LoRA files name it.
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}


def _can_hold(part: str, name: str, change: torch.Tensor) -> bool:
    """Whether readers of LoRA files look for this layer: matrices, but no embeddings."""
    if not name.endswith(".weight") or change.ndim not in (2, 4):
        return False
    return part == "unet" or name.endswith(_TEXT_LAYERS)


def _factors(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """down [r, in, …] and up [out, r, …] float32, each with half of the singular values' weight."""
    flat = change.flatten(1)
    if min(flat.shape) <= _EXACT_BELOW:
        left, values, right = torch.linalg.svd(flat, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the sketch is random; the file must not be
            left, values, right = torch.svd_lowrank(flat, rank + _OVERSAMPLED, niter=4)
        right = right.T
    kept = min(rank, len(values))
    root = values[:kept].sqrt()
    # One rank for every layer, thin ones filled with zeros: readers scale by one alpha / rank.
    up = torch.zeros(flat.shape[0], rank)
    down = torch.zeros(rank, flat.shape[1])
    up[:, :kept] = (left[:, :kept] * root).float()
    down[:kept] = (root[:, None] * right[:kept]).float()
    if change.ndim == 4:
        return down.view(rank, *change.shape[1:]), up[:, :, None, None].contiguous()
    return down, up


def write_diffusers_lora(
    lora: Lora, target: Path, precision: Precision | None, metadata: Mapping[str, str]
) -> None:
    """Write the LoRA as `save_lora_weights` would, for `load_lora_weights`."""
    _save(lora.tensors, target, precision, {"format": "pt", **metadata})


def write_kohya_lora(
    lora: Lora,
    target: Path,
    precision: Precision | None,
    metadata: Mapping[str, str],
    family: Family,
    unet: UNet2DConditionModel,
) -> None:
    """Write the LoRA under kohya's names, for ComfyUI and A1111.

    Args:
        family, unet: of the base model.
    """
    kohya = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(lora.rank),
        "ss_network_alpha": str(lora.rank),
        "ss_base_model_version": family.publishing.kohya_base,
    }
    tensors = family.kohya_lora(lora.tensors, unet)
    _save(tensors, target, precision, {"format": "pt", **kohya, **metadata})


def _save(
    tensors: Tensors, target: Path, precision: Precision | None, metadata: Mapping[str, str]
) -> None:
    tensors = cast(tensors, precision) if precision else tensors
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as partial:
        save_file({n: t.contiguous() for n, t in tensors.items()}, partial, metadata=dict(metadata))


def load_lora(pipeline: DiffusionPipeline, path: Path, layers: int) -> None:
    """Give `pipeline` the LoRA of a file, whichever of the two layouts it has.

    Args:
        layers: how many layers of UNet and text encoders it must reach.

    Raises:
        RunError: diffusers does not take it, or not all of it.
    """
    try:
        reached = len(load_adapter(pipeline, path))
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise RunError(path, f"does not load again ({error})", "report this as a bug") from error
    if reached != layers:
        raise RunError(path, f"{reached} of its {layers} layers were matched", "report this")
