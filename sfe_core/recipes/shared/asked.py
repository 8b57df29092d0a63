"""What is asked of an image and its photo does not show: an expression, and how strongly.

Half of what is asked is a whole expression, half a part of one: between neutral and whole a face is
to change evenly, and nothing else in a loss would see to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfe_core.emotions import EMOTIONS
from sfe_core.files import derive_seed
from sfe_core.recipes.shared.draws import Slot

_NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True)
class Asked:
    """An expression that a photo does not show.

    Attributes:
        place: in EMOTIONS.
        strength: in (0, 1], 0 neutral and 1 the whole expression.
    """

    place: int
    strength: float = 1.0


def draw_asked(slot: Slot, shown: int, choice: Sequence[int], share: float) -> Asked | None:
    """Of a decoded image, by chance, another expression than the one it shows; else None.

    Args:
        slot: of the image, by whose own seed chance decides.
        shown: place in EMOTIONS of what its photo shows, -1 where unknown.
        choice: places of what may be asked for.
        share: of decoded images that are told a caption.
    """
    if not slot.decode or slot.drop_caption:
        return None
    chance = np.random.default_rng(derive_seed(slot.noise_seed, "asked")).random(4)
    others = [place for place in choice if place != shown]
    if chance[0] >= share or not others:
        return None
    place = others[int(chance[1] * len(others))]
    # In (0, 1]: at 0 nothing would be asked.
    return Asked(place, 1.0 if chance[2] < 0.5 or place == _NEUTRAL else 1.0 - float(chance[3]))


def asked_shares(asked: Sequence[Asked | None]) -> Tensor:
    """What a recogniser should see of B images: [B, 8], each emotion's share; of None all 0.

    Of a strength s the expression's share is s, and neutral's 1 - s.
    """
    shares = torch.zeros(len(asked), len(EMOTIONS))
    for row, one in enumerate(asked):
        if one is not None:
            shares[row, _NEUTRAL] += 1.0 - one.strength
            shares[row, one.place] += one.strength
    return shares
