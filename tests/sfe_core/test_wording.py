"""Lists that are cut say so."""

from __future__ import annotations

import pytest

from sfe_core.wording import first_of, listed


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2, and 1 more")]
)
def test_what_is_left_out_is_counted(count: int, text: str) -> None:
    items = [str(place) for place in range(count)]
    assert listed(items, 3) == text
    assert ", ".join(first_of(items, 3)) == text
