"""What every emotion recogniser says of a face, what it wants to be shown, and how that is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

# Of RGB in [0, 1]: what networks that began on ImageNet want taken out.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EmotionReading:
    """What a recogniser reads off a batch of faces.

    Attributes:
        logits: [B, C], the first C of `EMOTIONS` in their order: all eight, seven without contempt,
            or EmoNet's five.
        valence: [B], in about [-1, 1]; nan of a recogniser that does not read it.
        arousal: [B], likewise.
        features: [B, D], the vector the head reads from.
    """

    logits: Tensor
    valence: Tensor
    arousal: Tensor
    features: Tensor


@dataclass(frozen=True)
class FaceSquare:
    """The upright square that a recogniser wants a face cut out by, from its 68 landmarks.

    Attributes:
        scale: side, as a multiple of the landmarks' larger extent.
        lift: how far its middle lies above that of the landmarks' box, as a share of that extent.
    """

    scale: float
    lift: float = 0.0

    def boxes(self, landmarks: Tensor) -> Tensor:
        """[B, 4] left, top, right, bottom of the squares of [B, 68, 2], in the same unit."""
        low, high = landmarks.amin(dim=1), landmarks.amax(dim=1)
        extent = (high - low).amax(dim=1, keepdim=True)
        middle = (low + high) / 2 - extent * landmarks.new_tensor([0.0, self.lift])
        half = extent * self.scale / 2
        return torch.cat([middle - half, middle + half], dim=1)

    def __str__(self) -> str:
        return f"square of {self.scale:g} times the landmarks' extent, {self.lift:g} of it higher"


class EmotionRecogniser(Protocol):
    """What the loss, the samples and the evaluation may ask of a loaded recogniser.

    Attributes:
        classes: emotions it knows, the first so many of `EMOTIONS`. Of a face that is asked to
            show another it can say nothing: neither right nor wrong.
        reads_affect: it reads valence and arousal; they are nan where not.
        face_square: it was made for faces cut out by this rule, see `cut_faces`; None: it reads
            pictures as `preprocess` crops them.
        input_px: side of the pictures it reads; others are resized by itself.
    """

    classes: int
    reads_affect: bool
    face_square: FaceSquare | None
    input_px: int

    def __call__(self, images: Tensor) -> EmotionReading:
        """Read faces [B, 3, H, W], RGB in [-1, 1], of any size."""
        ...


def cut_faces(images: Tensor, landmarks: Tensor, square: FaceSquare, size: int) -> Tensor:
    """Cut a face out of every picture; gradient flows back into the pictures.

    Args:
        images: [B, 3, H, W], RGB in [-1, 1].
        landmarks: [B, 68, 2], x and y in pixels of `images`, pixel centres at .5.
        square: the recogniser's `face_square`.
        size: side of the result, pixels.

    Returns:
        [B, 3, size, size] float32; each pixel is the mean of the area it covers (RoIAlign, He et
        al. 2017), and what lies outside a picture is its border, repeated.
    """
    images = images.float()
    boxes = square.boxes(landmarks.to(images))
    height, width = images.shape[-2:]
    limits = boxes.new_tensor([width, height])
    beyond = torch.cat([-boxes[:, :2], boxes[:, 2:] - limits]).amax()
    border = max(0, int(beyond.ceil().item()))
    if border:
        images = F.pad(images, [border] * 4, mode="replicate")
    # An adaptive number of samples per pixel, at least one per source pixel, is an area average.
    squares = list((boxes + border).split(1))
    return roi_align(images, squares, size, sampling_ratio=-1, aligned=True)


def fit_to_input(images: Tensor, size: int) -> Tensor:
    """Resize faces to a recogniser's input side, antialiased, leaving the range alone.

    Args:
        images: [B, 3, H, W], RGB in [-1, 1].
        size: side of the result, pixels.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
