"""Libraries that print of their own accord, hushed where this project reports by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bars and nothing logged by diffusers and transformers within the block.

    What fails still raises; levels and bars are as before afterwards.
    """
    libraries = (diffusers_logging, transformers_logging)
    before = [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in libraries]
    for one in libraries:
        # Even ERROR is too much: diffusers logs one for each part that is not a safetensors file,
        # and then loads the .bin beside it.
        one.set_verbosity(logging.CRITICAL)
        one.disable_progress_bar()
    try:
        yield
    finally:
        for one, (verbosity, bars) in zip(libraries, before, strict=True):
            one.set_verbosity(verbosity)
            if bars:
                one.enable_progress_bar()
