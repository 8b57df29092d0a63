"""HSEmotion's EfficientNets (Savchenko 2022) through timm, read from their published files.

The files are whole pickled modules, of which only the tensors are kept, see `tensor_reading`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize

from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    EmotionReading,
    fit_to_input,
)
from sfe_core.faces.tensor_reading import read_stored
from sfe_core.strict_loading import load_strictly

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet

# The published order is alphabetical by AffectNet's names.
_PUBLISHED_ORDER = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happy",
    "neutral",
    "sad",
    "surprise",
)
_ARCHITECTURES = {1280: ("tf_efficientnet_b0", 224), 1408: ("tf_efficientnet_b2", 260)}
_OUTPUTS = (len(EMOTIONS), len(EMOTIONS) + 2)


def _collect(module: Any, prefix: str = "") -> dict[str, Tensor]:
    found = {}
    for group in ("_parameters", "_buffers"):
        for name, value in getattr(module, group, {}).items():
            if isinstance(value, Tensor):
                found[prefix + name] = value
    for name, child in getattr(module, "_modules", {}).items():
        found |= _collect(child, f"{prefix}{name}.")
    return found


def read_pickled_module(path: Path) -> dict[str, Tensor]:
    """The tensors of a `torch.save(module)` file, by name, without running what it names.

    Raises:
        UserError: the file cannot be read, or does not hold a module with weights.
    """
    state = _collect(read_stored(path))
    if not state:
        raise UserError(path, "holds no weights", "fetch it again")
    return state


class HSEmotion(nn.Module):
    """An EfficientNet that reads AffectNet's eight emotions and, by its kind, valence and arousal.

    Attributes:
        classes: emotions it tells apart.
        reads_affect: whether it reads valence and arousal; they are nan where not.
    """

    classes = len(EMOTIONS)
    face_square = None

    def __init__(self, backbone: EfficientNet, input_px: int, reads_affect: bool) -> None:
        super().__init__()
        self.backbone, self.input_px, self.reads_affect = backbone, input_px, reads_affect
        self.order = [_PUBLISHED_ORDER.index(emotion) for emotion in EMOTIONS]

    def forward(self, images: Tensor) -> EmotionReading:
        """Read faces of any size.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1]; resized and normalised as ImageNet is, here.
        """
        unit = fit_to_input(images, self.input_px).add(1).div(2)
        hidden = self.backbone.forward_features(
            normalize(unit, list(IMAGENET_MEAN), list(IMAGENET_STD))
        )
        features = self.backbone.forward_head(hidden, pre_logits=True)
        out = self.backbone.get_classifier()(features)
        unread = out.new_full((len(out),), torch.nan)
        valence, arousal = out[:, -2:].unbind(1) if self.reads_affect else (unread, unread)
        return EmotionReading(out[:, : self.classes][:, self.order], valence, arousal, features)


def load_hsemotion(path: Path) -> HSEmotion:
    """Load a published model of eight emotions, frozen, in evaluation mode.

    EfficientNet-B0 (`enet_b0_8_best_vgaf.pt`, `enet_b0_8_best_afew.pt`), B2 (`enet_b2_8.pt`), or
    the multi-task B0 (`enet_b0_8_va_mtl.pt`), which alone reads valence and arousal.

    Raises:
        UserError: the file holds another network, or one of seven emotions.
    """
    state = {
        key.replace("classifier.0.", "classifier."): value
        for key, value in read_pickled_module(path).items()
    }
    weight = state.get("classifier.weight")
    if weight is None or weight.shape[1] not in _ARCHITECTURES or weight.shape[0] not in _OUTPUTS:
        shape = None if weight is None else tuple(weight.shape)
        raise UserError(
            path,
            f"classifier of shape {shape}",
            "expected [8 or 10, 1280 or 1408]: a model of eight emotions, enet_*_8*.pt",
        )
    name, input_px = _ARCHITECTURES[weight.shape[1]]
    import timm  # two seconds to import, and only this recogniser needs it
    from timm.models.efficientnet import EfficientNet

    outputs = weight.shape[0]
    backbone = timm.create_model(name, num_classes=outputs)
    assert isinstance(backbone, EfficientNet)
    load_strictly(backbone, state, path)
    network = HSEmotion(backbone, input_px, reads_affect=outputs > HSEmotion.classes)
    return network.eval().requires_grad_(False)
