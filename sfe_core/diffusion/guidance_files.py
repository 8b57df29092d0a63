"""Where what this project adds lies in a pipeline folder; which maps, without loading.

Encoders have two layouts: a bank saved by this project (config.json beside safetensors weights),
and one state dict per map as Champ and StableFaceEmotion publish them.
"""

from __future__ import annotations

import json
from pathlib import Path

GUIDANCE_FOLDER = "guidance_encoder"
UNITS_FOLDER = "action_units"
EXPRESSIONS_FOLDER = "expressions"
FUSION_FOLDER = "fusion"
BANK_CONFIG = "config.json"
# Class of a network in UNITS_FOLDER that knows one intensity a unit, no sides.
ONE_TOKEN = "FineFaceAttention"

# Our name of a map to theirs, in the order in which they were trained.
CHAMP_NAMES = {"landmarks": "alignment", "depth": "depth", "mesh": "flame"}
CHAMP_PATTERNS = ("{}_encoder_pytorch_model.bin", "guidance_encoder_{}.pth")


def find_champ_files(folder: Path) -> dict[str, Path]:
    """The published encoders in `folder`: name of the map to its file; empty where there are none.

    Looked for: `flame_encoder_pytorch_model.bin` and `guidance_encoder_flame.pth`, and so on.
    """
    found = {}
    for name, published in CHAMP_NAMES.items():
        for pattern in CHAMP_PATTERNS:
            path = Path(folder) / pattern.format(published)
            if name not in found and path.is_file():
                found[name] = path
    return found


def is_champ_folder(folder: Path) -> bool:
    """Whether published encoders lie in `folder`, and none saved by this project."""
    return not (Path(folder) / BANK_CONFIG).is_file() and bool(find_champ_files(folder))


def bank_maps(folder: Path) -> tuple[str, ...]:
    """The maps that the encoders in `folder` read, in their order; empty without such a folder.

    Raises:
        OSError, ValueError, KeyError, TypeError: it holds no encoders, or its config.json is torn.
    """
    if not Path(folder).is_dir():
        return ()
    if is_champ_folder(folder):
        return tuple(find_champ_files(folder))
    return tuple(json.loads((Path(folder) / BANK_CONFIG).read_text(encoding="utf-8"))["maps"])
