"""Guidance encoders as Champ and StableFaceEmotion publish them: one state dict per map.

Their key names are those of `GuidanceEncoder`; their maps have other names (alignment, depth,
flame), and the widths must be read off the tensors, since no configuration lies beside them.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guidance_files import (
    CHAMP_NAMES,
    CHAMP_PATTERNS,
    find_champ_files,
    is_champ_folder,
)
from sfe_core.errors import UserError
from sfe_core.files import atomic_path
from sfe_core.strict_loading import load_strictly

_MEND = "fetch it again, or remove it to draw without this map"


def load_champ_bank(folder: Path) -> GuidanceBank:
    """The published encoders in `folder` as a bank, float32, in evaluation mode.

    Every tensor of a file must have its place and every place its tensor.

    Raises:
        UserError: no encoder there, or a file that is torn or of another layout.
    """
    files = find_champ_files(folder)
    if not files:
        wanted = ", ".join(CHAMP_PATTERNS[0].format(name) for name in CHAMP_NAMES.values())
        raise UserError(folder, "holds no guidance encoder", f"expected there: {wanted}")
    states = {name: _read_state(path) for name, path in files.items()}
    sizes = {name: _sizes(state, files[name]) for name, state in states.items()}
    first = next(iter(sizes))
    for name, size in sizes.items():
        if size != sizes[first]:
            raise UserError(
                files[name],
                f"has widths {size}, {files[first].name} has {sizes[first]}",
                "take the encoders of one checkpoint",
            )
    block_channels, out_channels = sizes[first]
    bank = GuidanceBank(tuple(files), block_channels, out_channels)
    for name, state in states.items():
        load_strictly(bank.encoders[name], state, files[name], _MEND)
    return bank.eval()


def save_champ_bank(bank: GuidanceBank, folder: Path) -> list[Path]:
    """Write the encoders of `bank` as StableFaceEmotion publishes them, each file atomically.

    Raises:
        UserError: the bank has a map that this layout has no name for.
    """
    written = []
    for name, encoder in bank.encoders.items():
        if name not in CHAMP_NAMES:
            raise UserError(
                f"guidance map {name!r}",
                "has no name in the original layout",
                f"known: {', '.join(CHAMP_NAMES)}",
            )
        target = Path(folder) / CHAMP_PATTERNS[0].format(CHAMP_NAMES[name])
        state = {key: value.detach().cpu().clone() for key, value in encoder.state_dict().items()}
        with atomic_path(target) as partial:
            torch.save(state, partial)
        written.append(target)
    return written


def load_bank(folder: Path, dtype: torch.dtype = torch.float32) -> GuidanceBank:
    """The guidance encoders in `folder`, saved by this project or published, in evaluation mode.

    Raises:
        UserError: published encoders do not fit.
        OSError: the folder holds neither.
    """
    if is_champ_folder(folder):
        bank = load_champ_bank(folder)
        return bank if dtype == torch.float32 else bank.to(dtype)
    return GuidanceBank.from_pretrained(folder, torch_dtype=dtype).eval()


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        # Saved from under DataParallel, every key stands below "module.".
        return {key.removeprefix("module."): value.float() for key, value in stored.items()}
    except (OSError, RuntimeError, EOFError, AttributeError, UnpicklingError) as error:
        raise UserError(path, f"is not a guidance encoder ({error})", _MEND) from error


def _sizes(state: dict[str, Tensor], path: Path) -> tuple[tuple[int, ...], int]:
    """Widths of the blocks and of the output, read off the convolutions."""
    blocks = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    try:
        widths = [state["conv_in.weight"].shape[0]]
        widths += [state[f"blocks.{place}.weight"].shape[0] for place in range(1, blocks, 2)]
        return tuple(widths), state["conv_out.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise UserError(path, f"is not a guidance encoder (no {error})", _MEND) from error
