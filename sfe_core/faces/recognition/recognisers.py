"""Loading of emotion recognisers by name: the project's tiny ones, EmoNet and HSEmotion."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from sfe_core.assets import locate
from sfe_core.errors import UserError
from sfe_core.faces.recognition.emonet import load_emonet
from sfe_core.faces.recognition.hsemotion import load_hsemotion
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet

_FOLDER_KINDS = {kind.__name__: kind for kind in (TinyEmotionNet, TinyEmotionJudge)}


def load_recogniser(name_or_path: str | Path) -> nn.Module:
    """Load a frozen recogniser in evaluation mode: [B, 3, H, W] in [-1, 1] to `EmotionReading`.

    Args:
        name_or_path: an asset's name, a folder with `config.json` and safetensors weights, or an
            EmoNet `.pth` or HSEmotion `.pt` file as published.

    Raises:
        UserError: the asset is missing, or what lies there is not a recogniser.
    """
    path = locate(name_or_path)
    if path.is_file():
        return load_hsemotion(path) if path.suffix == ".pt" else load_emonet(path)
    try:
        kind = json.loads((path / "config.json").read_text(encoding="utf-8"))["_class_name"]
        network = _FOLDER_KINDS[kind].from_pretrained(path)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(
            path, f"is not an emotion recogniser ({error})", f"known: {', '.join(_FOLDER_KINDS)}"
        ) from error
    # Shipped in half precision; read in full.
    return network.float().eval().requires_grad_(False)
