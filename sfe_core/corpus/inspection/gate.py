"""Is a corpus fit to be trained on? Every row that is not is named, before any time is spent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.corpus.inspection.buffer_sets import (
    BufferSet,
    buffer_kinds,
    column_of,
    faults_of_sets,
)
from sfe_core.corpus.layout import INPUTS, MAP_FOLDERS
from sfe_core.corpus.manifest import plain_rows
from sfe_core.corpus.quality import MEASURES, OF_ROW, doubts_of, faults_of, measure_stored
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import SfeError, UserError
from sfe_core.reporting import Reporter
from sfe_core.wording import listed

_NAMED = 5


@dataclass(frozen=True)
class Fault:
    """What is wrong with a face."""

    key: str
    problem: str


def find_faults(
    corpus: Corpus,
    rows: pd.DataFrame,
    maps: Sequence[str],
    quality: QualityConfig,
    thorough: bool = False,
    reporter: Reporter | None = None,
    buffers: Sequence[BufferSet] = (),
) -> list[Fault]:
    """Everything that is wrong with the crops and maps of some rows.

    Pictures must be there, hold what preprocess wrote, and measure within the limits. What was
    measured then is in the manifest; so only pictures younger than it are read, unless `thorough`.

    Args:
        corpus: where the pictures are.
        rows: rows of status ok.
        maps: names of the guidance maps that count.
        quality: the limits.
        thorough: read, hash and measure every picture.
        reporter: told of the progress.
        buffers: the sets of buffers that count. What was wrong with them when they were drawn is
            in the manifest, too; where it is not, they are read.

    Returns:
        The faults in the order of the rows, for each first what is missing.
    """
    keys = rows["key"].tolist()
    drawn = buffer_kinds(buffers)
    kinds = {"inputs": INPUTS, **{name: MAP_FOLDERS[name] for name in maps}, **drawn}
    problems: dict[str, list[str]] = {key: [] for key in keys}
    suspects: dict[str, list[str]] = {}
    for name, folder in kinds.items():
        missing = set(corpus.store.missing(folder, keys))
        for key in missing:
            problems[key].append(f"{name} is missing")
        present = [key for key in keys if key not in missing]
        for key in present if thorough else corpus.store.touched(folder, present):
            suspects.setdefault(key, []).append(name)
    for key in _without_landmarks(rows) if maps else ():
        problems[key].append("has no landmarks in the manifest")
    # Without the landmarks, which would fill memory as plain values.
    columns = [*MEASURES, "crop_rule", "yaw", "confidence", "key"]
    columns += [f"{name}_sha256" for name in kinds] + [column_of(one) for one in buffers]
    with (reporter or Reporter()).task("check the corpus", len(rows)) as task:
        for row in plain_rows(rows[columns]):
            found = problems[row["key"]]
            doubted = suspects.get(row["key"], ())
            for name in doubted:
                found += _changed(corpus, kinds[name], row, f"{name}_sha256", name)
            if not found:
                again = thorough or not drawn.keys().isdisjoint(doubted)
                found += faults_of_sets(corpus, row, buffers, again)
            if not found:
                found += _out_of_range(corpus, row, quality, tuple(kinds), thorough)
            task.advance()
    return [Fault(key, problem) for key, found in problems.items() for problem in found]


def require_sound(
    corpus: Corpus,
    split: str,
    maps: Sequence[str],
    quality: QualityConfig,
    buffers: Sequence[BufferSet] = (),
) -> None:
    """Refuse a split with any face that is not fit to be learnt from; see `find_faults`.

    Raises:
        UserError: naming the first rows and what is wrong with them; or there is no such split.
    """
    rows = corpus.split(split)
    others = _without_landmarks(corpus.rows) if maps else []
    if others:  # of any split: samples are held against them
        raise UserError(
            corpus.place,
            f"{len(others)} of {len(corpus.rows)} faces have no landmarks "
            f"({listed(others, _NAMED)})",
            "delete the manifest and run `sfe preprocess` to find them",
        )
    faults = find_faults(corpus, rows, maps, quality, buffers=buffers)
    if not faults:
        return
    faces = len({fault.key for fault in faults})
    named = listed([f"{fault.key}: {fault.problem}" for fault in faults], _NAMED)
    raise UserError(
        corpus.place,
        f"{faces} of {len(rows)} faces of split {split} cannot be learnt from ({named})",
        "`sfe corpus check` lists all; `sfe preprocess` makes missing pictures again (delete "
        "changed ones first) and leaves out what is beyond the limits of the quality section",
    )


def _without_landmarks(rows: pd.DataFrame) -> list[str]:
    """Keys of the rows whose face has no landmarks in the manifest."""
    return rows.loc[rows["landmarks"].isna(), "key"].tolist()


def _changed(corpus: Corpus, folder: str, row: dict[str, Any], column: str, name: str) -> list[str]:
    try:
        content = corpus.store.read(folder, row["key"])
    except SfeError as error:
        return [f"{name} {error.problem}"]
    same = hashlib.sha256(content).hexdigest() == row[column]
    return [] if same else [f"{name} is not what preprocess wrote"]


def _out_of_range(
    corpus: Corpus,
    row: dict[str, Any],
    quality: QualityConfig,
    pictures: tuple[str, ...],
    thorough: bool,
) -> list[str]:
    measures = {name: row[name] for name in (*MEASURES, "crop_rule", "yaw")}
    if thorough or all(row[name] is None for name in MEASURES if name not in OF_ROW):
        try:
            measures |= measure_stored(corpus.store, corpus.row(row["key"]), pictures)
        except SfeError as error:
            return [f"{error.where} {error.problem}"]
    return doubts_of(row, quality) + faults_of(measures, quality, pictures)
