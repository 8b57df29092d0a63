"""Lists as sentences: cut short, they say how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def first_of(items: Sequence[str], most: int) -> list[str]:
    """The first `most` of some texts, and "and N more" as the last one where there are more."""
    rest = len(items) - most
    return [*items[:most], *([f"and {rest} more"] if rest > 0 else [])]


def listed(items: Sequence[str], most: int, between: str = ", ") -> str:
    """`first_of` as one text.

    >>> listed(["a", "b", "c"], 2)
    'a, b, and 1 more'
    """
    return between.join(first_of(items, most))
