"""A checkpoint's networks: each in a folder of its own, LoRA beside them.

`<name>/` is always a whole network, adapters merged in, so that whoever reads a checkpoint need not
know how it was trained; `<name>_lora/` is what a LoRA run goes on from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sfe_core.errors import UserError
from sfe_core.training.engine.lora import has_lora, load_lora, merged, save_lora
from sfe_core.training.network import Network

LORA_SUFFIX = "_lora"


def save_networks(
    folder: Path, model: nn.Module, networks: Sequence[Network], suffix: str = ""
) -> None:
    """Write `<name><suffix>/` of every network, and its adapter, if it trains one."""
    for network in networks:
        module = network.of(model)
        if has_lora(module):
            save_lora(module, folder / f"{network.name}{LORA_SUFFIX}{suffix}")
            module = merged(module)
        network.save(module, folder / f"{network.name}{suffix}")


def load_networks(
    folder: Path, model: nn.Module, networks: Sequence[Network], suffix: str = ""
) -> None:
    """Put what `save_networks` wrote into `model`, bit for bit; of a LoRA run only what trains.

    Raises:
        UserError: the checkpoint is of a run that trains other networks, or with LoRA, or without.
        RunError: the adapters differ in rank or places.
    """
    for network in networks:
        module = network.of(model)
        adapter = folder / f"{network.name}{LORA_SUFFIX}{suffix}"
        if has_lora(module) != adapter.is_dir():
            kind = "LoRA" if adapter.is_dir() else f"whole-{network.name}"
            raise UserError(
                "train.lora_rank",
                f"{folder.parent.name} is a {kind} run",
                "restore it, or start a new run without --resume",
            )
        place = folder / f"{network.name}{suffix}"
        if not place.is_dir():
            raise UserError(
                f"--resume {folder.parent.name}",
                f"that run did not train the {network.name}",
                "restore its settings, or start a new run without --resume",
            )
        if adapter.is_dir():
            load_lora(module, adapter)
        else:
            network.load(module, place)
