"""The identity term: how far a drawn face is from the person that it should show.

1 - cos of an embedder's vectors, as PixelSmile and EmojiDiff hold their one-step estimates against
a person. Gradient flows through the drawn face; the person is a constant.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional


def identity_loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """1 - cos of two batches of identity vectors [B, D]: [B] float32, in [0, 2].

    >>> identity_loss(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]] * 2))
    tensor([0., 1.])
    """
    return 1.0 - functional.cosine_similarity(drawn.float(), wanted.detach().float(), dim=1)


@torch.no_grad()
def mean_identity(embedder: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """The vector of the person on all photos of some batches: [D] float32 of length 1.

    The mean of vectors of length 1, so that no photo counts for more than another; it is nearer to
    a further photo of that person than single photos are.

    Args:
        embedder: [B, 3, H, W] in [-1, 1] to [B, D], as `load_identity_net` gives it.
        batches: photos of one person, cropped as `preprocess` crops; at least one photo.
    """
    vectors = [functional.normalize(embedder(photos).float(), dim=1) for photos in batches]
    return functional.normalize(torch.cat(vectors).mean(dim=0), dim=0)
