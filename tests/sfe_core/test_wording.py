"""Lists that are cut say so."""

from __future__ import annotations

import pytest

from sfe_core.wording import bytes_told, first_of, listed


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2, and 1 more")]
)
def test_what_is_left_out_is_counted(count: int, text: str) -> None:
    items = [str(place) for place in range(count)]
    assert listed(items, 3) == text
    assert ", ".join(first_of(items, 3)) == text


def test_bytes_have_decimal_units() -> None:
    told = [bytes_told(count) for count in (0, 999, 1000, 1 << 20, 10**9, 24 * 2**30)]
    assert told == ["0 B", "999 B", "1.0 kB", "1.0 MB", "1.00 GB", "25.77 GB"]
