"""Where pictures show their photos; of the repeated border beyond them nothing is learnt."""

from __future__ import annotations

import torch
from torch import Tensor

# What stands in drawn picture and photo alike where the photo shows nothing: mid grey.
_NOTHING = 0.0


def photo_mask(areas: Tensor, height: int, width: int) -> Tensor:
    """Which pixels show the photo, by their centres: [B, 1, height, width] bool.

    Args:
        areas: [B, 2, 3], from places (x, y, 1) in the picture to places (x, y) in the photo, all as
            shares of width and height, see `corpus.photo_area`.
        height, width: of the picture, or of its latent.

    >>> right_half_beyond = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> photo_mask(right_half_beyond, 1, 4).tolist()
    [[[[True, True, False, False]]]]
    """
    x = (torch.arange(width, device=areas.device) + 0.5) / width
    y = (torch.arange(height, device=areas.device) + 0.5) / height
    across, down, start = areas.unbind(dim=2)  # each [B, 2]
    places = (
        across[:, :, None, None] * x + down[:, :, None, None] * y[:, None] + start[:, :, None, None]
    )
    return ((places >= 0) & (places <= 1)).all(dim=1, keepdim=True)


def only_photo(pictures: Tensor, mask: Tensor | None) -> Tensor:
    """Pictures [B, 3, H, W] with mid grey where `mask` [B, 1, H, W] is not; None: as they are.

    Where all of a picture is photo, its values and its gradient are the same to the bit.
    """
    return pictures if mask is None else torch.where(mask, pictures, _NOTHING)
