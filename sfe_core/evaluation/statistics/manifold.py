"""Precision and recall of generated pictures (Kynkäänniemi et al. 2019, arXiv:1904.06991).

A set's manifold is the union of balls round its features, each as wide as the distance to its
centre's third neighbour within the set. Precision is the share of generated pictures in the real
photos' manifold, recall the share of real photos in the generated pictures' manifold.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sfe_core.arrays import Doubles

NEIGHBOUR = 3
SMALLEST = NEIGHBOUR + 1
_BLOCK = 2048


class ManifoldReference:
    """The manifold of a reference set, at least `SMALLEST` features."""

    def __init__(self, features: Doubles, radii: Doubles | None = None) -> None:
        """`features`: [M, D]; `radii`: [M] if known from before."""
        self.features = torch.as_tensor(np.asarray(features, dtype=np.float64))
        self.radii = neighbour_radii(features) if radii is None else radii

    def holds(self, features: Doubles) -> Doubles:
        """[N] of 0.0 and 1.0: which of `features` [N, D] lie in the reference's manifold."""
        others = torch.as_tensor(np.asarray(features, dtype=np.float64))
        return _inside(others, self.features, torch.as_tensor(self.radii))

    def held_by(self, features: Doubles) -> Doubles:
        """[M] of 0.0 and 1.0: which reference features lie in the manifold of `features` [N, D]."""
        others = torch.as_tensor(np.asarray(features, dtype=np.float64))
        return _inside(self.features, others, torch.as_tensor(neighbour_radii(features)))


def neighbour_radii(features: Doubles) -> Doubles:
    """Distance [M] of each of `features` [M, D], M >= `SMALLEST`, to its third neighbour."""
    own = torch.as_tensor(np.asarray(features, dtype=np.float64))
    # The nearest one is the picture itself.
    parts = [torch.cdist(part, own).kthvalue(SMALLEST, dim=1).values for part in own.split(_BLOCK)]
    return torch.cat(parts).numpy()


def _inside(points: Tensor, centres: Tensor, radii: Tensor) -> Doubles:
    parts = [
        (torch.cdist(part, centres) <= radii).any(dim=1).double() for part in points.split(_BLOCK)
    ]
    return torch.cat(parts).numpy()
