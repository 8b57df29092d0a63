"""Laying the unedited surround of a face back over the edited picture, without an edge."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from sfe_core.arrays import Floats, Mask, Pixels

_REACH, _SOFTNESS = 0.05, 0.025  # of the picture's side


def surround_share(before: Mask, after: Mask) -> Floats:
    """How much of the unedited picture is kept, [S, S] in [0, 1].

    0 where the head is or was: the old face must not show beside the turned one. The share rises to
    1 within a few hundredths of the side, so that the hair line is drawn anew with the face.

    Args:
        before, after: [S, S] where the head is in the source and in the edit.
    """
    side = len(before)
    reach = max(1, round(_REACH * side))
    head = binary_dilation(before | after, iterations=reach)
    soft = gaussian_filter(head.astype(np.float64), max(_SOFTNESS * side, 0.5))
    # The head itself is the edit's to the last pixel.
    return np.where(before | after, 0.0, 1.0 - soft)


def keep_surround(edited: Pixels, source: Pixels, share: Floats) -> Pixels:
    """The edited picture with the source's surround, all [S, S, 3] uint8.

    Args:
        share: [S, S] of the source, see `surround_share`.
    """
    blended = edited * (1.0 - share[..., None]) + source * share[..., None]
    return blended.round().astype(np.uint8)
