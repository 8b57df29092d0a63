"""Columns named after emotions, one each: votes of several people, one-hot classes, probabilities.

FERPlus has ten votes (neutral … contempt, unknown, NF), py-feat seven probabilities. The emotion is
that with most; none where most say "none", where two are equal, and where all are zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sfe_core.corpus.tables.classes import WrongLabelError, read_name
from sfe_core.corpus.tables.tables import read_number

# What stands before and behind an emotion's name: emotion.happy, happy_prob.
_AROUND = re.compile(
    r"(?:(?:emotions?|expr(?:ession)?|label|prob(?:ability)?|p|votes?|score|is)[._])?"
    r"(.+?)(?:_(?:prob(?:ability)?|votes?|score|count|ratio))?"
)
_FEWEST = 3  # emotions that must have a column


def vote_columns(names: Sequence[str]) -> dict[int, str | None]:
    """Place → emotion of columns named after emotions; None for "unknown" and its like.

    Args:
        names: of the columns, in plain form.

    Returns:
        Nothing where fewer than three emotions have a column, or one has two.
    """
    found = {}
    for place, name in enumerate(names):
        matched = _AROUND.fullmatch(name)
        emotion = read_name(matched[1].replace("_", " ")) if matched and name else ""
        if emotion != "" and len(name) > 1:
            found[place] = emotion
    emotions = [emotion for emotion in found.values() if emotion]
    enough = len(emotions) >= _FEWEST and len(set(emotions)) == len(emotions)
    return found if enough else {}


def read_votes(cells: Sequence[str], votes: Mapping[int, str | None]) -> str:
    """The emotion with most votes; empty where it is none.

    Args:
        cells: of a row.
        votes: from `vote_columns`.

    Raises:
        WrongLabelError: a cell is not a number.
    """
    counts: dict[str, float] = {}
    for place, emotion in votes.items():
        value = read_number(cells[place]) if cells[place] else 0.0
        if value is None:
            raise WrongLabelError(f"{cells[place]!r} is not a number of votes")
        counts[emotion or ""] = max(counts.get(emotion or "", 0.0), value)
    most = max(counts.values())
    leading = [emotion for emotion, count in counts.items() if count == most]
    return leading[0] if len(leading) == 1 and most > 0 else ""
