"""What a ray met on the head, and the few operations every part of the paint is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Floats


@dataclass(frozen=True)
class Surface:
    """The visible points, P of them."""

    where: Floats  # [P, 3] metres on the mean head
    masks: Floats  # [P, 3] lips, lids, face
    region: np.ndarray  # [P] see REGIONS
    normals: Floats  # [P, 3] unit, camera frame


def ramp(values: Floats, start: float, end: float) -> Floats:
    """Smooth step from 0 at `start` to 1 at `end` (either order)."""
    t = np.clip((values - start) / (end - start), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(values: Floats, width: float) -> Floats:
    """Gaussian of standard deviation `width`."""
    return np.exp(-0.5 * np.square(values / width))


def blend(colour: Floats, target: Floats | tuple[float, ...], share: Floats) -> None:
    """Move `colour` in place towards `target` by `share` [P]."""
    colour += (np.asarray(target, np.float32) - colour) * share[:, None].astype(np.float32)
