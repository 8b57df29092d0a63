"""What an import passed over: its file in imports/, and the error where nothing is left."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from sfe_core.corpus.importing.entries import Kind, Problem, Problems
from sfe_core.corpus.photo_files import scan_photos
from sfe_core.errors import UserError
from sfe_core.files import atomic_path

_SHOWN = 3
# What helps where most of a list was passed over for one reason.
_ADVICE: dict[Kind, str] = {
    "wrong label": "correct these, or say with --classes what numbers mean",
    "unlabelled": "take the images in all the same with --keep-unlabelled",
    "bad line": "correct these lines",
    "another face": "leave one line a picture",
}


def problem_list_path(root: Path, source: Path) -> Path:
    """Where the problems of a data set are listed, below a workspace's root."""
    return root / "imports" / f"{source.resolve().name}.problems.csv"


def write_problems(path: Path, problems: Problems) -> Path | None:
    """Every problem as a CSV; None, and no file, if there is none."""
    if not problems.listed:
        path.unlink(missing_ok=True)
        return None
    with (
        atomic_path(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("where", "kind", "detail"))
        for problem in problems.listed:
            writer.writerow((problem.where, problem.kind, problem.detail))
    return path


def first_reasons(problems: Problems) -> list[str]:
    """The first problem of each kind, then the first others, three in all, in words."""
    first = list({problem.kind: problem for problem in reversed(problems.listed)}.values())
    order = {id(problem): place for place, problem in enumerate(problems.listed)}
    first.sort(key=lambda problem: order[id(problem)])
    shown = first[:_SHOWN]
    shown += [problem for problem in problems.listed if problem not in shown]
    return [f"{problem.where}: {problem.detail}" for problem in shown[:_SHOWN]]


def brings_nothing(
    source: Path, problems: Problems, images: Path, count: int, listed: Path | None
) -> UserError:
    """The error of a data set of which nothing can be used: why, and what helps.

    Args:
        source: the data set.
        problems: what was passed over.
        images: the folder in which its images were looked for.
        count: how many images lie there.
        listed: where all problems are written down.
    """
    total = len(problems.listed)
    if not total:
        told = "; ".join(scan_photos(images).told)
        if count or not told:
            return UserError(source, "brings nothing: it has no entry", "check its content")
        return UserError(
            source,
            f"brings nothing: {images} has no image, but {told}",
            "unpack archives, and name the folder of the images with --images",
        )
    counts = ", ".join(f"{n} × {kind}" for kind, n in problems.counts.items())
    more = f"; and {total - _SHOWN} more" if total > _SHOWN else ""
    return UserError(
        source,
        f"brings nothing ({counts}; {count} images in {images}): "
        f"{'; '.join(first_reasons(problems))}{more} (all in {listed})",
        _advice(problems.listed, count),
    )


def _advice(problems: Sequence[Problem], count: int) -> str:
    """What helps against the commonest problem."""
    kinds = [problem.kind for problem in problems]
    commonest = max(dict.fromkeys(kinds), key=kinds.count)
    if commonest != "missing file":
        return _ADVICE.get(commonest, "correct these")
    details = [problem.detail for problem in problems if problem.kind == "missing file"]
    if count and all("is the name of" in detail for detail in details):
        return "name a folder with --images in which each name is there once, or list paths"
    return "name the folder of its images with --images"
