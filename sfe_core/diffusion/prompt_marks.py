r"""Marks in prompts beside words: weights in brackets, breaks, and those of other programs.

Weights as AUTOMATIC1111's web UI has them: `(word)` times 1.1, `[word]` divided by it, `(word:1.5)`
times 1.5, brackets within brackets multiplied; `\(`, `\)`, `\[`, `\]` and `\\` are characters. A
bracket left open reaches to the end, one that closes nothing is a character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_STEP = 1.1
_PART = re.compile(
    r"\\(?P<escaped>[()\[\]\\])"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    r"|(?P<close>[)\]])"
    r"|[^\\()\[\]:]+|.",
    re.DOTALL,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_WEIGHT_MARKS = re.compile(r"\\[()\[\]]|\(+[^()]+\)+|\[+[^\[\]]+\]+")
# Networks, prompts joined, prompts that change on the way or take turns, compel's plus and minus.
_OTHER_MARKS = re.compile(
    r"<(?:lora|lyco|hypernet):[^>]*>|\bAND\b|\[[^\[\]]*:\s*[\d.]+\s*\]|\[[^\[\]]*\|[^\[\]]*\]"
    r"|(?:\w+|[)\"])\+\++"
)


@dataclass(frozen=True)
class PromptRules:
    """How a prompt is read.

    Args:
        chunks: whole, however long; otherwise cut to one window.
        weights: brackets are weights; otherwise they are text.
    """

    chunks: bool = False
    weights: bool = False

    @property
    def plain(self) -> bool:
        """Whether that is how diffusers reads it."""
        return not self.chunks and not self.weights


def parse_weights(text: str) -> list[tuple[str, float]]:
    """A prompt's pieces without their marks, each with its weight; pieces of weight 1 are joined.

    Joined again the pieces are the prompt without brackets and numbers.

    >>> parse_weights("a (happy:1.5) face, [old]")
    [('a ', 1.0), ('happy', 1.5), (' face, ', 1.0), ('old', 0.9090909090909091)]
    """
    pieces: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        pieces[start:] = [(piece, weight * factor) for piece, weight in pieces[start:]]

    for part in _PART.finditer(text):
        if part["open"]:
            opened[part["open"]].append(len(pieces))
        elif part["weight"] and opened["("]:
            weigh(opened["("].pop(), float(part["weight"]))
        elif part["close"] == ")" and opened["("]:
            weigh(opened["("].pop(), _STEP)
        elif part["close"] == "]" and opened["["]:
            weigh(opened["["].pop(), 1 / _STEP)
        else:
            pieces.append((part["escaped"] or part[0], 1.0))
    for bracket, factor in (("(", _STEP), ("[", 1 / _STEP)):
        for start in opened[bracket]:
            weigh(start, factor)
    joined: list[tuple[str, float]] = []
    for piece, weight in pieces:
        if joined and joined[-1][1] == weight:
            piece = joined.pop()[0] + piece
        joined.append((piece, weight))
    return joined


def without_weights(text: str) -> str:
    """The words of a prompt that bears weights.

    >>> without_weights("a (happy:1.5) face, [old]")
    'a happy face, old'
    """
    return "".join(piece for piece, _ in parse_weights(text))


def split_at_breaks(text: str) -> list[str]:
    """The parts of a text between the word BREAK in capitals.

    >>> split_at_breaks("a face BREAK a garden")
    ['a face', 'a garden']
    """
    return _BREAK.split(text)


def unread_marks(text: str, weights: bool, breaks: bool) -> list[str]:
    """Marks in a prompt that the text encoder gets as letters.

    Args:
        weights: those in brackets are understood.
        breaks: so is BREAK.
    """
    found = [match[0] for match in _OTHER_MARKS.finditer(text)]
    if not weights:
        others = set(found)
        found += [mark[0] for mark in _WEIGHT_MARKS.finditer(text) if mark[0] not in others]
    if not breaks:
        found += ["BREAK"] * bool(_BREAK.search(text))
    return found
