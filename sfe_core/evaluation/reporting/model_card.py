"""The numbers of an evaluation on the card of the package that was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.files import sha256_file, write_json, write_text
from sfe_core.packaging.listing import CARD, PROVENANCE
from sfe_core.wording import markdown_table

_BEFORE = "## Licences\n"  # the numbers stand above it; at the end of a card without it


def write_to_card(package: Path, summary: EvaluationSummary) -> None:
    """Put the short table on the card, in place of what an earlier evaluation of the split said.

    The card's hash in the package's provenance follows; nothing else in the package changes.

    Args:
        package: folder of a package; without a card or provenance it is left alone.
        summary: of pictures that this package drew.

    Raises:
        RunError: the folder cannot be written.
    """
    card, provenance = package / CARD, package / PROVENANCE
    if not card.is_file() or not provenance.is_file():
        return
    text = card.read_text(encoding="utf-8")
    opening, closing = (
        f"<!-- {word} of the evaluation on {summary.split} -->\n" for word in ("begin", "end")
    )
    section = f"{opening}{_section(summary)}{closing}"
    told = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
    if told.search(text):
        text = told.sub(lambda _: section, text, count=1)
    elif _BEFORE in text:
        text = text.replace(_BEFORE, f"{section}\n{_BEFORE}", 1)
    else:
        text = f"{text.rstrip()}\n\n{section}"
    write_text(card, text)
    said = json.loads(provenance.read_text(encoding="utf-8"))
    said.setdefault("files", {})[CARD] = sha256_file(card)
    write_json(provenance, said)


def _section(summary: EvaluationSummary) -> str:
    rows = [row for row in summary.table if any(value != "n/a" for value in _values(row))]
    headings = ["", *(title for title in rows[0] if title != "metric")] if rows else [""]
    judges = [tool.backend for tool in summary.instruments.values() if tool.kind == "judge"]
    judged = f" The judge is {judges[0]}." if judges else ""
    outside = [tool.backend for tool in summary.instruments.values() if tool.kind == "witness"]
    judged += f" Judges from outside: {', '.join(outside)}." if outside else ""
    return (
        f"## Evaluation on {summary.split}\n\n"
        f"{summary.counted}, measured at {summary.resolution} px by sfe "
        f"{summary.provenance.sfe}; in brackets, 95 % bootstrap intervals.{judged}\n\n"
        + markdown_table(headings, ([row["metric"], *_values(row)] for row in rows))
    )


def _values(row: dict[str, str]) -> list[str]:
    return [value for title, value in row.items() if title != "metric"]
