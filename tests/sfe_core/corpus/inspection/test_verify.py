"""Verification finds every file that is not as it was written, and only those."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.inspection.verify import verify_corpus
from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.lock import corpus_lock
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import RunError, UserError
from tests.sfe_core.corpus.conftest import make_workspace
from tests.sfe_core.corpus.preprocessing.test_preprocess import files_of


def test_fresh_corpus_is_whole(copied: Workspace) -> None:
    before = files_of(copied.corpus)
    found = verify_corpus(copied)
    # Four faces with crop, landmarks, depth, mesh, codes and canvas each.
    assert (found.files, found.whole) == (24, 24)
    assert found.orphans == found.leftovers == found.missing == found.changed == []
    found.check(copied.corpus)
    assert files_of(copied.corpus) == before


def test_every_kind_of_fault_is_named(copied: Workspace) -> None:
    corpus = copied.corpus
    artefact(corpus, "depth", "c").unlink()
    flipped = artefact(corpus, "geometry_detail", "b/flipped")
    flipped.write_bytes(flipped.read_bytes()[:-1])
    shutil.copy(flipped, artefact(corpus, "inputs", "b/nobody"))
    shutil.copy(flipped, artefact(corpus, "inputs", "lawn"))  # its row has status no_face
    (corpus / "landmarks" / ".sfe-partial-12345678-a.png").write_bytes(b"half")
    found = verify_corpus(copied)
    assert (found.missing, found.changed) == (["depth/c.png"], ["geometry_detail/b/flipped.png"])
    assert found.orphans == ["inputs/b/nobody.png", "inputs/lawn.png"]
    assert found.leftovers == ["landmarks/.sfe-partial-12345678-a.png"]
    assert (found.files, found.whole) == (24, 22)
    with pytest.raises(RunError, match="1 files are missing and 1 changed.*delete"):
        found.check(corpus)
    # What the message says to do does it.
    flipped.unlink()
    preprocess(copied)
    verify_corpus(copied).check(corpus)


def test_running_preprocess_is_not_disturbed(copied: Workspace) -> None:
    with corpus_lock(copied.corpus), pytest.raises(RunError, match="another `sfe preprocess`"):
        verify_corpus(copied)


def test_missing_torn_and_older_manifests_are_one_line(copied: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no corpus yet"):
        verify_corpus(make_workspace(tmp_path / "empty"))
    (copied.corpus / MANIFEST).write_bytes(b"PAR1 torn")
    with pytest.raises(RunError, match="cannot be read.*sfe preprocess"):
        verify_corpus(copied)
