"""MediaPipe's face mesh with attention, 478 points of a face, in plain torch.

Kartynnik et al. 2019, https://arxiv.org/abs/1907.06724; lips, eyes and irises are read again from
crops of an early layer (Grishchenko et al. 2020, https://arxiv.org/abs/2006.10962). Module names
are those that `sfe_core.assets.conversion` gives to the tensors of the published file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.faces.recognition.reading import FaceSquare, cut_faces, fit_to_input
from sfe_core.faces.tensorflow_padding import SameConv2d
from sfe_core.strict_loading import load_strictly, read_tensors

SIDE = 192
POINTS, IRIS_POINTS = 468, 5
SQUARE = FaceSquare(scale=1.5)
# Sides of the early layer that crops are cut from, of a crop, and of what its head counts in.
_GRID, _CROP, _CROP_UNITS = 48, 16, 64
_CROP_MARGIN = 1.5  # of the region's box in the mesh

# Numbers of the refined points in the mesh, in the order their heads tell them. The first 16 of
# an eye are the rims of its lids.
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
RIGHT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156,
    70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
LEFT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383,
    300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
_LID_RIM = 16


@dataclass(frozen=True)
class MeshReading:
    """What the network says of a batch of faces.

    Attributes:
        points: [B, 478, 3], x and y in pixels, pixel centres at .5, z in the same unit, smaller
            nearer to the camera. 0 to 467 are the mesh; 468 to 472 the person's right iris (its
            middle first), 473 to 477 the left.
        presence: [B], how likely there is a face, 0 to 1.
    """

    points: Tensor
    presence: Tensor


class _Block(nn.Module):
    """Depthwise and pointwise convolution beside a shortcut that is pooled and widened."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = SameConv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.slope = nn.PReLU(outputs)
        self.stride, self.widened = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.max_pool2d(x, 2) if self.stride == 2 else x
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.widened))
        return self.slope(shortcut + self.pointwise(self.depthwise(x)))


def _blocks(width: int, *outputs: int) -> nn.Sequential:
    """A negative width halves the side."""
    found = []
    for wanted in outputs:
        found.append(_Block(width, abs(wanted), 2 if wanted < 0 else 1))
        width = abs(wanted)
    return nn.Sequential(*found)


class _Narrow(nn.Module):
    """The end of every branch: [B, 128, S, S] to [B, 32, S, S]."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.slope = nn.Conv2d(128, 32, 1), nn.PReLU(32)
        self.block = _Block(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.slope(self.reduce(x)))


class _Points(nn.Module):
    """[B, 128, 4, 4] of a crop to [B, count, 2], in `_CROP_UNITS` of it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.blocks = _blocks(128, 128, 128, -128, 128, 128)
        self.narrow = _Narrow()
        self.head = nn.Conv2d(32, 2 * count, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.narrow(self.blocks(x))).flatten(1).unflatten(1, (-1, 2))


class _Region(nn.Module):
    """Points of one region, read again from a crop turned and sized by the mesh."""

    index: Tensor

    def __init__(self, points: tuple[int, ...], corners: tuple[int, int], iris: bool) -> None:
        super().__init__()
        self.blocks = _blocks(32, 32, 32, -64, 64, 64, -128)
        self.points = _Points(len(points))
        self.iris = _Points(IRIS_POINTS) if iris else None
        self.register_buffer("index", torch.tensor(points), persistent=False)
        self.corners = corners

    def forward(self, early: Tensor, mesh: Tensor) -> Tensor:
        """[B, 32, 48, 48] and [B, 468, 2] in its cells, to [B, points + irises, 2] likewise."""
        linear, middle = self._placing(mesh)
        hidden = self.blocks(_cut(early, linear, middle))
        found = [self.points(hidden)] + ([self.iris(hidden)] if self.iris else [])
        units = torch.cat(found, dim=1) * (_CROP / _CROP_UNITS)
        return _placed(units, linear, middle)

    def _placing(self, mesh: Tensor) -> tuple[Tensor, Tensor]:
        """What brings a crop's cells into the grid: a matrix [B, 2, 2], and its middle [B, 2]."""
        first, last = (mesh[:, corner] for corner in self.corners)
        across = last - first
        cosine, sine = F.normalize(across, dim=1).unbind(1)
        turn = torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(1, (2, 2))
        upright = mesh[:, self.index] @ turn  # by its inverse, as rows
        low, high = upright.amin(dim=1), upright.amax(dim=1)
        middle = (turn @ ((low + high) / 2)[..., None])[..., 0]
        return turn * ((high - low) * (_CROP_MARGIN / _CROP))[:, None], middle


