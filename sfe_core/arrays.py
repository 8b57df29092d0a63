"""The kinds of NumPy array the core passes around, named once.

A signature that needs more (shape, range, unit) says it in its docstring.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""Floating-point numbers of any width."""

Doubles = NDArray[np.float64]
"""Numbers of 64 bits: what statistics are computed in."""

Pixels = NDArray[np.uint8]
"""Images of 8 bits: [H, W], [H, W, 3] or [H, W, 4], 0 to 255."""

Integers = NDArray[np.int64]
"""Whole numbers, such as faces of a mesh: [F, 3] indices of its vertices."""

Indices = NDArray[np.intp]
"""Positions in another array, as NumPy's own sorting and drawing give them."""

Mask = NDArray[np.bool_]
"""True where an element is meant."""
