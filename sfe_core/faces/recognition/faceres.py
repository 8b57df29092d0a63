"""HSE-FaceRes, a face recogniser trained on VGGFace2, as a second opinion beside dlib's.

A MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861) whose pooled features are the
vector (Savchenko 2019). Its heads for age and sex are left behind. Module names are those that
`sfe_core.assets.conversion` gives to the tensors of the published file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sfe_core.arrays import Floats, Pixels
from sfe_core.assets import locate
from sfe_core.errors import UserError
from sfe_core.faces.detection import Face
from sfe_core.faces.recognition.reading import FaceSquare, cut_faces, fit_to_input
from sfe_core.faces.tensorflow_padding import SameConv2d
from sfe_core.files import sha256_file
from sfe_core.strict_loading import load_strictly

SIDE = 224
SQUARE = FaceSquare(scale=1.3)
# Width and stride of the thirteen separable convolutions.
_WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class _Separable(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = SameConv2d(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.pointwise(F.relu6(self.depthwise(x))))


class FaceRes(nn.Module):
    """[B, 3, H, W] RGB in [-1, 1], faces cut out by `SQUARE`, to [B, 1024]."""

    mean: Tensor
    width = _WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = SameConv2d(3, 32, 3, stride=2)
        inputs = (32, *_WIDTHS[:-1])
        self.blocks = nn.Sequential(*map(_Separable, inputs, _WIDTHS, _STRIDES))
        # Of ImageNet's blue, green and red, as Caffe's models had them.
        mean = torch.tensor([103.939, 116.779, 123.68])
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Faces of any size."""
        levels = (fit_to_input(images, SIDE) + 1) * 127.5
        hidden = F.relu6(self.conv1(levels.flip(1) - self.mean.view(1, 3, 1, 1)))
        return self.blocks(hidden).mean(dim=(2, 3))


class FaceresEmbedder:
    """See `IdentityEmbedder`; compare by the cosine.

    Two photos of one person are nearer than those of two in 97 % of pairs (portraits of 15 known
    people; dlib: 99 %). On rendered people its vectors are farther apart than on photographed ones.
    """

    name = "faceres"
    width = FaceRes.width
    crop = f"{SQUARE}, cut to {SIDE} px"

    def __init__(self) -> None:
        """Raises: UserError: its weights are not fetched, or are others."""
        path = locate("faceres")
        try:
            state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(path, f"is no safetensors file ({error})", "fetch it again") from error
        self.network = FaceRes()
        load_strictly(self.network, state, path)
        self.network.eval().requires_grad_(False)
        self.weights_sha256 = sha256_file(path)

    @torch.inference_mode()
    def embed(self, images: Sequence[Pixels], faces: Sequence[Face]) -> Floats:
        """See `IdentityEmbedder.embed`."""
        if not images:
            return np.zeros((0, self.width))
        found = []
        for image, face in zip(images, faces, strict=True):
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
            marks = torch.from_numpy(np.asarray(face.landmarks, dtype=np.float32))[None]
            cut = cut_faces(pixels.float() / 127.5 - 1, marks, SQUARE, SIDE)
            found.append(self.network(cut)[0].double().numpy())
        return np.stack(found)