def _placed(cells: Tensor, linear: Tensor, middle: Tensor) -> Tensor:
    """[B, N, 2] in cells of a crop, to cells of the grid."""
    return (cells - _CROP / 2) @ linear.transpose(1, 2) + middle[:, None]


def _cut(early: Tensor, linear: Tensor, middle: Tensor) -> Tensor:
    """[B, C, 16, 16]; zero where the middle of a cell lies outside those at the grid's border."""
    line = torch.arange(_CROP, device=early.device, dtype=early.dtype) + 0.5
    cells = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).flatten(0, 1)
    places = _placed(cells.expand(len(early), -1, -1), linear, middle) - 0.5
    places = places.unflatten(1, (_CROP, _CROP))
    inside = ((places >= 0) & (places <= _GRID - 1)).all(dim=-1)
    grid = places * (2 / (_GRID - 1)) - 1
    found = F.grid_sample(early, grid, padding_mode="border", align_corners=True)
    return found * inside[:, None]


class FaceMesh(nn.Module):
    """[B, 3, H, W] RGB in [-1, 1], upright faces cut out by `SQUARE`, to `MeshReading`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.slope = SameConv2d(3, 16, 3, stride=2), nn.PReLU(16)
        self.early = _blocks(16, 16, 16, -32)
        self.late = _blocks(
            32, 32, 32, -64, 64, 64, -128, 128, 128, -128, 128, 128, -128, 128, 128
        )  # fmt: skip
        self.narrow = _Narrow()
        self.flag, self.mesh = nn.Conv2d(32, 1, 3), nn.Conv2d(32, 3 * POINTS, 3)
        self.lips = _Region(LIPS, (61, 291), iris=False)
        self.right_eye = _Region(RIGHT_EYE, (33, 133), iris=True)
        self.left_eye = _Region(LEFT_EYE, (362, 263), iris=True)

    def forward(self, images: Tensor) -> MeshReading:
        """Faces of any square size; points are in pixels of the pictures given."""
        early = self.early(self.slope(self.stem(fit_to_input(images, SIDE).add(1).div(2))))
        end = self.narrow(self.late(early))
        mesh = self.mesh(end).flatten(1).unflatten(1, (POINTS, 3))
        points = self._refined(mesh, early) * (images.shape[-1] / SIDE)
        return MeshReading(points, self.flag(end).sigmoid().flatten())

    def _refined(self, mesh: Tensor, early: Tensor) -> Tensor:
        """[B, 468, 3] to [B, 478, 3]; depth stays the mesh's, an iris has that of its lids."""
        scale = SIDE / _GRID
        in_grid = mesh[..., :2] / scale
        flat, irises = mesh[..., :2].clone(), []
        for region in (self.lips, self.right_eye, self.left_eye):
            found = region(early, in_grid) * scale
            count = len(region.index)
            flat[:, region.index] = found[:, :count]
            if region.iris is not None:
                depth = mesh[:, region.index[:_LID_RIM], 2].mean(dim=1)
                depth = depth[:, None, None].expand(-1, IRIS_POINTS, 1)
                irises.append(torch.cat([found[:, count:], depth], dim=2))
        return torch.cat([torch.cat([flat, mesh[..., 2:]], dim=2), *irises], dim=1)


def load_face_mesh(path: Path | None = None) -> FaceMesh:
    """The network with its published weights, frozen, in evaluation mode.

    Args:
        path: the converted file; None = the asset `face-mesh`.

    Raises:
        UserError: it is not fetched, or holds something else.
    """
    path = path or locate("face-mesh")
    network = FaceMesh()
    load_strictly(network, read_tensors(path), path)
    return network.eval().requires_grad_(False)


def read_mesh(network: FaceMesh, images: Tensor, landmarks: Tensor) -> MeshReading:
    """Read one face of every picture; gradient flows back into the pictures.

    Args:
        images: [B, 3, H, W], RGB in [-1, 1]; faces upright.
        landmarks: [B, 68, 2], x and y in pixels of `images`, pixel centres at .5.

    Returns:
        Its points are in pixels of `images`.
    """
    boxes = SQUARE.boxes(landmarks)
    reading = network(cut_faces(images, landmarks, SQUARE, SIDE))
    scale = (boxes[:, 2] - boxes[:, 0])[:, None, None] / SIDE
    corner = F.pad(boxes[:, None, :2], (0, 1))
    return MeshReading(reading.points * scale + corner, reading.presence)
