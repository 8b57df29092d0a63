import pytest
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from sfe_core.quiet import quiet_libraries

LIBRARIES = (diffusers_logging, transformers_logging)


def state() -> list[tuple[int, bool]]:
    return [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in LIBRARIES]


def test_libraries_are_hushed_within_and_as_before_after_even_a_failure():
    before = state()
    with pytest.raises(ZeroDivisionError), quiet_libraries():
        assert not any(bars for _, bars in state())
        assert all(verbosity >= diffusers_logging.ERROR for verbosity, _ in state())
        raise ZeroDivisionError
    assert state() == before
    assert any(bars for _, bars in before)
