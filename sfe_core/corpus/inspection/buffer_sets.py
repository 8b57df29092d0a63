"""The sets of buffers that a corpus can have, and what is wrong with a face's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, BUFFERS
from sfe_core.corpus.buffer_faults import buffer_faults
from sfe_core.corpus.manifest import crop_of, landmarks_of
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import SfeError

# With the shape read off each photo, and with the mean shape of the album.
BufferSet = Literal["photo", "mean"]
_PREFIX: dict[BufferSet, str] = {"photo": "", "mean": "mean_"}
_TOLD: dict[BufferSet, str] = {"photo": "buffers", "mean": "mean-shape buffers"}


def wanted_sets(config: PreprocessConfig) -> tuple[BufferSet, ...]:
    """Those that a configuration has drawn."""
    if not config.save_buffers:
        return ()
    return ("photo", "mean") if config.mean_shape else ("photo",)


def buffer_kinds(sets: Sequence[BufferSet]) -> dict[str, str]:
    """Kinds of artefacts of some sets, to their folders below the corpus."""
    names = [f"{_PREFIX[one]}{name}" for one in sets for name in BUFFERS]
    return {name: ARTEFACTS[name].folder for name in names}


def column_of(one: BufferSet) -> str:
    """The manifest's column of what is wrong with a set."""
    return f"{_PREFIX[one]}buffer_faults"


def faults_of_sets(
    corpus: Corpus, row: dict[str, Any], sets: Sequence[BufferSet], again: bool = False
) -> list[str]:
    """What is wrong with a face's buffers, a sentence each.

    Args:
        corpus: where they are.
        row: of the manifest, with key and the columns of the sets.
        sets: those that count.
        again: read the pictures whatever the manifest says.
    """
    faults = []
    for one in sets:
        told = row[column_of(one)]
        if told is None or again:
            try:
                told = "; ".join(_faults(corpus, row["key"], one))
            except SfeError as error:
                told = f"{error.where} {error.problem}"
        faults += [f"{_TOLD[one]}: {part}" for part in told.split("; ") if part]
    return faults


def _faults(corpus: Corpus, key: str, one: BufferSet) -> list[str]:
    shaded, normals, albedo = (
        np.asarray(corpus.picture(folder, key).convert("RGB"))
        for folder in buffer_kinds([one]).values()
    )
    if not shaded.shape == normals.shape == albedo.shape:
        return ["are of different sizes: run `sfe preprocess` to draw them again"]
    row = corpus.row(key)
    points = crop_of(row).to_crop(landmarks_of(row), normals.shape[0])
    return buffer_faults(normals, albedo, shaded, points)
