"""Public layouts from their files to labels.csv and back: every label as its set means it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.label_file import read_label_file
from sfe_core.corpus.annotations.labels import labels_of
from sfe_core.corpus.importing.data_set import carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from tests.cases.labelled_sets import SETS, write_set


@pytest.mark.parametrize("name", SETS)
def test_labels_mean_what_the_set_means(workspace: Workspace, tmp_path: Path, name: str) -> None:
    labelled = SETS[name]
    write_set(tmp_path / "set", labelled)
    images = tmp_path / "set" / labelled.images if labelled.images else None
    source = find_source(tmp_path / "set" / labelled.source, None, None, images)
    summary = carry_out(workspace, plan_import(workspace, source, images))

    own = workspace.photos / "labels.csv"
    with own.open(newline="", encoding="utf-8") as stream:
        rows = {row.pop("key"): row for row in csv.DictReader(stream)}
    assert rows == labelled.labels
    assert summary.scheme == labelled.scheme

    again = labels_of(read_label_file(own), rows)
    assert {key: label.emotion for key, label in again.by_key.items()} == {
        key: cells.get("emotion") for key, cells in labelled.labels.items()
    }
    assert again.scheme is None and again.unmatched == 0
