"""Write every case below a folder: `python -m tests.cases FOLDER`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import tests.cases


def make_all(folder: Path) -> None:
    """Every module's inputs, in a sub-folder of its name."""
    for module in pkgutil.iter_modules(tests.cases.__path__):
        make = getattr(importlib.import_module(f"tests.cases.{module.name}"), "make", None)
        if make is not None:
            make(folder / module.name)


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
