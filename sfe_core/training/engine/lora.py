"""Low-rank adapters on a network's attentions, in place of training it whole.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W + B A, of which only B and A train. The
layers are peft's, so that the adapter is one that diffusers reads and writes. peft is imported only
where an adapter is at hand: it takes seconds, more with bitsandbytes installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import ModelMixin, StableDiffusionPipeline
from safetensors.torch import load_file
from torch import nn

from sfe_core.errors import RunError, UserError
from sfe_core.training.network import from_config

ADAPTER = "default"
LORA_FILE = "pytorch_lora_weights.safetensors"
_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def add_lora(network: ModelMixin, rank: int, frozen: Sequence[str]) -> None:
    """Freeze a network and put trainable adapters on its attentions' four projections.

    An adapter starts at zero (B = 0), so it computes what it did. Its scale is 1 (alpha = rank).

    Args:
        network: changed in place; one of diffusers.
        rank: of the adapters.
        frozen: modules that get none (`train.frozen`).

    Raises:
        UserError: every attention is in a frozen module.
    """
    targets = [
        name
        for name, _ in network.named_modules()
        if name.endswith(_TARGETS)
        and not any(name == kept or name.startswith(f"{kept}.") for kept in frozen)
    ]
    if not targets:
        raise UserError(
            "train.frozen", f"{list(frozen)} leaves no attention for LoRA", "name fewer modules"
        )
    from peft import LoraConfig

    network.requires_grad_(False)
    network.add_adapter(
        LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets),
        adapter_name=ADAPTER,
    )


def has_lora(network: nn.Module) -> bool:
    """Whether adapters were added."""
    return any(map(_is_lora, network.modules()))


def _is_lora(module: torch.nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "get_delta_weight")


@torch.no_grad()
def merged(network: ModelMixin) -> ModelMixin:
    """A plain network on the CPU that computes what base and adapter do together.

    The given one is left as it is, to the bit.
    """
    layers = {name: m for name, m in network.named_modules() if _is_lora(m)}
    state = {}
    for name, tensor in network.state_dict().items():
        module, _, leaf = name.rpartition(".")
        owner = module.removesuffix(".base_layer")
        if ".lora_" in name:
            continue
        if owner in layers and leaf == "weight":
            tensor = tensor.float() + layers[owner].get_delta_weight(ADAPTER).float()
        state[f"{owner}.{leaf}"] = tensor.detach().cpu().clone()
    with torch.device("meta"):
        plain = from_config(network)
    plain.load_state_dict(state, assign=True)
    return plain


def save_lora(network: nn.Module, folder: Path) -> None:
    """Write the adapter as diffusers' `load_lora_weights` reads it, in float32."""
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(network, adapter_name=ADAPTER)
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=state, weight_name=LORA_FILE, safe_serialization=True
    )


def load_lora(network: nn.Module, folder: Path) -> None:
    """Read what `save_lora` wrote into the adapters of `network`, bit for bit.

    Raises:
        RunError: the file is missing, torn, or of adapters with another rank or other places.
    """
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    path = Path(folder) / LORA_FILE
    try:
        state = load_file(path)
    except Exception as error:  # safetensors raises a type of its own that derives from Exception
        raise RunError(
            path, f"cannot be read ({error})", "choose another checkpoint of the run"
        ) from error
    state = {name.removeprefix("unet."): tensor for name, tensor in state.items()}
    now = get_peft_model_state_dict(network, adapter_name=ADAPTER)
    unlike = [
        name
        for name in sorted(now.keys() | state.keys())
        if name not in now or name not in state or now[name].shape != state[name].shape
    ]
    if unlike:
        raise RunError(
            path,
            f"is not of these adapters ({unlike[0]} and {len(unlike) - 1} more differ)",
            "restore train.lora_rank and train.frozen, or start a new run without --resume",
        )
    set_peft_model_state_dict(network, state, adapter_name=ADAPTER)
