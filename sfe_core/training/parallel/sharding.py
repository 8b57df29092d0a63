"""Models whose weights lie in shards on several devices (FSDP 2), gathered and scattered again.

Every function with a sharded model must be called by every process.
"""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator, init_empty_weights
from accelerate.utils import send_to_device
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from sfe_core.training.contract import Recipe


def is_sharded(model: nn.Module) -> bool:
    """Whether FSDP holds the model's weights."""
    return isinstance(model, FSDPModule)


def shard_like_live(accelerator: Accelerator, model: nn.Module) -> None:
    """Shard a second model, the averages, as accelerate sharded the live one."""
    fsdp2_prepare_model(accelerator, model)


def to_local(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor, or the tensor itself; shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(recipe: Recipe, model: nn.Module) -> nn.Module:
    """The model itself, or, of a sharded one, a whole copy on the CPU.

    Only the first process's copy has the weights; the others' has none (on the meta device).

    Args:
        recipe: says what the model is made of.
        model: the recipe's, or the averages.
    """
    if not is_sharded(model):
        return model
    state = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    copy = without_weights(recipe, model)
    if state:
        copy.load_state_dict(state, assign=True)
    return copy


def without_weights(recipe: Recipe, model: nn.Module) -> nn.Module:
    """The model itself, or, of a sharded one, a whole model of its layout without weights."""
    if not is_sharded(model):
        return model
    # Not the buffers: no file holds a text encoder's position numbers.
    with init_empty_weights(include_buffers=False):
        networks = {each.attribute: each.empty(each.of(model)) for each in recipe.networks}
        return recipe.assemble(networks).eval()


def gathered_state(optimiser: Optimizer, first: bool) -> dict[str, Any]:
    """The optimiser's `state_dict` with sharded moments made whole, as one device would have it.

    Only the `first` process gets the moments, on the CPU: those of all would fill the memory.
    """
    state = optimiser.state_dict()
    gathered_moments: dict[int, dict[str, Any]] = {}
    for place, moments in state["state"].items():
        moved = {
            name: value.full_tensor() if isinstance(value, DTensor) else value
            for name, value in moments.items()
        }
        if first:
            gathered_moments[place] = send_to_device(moved, "cpu")
    return state | {"state": gathered_moments}


def scatter_state(state: dict[str, Any], optimiser: Optimizer) -> None:
    """Load what `gathered_state` gave, sharding the moments as the weights are."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for place, moments in state["state"].items():
        weight = weights[place]
        for name, value in moments.items():
            if isinstance(weight, DTensor) and getattr(value, "shape", None) == weight.shape:
                moments[name] = distribute_tensor(
                    value.to(weight.device), weight.device_mesh, weight.placements
                )
    optimiser.load_state_dict(state)


def scatter(source: nn.Module, model: nn.Module) -> None:
    """Put a whole model's weights, the same in every process, into `model`, sharded or not."""
    if source is not model:
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(model, source.state_dict(), options=options)
