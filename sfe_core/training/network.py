"""One network of a recipe: where it lies in the model, and how it goes to disk and comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diffusers import ModelMixin
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

WEIGHTS = "model.safetensors"


def save(module: nn.Module, folder: Path) -> None:
    """Write a network: as diffusers and transformers do theirs, any other as a state dict."""
    if isinstance(module, ModelMixin | PreTrainedModel):
        module.save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: part.contiguous() for name, part in module.state_dict().items()}, folder / WEIGHTS
    )


def load(module: nn.Module, folder: Path) -> None:
    """Put what `save` wrote into a network of the same layout, bit for bit.

    Raises:
        OSError, RuntimeError, ValueError: it cannot be read, or is of another layout.
    """
    if not any(True for _ in module.parameters()):
        return  # a network without weights has no file of them
    empty = any(parameter.is_meta for parameter in module.parameters())
    if isinstance(module, ModelMixin | PreTrainedModel):
        state = type(module).from_pretrained(folder).state_dict()
    else:
        state = load_file(folder / WEIGHTS)
    module.load_state_dict(state, assign=empty)


def empty_like(module: nn.Module) -> nn.Module:
    """A network of the same layout, from the configuration that diffusers' and transformers' have.

    Raises:
        TypeError: it has none; its `Network` must bring an `empty` of its own.
    """
    if isinstance(module, ModelMixin):
        return from_config(module)
    if isinstance(module, PreTrainedModel):
        return type(module)(module.config)
    raise TypeError(f"{type(module).__name__} has no config: give its Network an `empty`")


def from_config(module: ModelMixin) -> ModelMixin:
    """A new network of diffusers with the configuration of another one."""
    # Its private notes left out: by them, what was given by position would be taken for default.
    plain = {name: value for name, value in module.config.items() if name[0] != "_"}
    return type(module).from_config(plain)


@dataclass(frozen=True)
class Network:
    """A network that trains; the engine saves, loads, averages and shards it.

    Attributes:
        name: its folder in a checkpoint, `<name>/` and `<name>_ema/`.
        attribute: where it lies in the recipe's model.
        group: what its learning rate is called in the log.
        learning_rate: peak; None: `train.learning_rate`.
        compile: worth `torch.compile`, block by block, if `train.compile` asks for it.
        save, load: to and from a folder.
        empty: a network of the same layout; its weights are not looked at.
    """

    name: str
    attribute: str
    group: str
    learning_rate: float | None = None
    compile: bool = False
    save: Callable[[nn.Module, Path], None] = save
    load: Callable[[nn.Module, Path], None] = load
    empty: Callable[[nn.Module], nn.Module] = empty_like

    def of(self, model: nn.Module) -> nn.Module:
        """This network in a model of the recipe."""
        return model.get_submodule(self.attribute)
