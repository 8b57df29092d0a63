"""Settings of other libraries that every command wants, made before they are imported."""

from __future__ import annotations

import logging
import os
import warnings
from functools import lru_cache
from logging.handlers import RotatingFileHandler
from pathlib import Path

from sfe_core.processes.threads import wait_briefly

_LOG_BYTES = 1_000_000


def prepare(debug: bool) -> None:
    """Nothing downloads behind the user's back; other libraries' chatter goes to a log.

    With --debug it goes to the console, as they mean it.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    wait_briefly(os.environ)
    if debug:
        return
    # Even their errors are of no use here: diffusers tells of one for each part that is no
    # safetensors file, and then loads the .bin beside it. What fails still raises.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "critical")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # diffusers imports it wherever it is installed, and it tells of kernels nobody asked for.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    logging.getLogger().addHandler(_log_file())
    logging.raiseExceptions = False  # a full disk is told of by the work itself
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def log_path() -> Path:
    """Where what libraries say is written: a cache, of one file and the one before it."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("sfe", appauthor=False)) / "libraries.log"


@lru_cache(maxsize=1)
def _log_file() -> logging.Handler:
    """Writes to the log, or nowhere where it cannot be written."""
    try:
        path = log_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened at once: a place that cannot be written is found out here, not on every line.
        handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    except (OSError, RuntimeError):  # RuntimeError: no home is known
        return logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    return handler
