"""Errors that reach a person come whole out of a worker process, too."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sfe_core.errors import Interrupted, RunError, SfeError, Stopped, UserError


@pytest.mark.parametrize("kind", [SfeError, UserError, RunError, Stopped, Interrupted])
@pytest.mark.parametrize("remedy", [(), ("free space",)])
def test_an_error_comes_back_from_another_process(
    kind: type[SfeError], remedy: tuple[str, ...]
) -> None:
    error = kind(Path("a") / "b", "holds\n no  face", *remedy)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind and vars(back) == vars(error)
    assert str(back) == str(error) and back.exit_code == error.exit_code
