"""Letters for terminals that know few: the sign of a number must not become a question mark."""

from __future__ import annotations

import codecs
import sys
import unicodedata

ERRORS = "sfe-plain"
_PLAIN = {
    "\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": "-", "×": "x",
    "…": "...", "·": "|", "≤": "<=", "≥": ">=", "±": "+/-", "→": "->", "←": "<-", "↑": "^",
    "↓": "v", "°": " deg", "≈": "~", "≠": "!=", "σ": "sigma", "µ": "u", "λ": "lambda",
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "«": '"', "»": '"',
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "²": "2", "³": "3", "✓": "ok", "•": "*",
}  # fmt: skip


def plain(error: UnicodeError) -> tuple[str, int]:
    """What to write for letters that an encoding lacks; a handler for `codecs.register_error`.

    Signs have plain ones of their own, letters lose their accents, the rest is a question mark.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_letter, error.object[error.start : error.end])), error.end


def _letter(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    bare = "".join(part for part in unicodedata.normalize("NFKD", letter) if part.isascii())
    return bare or "?"


def use_plain_letters() -> None:
    """Have stdout and stderr write so what their encoding lacks, instead of ending the run."""
    codecs.register_error(ERRORS, plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)
