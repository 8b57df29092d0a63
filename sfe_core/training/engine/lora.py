"""Low-rank adapters on a network's attentions, in place of training it whole.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W + B A, of which only B and A train. The
layers are peft's, so that the adapter is one that diffusers reads and writes. peft is imported only
where an adapter is at hand: it takes seconds, more with bitsandbytes installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from sfe_core.errors import RunError, UserError
from sfe_core.training.network import empty_like
from sfe_core.training.new_tokens import TableWithNewRows, with_whole_table

ADAPTER = "default"
LORA_FILE = "pytorch_lora_weights.safetensors"
# The projections of a UNet's attentions, and of a text encoder's.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
# Beside adapters: what else of a network trains.
OTHERS_FILE = "others.safetensors"


def add_lora(
    network: nn.Module,
    rank: int,
    frozen: Sequence[str],
    modules: Sequence[str] = TARGETS,
    dora: bool = False,
) -> None:
    """Freeze a network and put trainable adapters on its attentions' four projections.

    An adapter starts at zero (B = 0), so it computes what it did. Its scale is 1 (alpha = rank).

    Args:
        network: changed in place; one of diffusers or transformers.
        rank: of the adapters.
        frozen: modules that get none (`train.frozen`).
        modules: other ends of the names of linear layers and convolutions that get one.
        dora: with a magnitude per output (Liu et al. 2024, https://arxiv.org/abs/2402.09353).

    Raises:
        UserError: the network has no such module, or every one is in a frozen module.
    """
    ends = tuple(f".{name}" for name in modules)
    layers = [
        name
        for name, module in network.named_modules()
        if f".{name}".endswith(ends) and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    for end, name in zip(ends, modules, strict=True):
        if not any(f".{layer}".endswith(end) for layer in layers):
            raise UserError(
                "train.lora_modules",
                f"the network has no linear layer or convolution that ends in {name!r}",
                f"e.g. {', '.join(TARGETS)}",
            )
    targets = [
        name
        for name in layers
        if not any(name == kept or name.startswith(f"{kept}.") for kept in frozen)
    ]
    if not targets:
        raise UserError(
            "train.frozen", f"{list(frozen)} leaves no attention for LoRA", "name fewer modules"
        )
    from peft import LoraConfig, inject_adapter_in_model

    network.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        init_lora_weights="gaussian",
        target_modules=targets,
        use_dora=dora,
    )
    if isinstance(network, ModelMixin):
        network.add_adapter(config, adapter_name=ADAPTER)
    else:
        inject_adapter_in_model(config, network, adapter_name=ADAPTER)


def has_lora(network: nn.Module) -> bool:
    """Whether adapters were added."""
    return any(map(_is_lora, network.modules()))


def _is_lora(module: torch.nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "get_delta_weight")


@torch.no_grad()
def merged(network: nn.Module) -> nn.Module:
    """A plain network on the CPU that computes what base and adapter do together.

    The given one is left as it is, to the bit. New tokens of a text encoder become rows of its
    table.
    """
    if isinstance(network, PreTrainedModel):
        network = with_whole_table(network)
    layers = {name: m for name, m in network.named_modules() if _is_lora(m)}
    state = {}
    for name, tensor in network.state_dict().items():
        module, _, leaf = name.rpartition(".")
        owner = module.removesuffix(".base_layer")
        if ".lora_" in name:
            continue
        if owner in layers and leaf == "weight":
            tensor = _merged_weight(layers[owner], tensor)
        state[f"{owner}.{leaf}"] = tensor.detach().cpu().clone()
    # What transformers' networks keep besides weights, such as positions, is no part of the state.
    with torch.device("meta") if isinstance(network, ModelMixin) else nullcontext():
        plain = empty_like(network)
    plain.load_state_dict(state, assign=True)
    return plain


def _merged_weight(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    parts: Any = layer
    changed = weight.float() + parts.get_delta_weight(ADAPTER).float()
    if ADAPTER not in parts.lora_magnitude_vector:
        return changed
    # DoRA: each output's row has the length that was learnt for it.
    magnitude = parts.lora_magnitude_vector[ADAPTER].weight.float()
    rows = changed.flatten(1)
    return (rows / rows.norm(dim=1, keepdim=True) * magnitude.reshape(-1, 1)).view_as(changed)


def save_lora(network: nn.Module, folder: Path) -> None:
    """Write the adapter as diffusers' `load_lora_weights` reads it, in float32.

    What else of the network trains, as new tokens do, is written beside.
    """
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(network, adapter_name=ADAPTER)
    part = "unet" if isinstance(network, ModelMixin) else "text_encoder"
    StableDiffusionPipeline.save_lora_weights(
        folder, weight_name=LORA_FILE, safe_serialization=True, **{f"{part}_lora_layers": state}
    )
    if others := _others(network):
        save_file(
            {name: p.detach().contiguous() for name, p in others.items()}, folder / OTHERS_FILE
        )


def _others(network: nn.Module) -> dict[str, nn.Parameter]:
    """What trains of a network with adapters besides these."""
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if isinstance(network.get_submodule(name.rpartition(".")[0]), TableWithNewRows)
        and name.endswith(".rows")
    }


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
    part = "unet" if isinstance(network, ModelMixin) else "text_encoder"
    state = {name.removeprefix(f"{part}."): tensor for name, tensor in state.items()}
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
    if others := _others(network):
        stored = load_file(path.parent / OTHERS_FILE)
        with torch.no_grad():
            for name, parameter in others.items():
                parameter.copy_(stored[name])
