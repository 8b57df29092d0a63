"""Putting published weights into a network, every tensor in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sfe_core.errors import UserError
from sfe_core.wording import listed

_NAMED = 3
# A count of training batches, which files older than PyTorch 0.4.1 lack and evaluation never reads.
_UNREAD = "num_batches_tracked"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a fetched .safetensors file, by name.

    Raises:
        UserError: it is no such file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(path, f"is not a safetensors file ({error})", "fetch it again") from error


def load_strictly(
    network: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    remedy: str = "fetch it again",
) -> None:
    """Copy `state` into `network`.

    Args:
        path: where the state is from, for the error.
        remedy: what to do about a misfit.

    Raises:
        UserError: keys are missing or have no place, or shapes differ; names the first of each.
    """
    wanted = network.state_dict()
    missing = [f"no {key}" for key in wanted if key not in state and not key.endswith(_UNREAD)]
    foreign = [f"unknown {key}" for key in state if key not in wanted]
    shapes = [
        f"{key} is {list(state[key].shape)}, not {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    wrong = [listed(kind, _NAMED) for kind in (missing, foreign, shapes) if kind]
    if wrong:
        raise UserError(path, f"does not fit: {'; '.join(wrong)}", remedy)
    network.load_state_dict(state, strict=False)
