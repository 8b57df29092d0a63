"""Lists as sentences, cut short and saying how many more there are; tables as Markdown."""

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
