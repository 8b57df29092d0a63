"""Lists as sentences, cut short and saying how many more there are; bytes; Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def first_of(items: Sequence[str], most: int) -> list[str]:
    """The first `most` of some texts, and "and N more" as the last one where there are more.

    >>> first_of(["a", "b"], 2)
    ['a', 'b']
    """
    rest = len(items) - most
    return [*items[:most], *([f"and {rest} more"] if rest > 0 else [])]


def listed(items: Sequence[str], most: int, between: str = ", ") -> str:
    """`first_of` as one text.

    >>> listed(["a", "b", "c"], 2)
    'a, b, and 1 more'
    """
    return between.join(first_of(items, most))


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, from cells that hold no `|`; ends with a line break.

    >>> print(markdown_table(["name", "value"], [["steps", "300"]]), end="")
    | name | value |
    | --- | --- |
    | steps | 300 |
    """
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def bytes_told(count: float) -> str:
    """Bytes as people read them, in decimal units.

    >>> bytes_told(8_030_261_248), bytes_told(512_000), bytes_told(3)
    ('8.03 GB', '512.0 kB', '3 B')
    """
    for unit, scale, digits in (("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if count >= scale:
            return f"{count / scale:.{digits}f} {unit}"
    return f"{count:.0f} B"
