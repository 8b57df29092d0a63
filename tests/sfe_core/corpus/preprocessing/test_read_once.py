"""A run of preprocess walks the photos, reads what is said of them and writes its manifest once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus import photo_files
from sfe_core.corpus.annotations import blip_captions, sidecars
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.lock import JOURNAL_FOLDER
from sfe_core.corpus.manifest import read_manifest
from sfe_core.corpus.preprocessing import index, manifest_update
from sfe_core.corpus.preprocessing.journal import Journal, shard_name
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import RunError
from tests.blip_model import write_blip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each reader and writer was called, by its name and the end of its path."""
    seen: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def counted(path: Path, *arguments: Any, **options: Any) -> Any:
            seen[f"{name} {Path(path).name}"] += 1
            return real(path, *arguments, **options)

        monkeypatch.setattr(module, name, counted)

    count(photo_files, "_walk_folders")
    count(index, "read_label_file")
    count(index, "read_captions")
    count(index, "read_celeba")
    count(sidecars, "read_sidecar")
    count(sidecars, "open_labels")
    count(blip_captions, "read_notes")
    count(manifest_update, "write_rows")
    return seen


ONCE = Counter(
    f"{reader} {name}"
    for reader, name in (
        ("_walk_folders", "photos"),
        ("read_label_file", "labels.csv"),
        ("read_captions", "captions.json"),
        ("read_celeba", "photos"),
        ("read_sidecar", "c.txt"),
        ("open_labels", "metadata.csv"),
        ("write_rows", MANIFEST),
    )
)


@pytest.fixture
def copied(small_corpus: Workspace, tmp_path: Path) -> Workspace:
    """The small corpus with a text and a metadata file, to be captioned by BLIP too."""
    shutil.copytree(small_corpus.root, tmp_path / "w")
    photos = tmp_path / "w" / "photos"
    (photos / "c.txt").write_text("a woman in space\n", encoding="utf-8")
    (photos / "b" / "metadata.csv").write_text(
        "file_name,text\ngrey.png,a woman in grey\n", encoding="utf-8"
    )
    blip = write_blip(tmp_path / "blip")
    settings = [
        *("preprocess.workers=1", "preprocess.crop_size=64"),
        *('captions.sources=["file","blip"]', f"captions.blip_model={blip}"),
    ]
    return load_workspace(tmp_path / "w", settings)


def test_everything_is_read_and_written_once(copied: Workspace, calls: Counter[str]) -> None:
    (copied.photos / "c.png").rename(copied.photos / "d.png")
    preprocess(copied)
    rows = read_manifest(copied.corpus / MANIFEST).set_index("key")
    # All of it is in the one manifest: the new photo, the texts, and what BLIP said of the crops.
    assert rows.loc["d", "status"] == "ok" and rows.loc["d", "caption_source"] == "blip"
    assert rows.loc["c", "status"] == "missing"
    assert rows.loc["b/grey", "caption_source"] == "metadata+blip"
    assert rows.loc["a", "caption"].startswith("Happy, a woman in orange, ")
    assert calls == ONCE + Counter(["read_notes blip_captions.jsonl"])


def test_a_killed_run_before_costs_one_more_manifest(
    copied: Workspace, calls: Counter[str]
) -> None:
    journal = copied.corpus / JOURNAL_FOLDER
    journal.mkdir()
    Journal(journal, shard_name(1, 0)).begin(["a.png"])
    assert preprocess(copied).done == 1
    assert calls == ONCE + Counter(["read_notes blip_captions.jsonl", f"write_rows {MANIFEST}"])


def test_the_manifest_stands_when_blip_fails(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(copied.photos / "a.png", copied.photos / "d.png")

    def torn(*_: object) -> None:
        raise RunError("a.png", "cannot be read", "")

    monkeypatch.setattr(blip_captions._Describer, "describe", torn)
    with pytest.raises(RunError, match="cannot be read"):
        preprocess(copied)
    rows = read_manifest(copied.corpus / MANIFEST).set_index("key")
    assert rows.loc["d", "status"] == "ok"
    monkeypatch.undo()
    assert preprocess(copied).done == 0
    rows = read_manifest(copied.corpus / MANIFEST).set_index("key")
    assert rows.loc["d", "caption_source"] == "blip"
