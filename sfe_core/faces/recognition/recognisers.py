"""Loading of emotion recognisers by name: the project's tiny ones, EmoNet and HSEmotion."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sfe_core.assets import locate
from sfe_core.faces.recognition.emonet import load_emonet
from sfe_core.faces.recognition.hsemotion import load_hsemotion
from sfe_core.faces.recognition.tiny_networks import load_tiny
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
    return load_tiny(path, _FOLDER_KINDS, "an emotion recogniser")
