"""Shards: WebDataset's own rules, the same bytes again, the same faces as the folder."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import tarfile
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset, collate
from sfe_core.corpus.export import export_corpus
from sfe_core.corpus.layout import artefact
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.webdataset import FORMAT, ShardStore, sample_name
from sfe_core.errors import RunError, UserError
from tests.tiny_workspace import SPLIT, write_held_out

KEYS = ["id 1/häppy.0", "id 1/häppy.1", "a/b.c/d#2", "percent%2E", "x" * 120, "plain"]
# How WebDataset tells a sample's name from the extension.
BASE_AND_EXTENSION = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path, Config())
    write_held_out(workspace, KEYS)
    return workspace


def from_shards(workspace: Workspace, address: str = "exported") -> Corpus:
    config = Config.model_validate({"corpus": {"shards": address}})
    return Corpus.open(Workspace(workspace.root, config))


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def samples_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """What a streaming reader makes of the shards: consecutive members of one name."""
    samples: dict[str, dict[str, bytes]] = defaultdict(dict)
    order = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                name, extension = BASE_AND_EXTENSION.match(member.name).groups()
                if not order or order[-1] != name:
                    order.append(name)
                assert extension not in samples[name]
                samples[name][extension] = tar.extractfile(member).read()
    assert len(order) == len(set(order)) == len(samples)
    return samples


def test_streamed_samples_are_the_corpus(workspace: Workspace) -> None:
    corpus = Corpus.open(workspace)
    summary = export_corpus(corpus, workspace.exported, samples_per_shard=4)
    assert summary.samples == {SPLIT: 6, "train": 1}
    assert (summary.shards, summary.written, summary.removed) == (3, 3, 0)
    samples = samples_of(workspace.exported)
    assert {unquote(name) for name in samples} == {*KEYS, "train/one"}
    for name, sample in samples.items():
        key = unquote(name)
        assert name == sample_name(key) and name.isascii()
        for folder in ("inputs", "landmarks", "depth", "geometry_detail"):
            stored = artefact(workspace.corpus, folder, key).read_bytes()
            assert sample[f"{folder}.png"] == stored
        row = json.loads(sample["json"])
        assert row["key"] == key and row["emotion"] == corpus.row(key)["emotion"]
        assert sample["txt"].decode() == corpus.row(key)["caption"]
    index = json.loads((workspace.exported / "index.json").read_text())
    assert index["format"] == FORMAT and index["corpus_sha256"] == corpus.sha256
    for shard in index["shards"]:
        content = (workspace.exported / shard["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
        assert len(content) == shard["bytes"]
    assert summary.size_bytes == sum(shard["bytes"] for shard in index["shards"])


def test_the_same_corpus_gives_the_same_bytes(workspace: Workspace, tmp_path: Path) -> None:
    corpus = Corpus.open(workspace)
    export_corpus(corpus, tmp_path / "one", samples_per_shard=3)
    export_corpus(Corpus.open(workspace), tmp_path / "two", samples_per_shard=3)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    again = export_corpus(corpus, tmp_path / "one", samples_per_shard=3)
    assert again.written == 0 and files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_call_cut_short_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    corpus = Corpus.open(workspace)
    export_corpus(corpus, whole, samples_per_shard=2)
    victim = corpus.split(SPLIT)["key"].iloc[-1]
    picture = artefact(workspace.corpus, "depth", victim)
    content = picture.read_bytes()
    picture.unlink()
    with pytest.raises(RunError, match=r"depth.*cannot be read.*sfe preprocess"):
        export_corpus(corpus, cut, samples_per_shard=2)
    with pytest.raises(RunError, match="cut short.*sfe corpus export"):
        from_shards(workspace, str(cut))
    stood = len(list(cut.glob("*.tar")))
    picture.write_bytes(content)
    summary = export_corpus(corpus, cut, samples_per_shard=2)
    assert summary.written == summary.shards - stood
    assert files_of(cut) == files_of(whole)


def test_changed_rows_are_written_again_and_old_shards_go(workspace: Workspace) -> None:
    target = workspace.exported
    export_corpus(Corpus.open(workspace), target, samples_per_shard=2)
    mine = target / "mine-000000.tar"
    mine.write_bytes(b"of another origin")
    write_held_out(workspace, KEYS, {"plain": "Happy, another caption"})
    summary = export_corpus(Corpus.open(workspace), target, samples_per_shard=2)
    assert (summary.written, summary.removed) == (1, 0)
    assert from_shards(workspace).row("plain")["caption"] == "Happy, another caption"
    summary = export_corpus(Corpus.open(workspace), target, splits=("train",))
    assert (summary.written, summary.removed) == (0, 3)
    assert [path.name for path in sorted(target.glob("*.tar"))] == [mine.name, "train-000000.tar"]


def test_a_picture_that_is_not_what_the_manifest_says(workspace: Workspace) -> None:
    picture = artefact(workspace.corpus, "geometry_detail", "plain")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(picture)
    with pytest.raises(RunError, match=r"geometry_detail/plain\.png.*not the picture"):
        export_corpus(Corpus.open(workspace), workspace.exported)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_dataset_is_the_same_from_shards(workspace: Workspace, workers: int) -> None:
    corpus = Corpus.open(workspace)
    export_corpus(corpus, workspace.exported, samples_per_shard=2)
    shards = from_shards(workspace)
    assert shards.sha256 == corpus.sha256
    ours, theirs = (FaceDataset(source, SPLIT, resolution=16) for source in (corpus, shards))
    assert ours.keys == theirs.keys and torch.equal(ours.emotions, theirs.emotions)
    loader = DataLoader(theirs, batch_size=4, num_workers=workers, collate_fn=collate)
    expected = collate([ours[place] for place in range(len(ours))])
    batches = list(loader)
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), expected["image"])
    for name, maps in expected["maps"].items():
        assert torch.equal(torch.cat([batch["maps"][name] for batch in batches]), maps)
    assert [text for batch in batches for text in batch["caption"]] == expected["caption"]


def test_shards_are_read_from_object_storage(workspace: Workspace) -> None:
    export_corpus(Corpus.open(workspace), workspace.exported)
    files = fsspec.filesystem("memory")
    files.put(str(workspace.exported), "/bucket/faces", recursive=True)
    shards = from_shards(workspace, "memory://bucket/faces/")
    for key in KEYS:
        assert torch.equal(shards.image(key, 32), Corpus.open(workspace).image(key, 32))
    files.rm("/bucket", recursive=True)


def test_one_request_fetches_a_whole_sample(workspace: Workspace, monkeypatch) -> None:
    export_corpus(Corpus.open(workspace), workspace.exported)
    shards = from_shards(workspace)
    asked = []
    read = ShardStore.read_file

    def counted(store, name, begin=None, end=None):
        asked.append(name)
        return read(store, name, begin, end)

    monkeypatch.setattr(ShardStore, "read_file", counted)
    dataset = FaceDataset(shards, SPLIT, resolution=16)
    dataset[0], dataset[1]
    assert len(asked) == 2


def test_a_storage_that_fails_now_and_then(workspace: Workspace, monkeypatch) -> None:
    export_corpus(Corpus.open(workspace), workspace.exported)
    store = from_shards(workspace).store
    monkeypatch.setattr("sfe_core.corpus.webdataset._FIRST_WAIT_S", 0.0)
    good, failures = store._filesystem(), [OSError("reset"), TimeoutError("late")]

    class Flaky:
        def cat_file(self, *arguments, **options):
            if failures:
                raise failures.pop()
            return good.cat_file(*arguments, **options)

    monkeypatch.setattr(store, "_files", Flaky())
    whole = artefact(workspace.corpus, "depth", "plain").read_bytes()
    assert store.read("depth", "plain") == whole and not failures
    failures += [OSError("reset")] * 9
    store._last = None
    with pytest.raises(RunError, match="cannot be read.*reset"):
        store.read("depth", "plain")


def test_a_store_travels_to_other_processes(workspace: Workspace) -> None:
    export_corpus(Corpus.open(workspace), workspace.exported)
    store = from_shards(workspace).store
    before = store.read("depth", "plain")
    assert pickle.loads(pickle.dumps(store)).read("depth", "plain") == before


def test_errors_of_a_broken_export(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"index\.json: is not there.*sfe corpus export"):
        from_shards(workspace)
    with pytest.raises(UserError, match="corpus.shards: nonsense://x"):
        from_shards(workspace, "nonsense://x")
    export_corpus(Corpus.open(workspace), workspace.exported, maps=("mesh",))
    shards = from_shards(workspace)
    assert shards.store.missing("depth", ["plain"]) == ["plain"]
    assert shards.store.missing("geometry_detail", ["plain"]) == []
    with pytest.raises(RunError, match="depth.*was not exported"):
        shards.maps("plain", 32, ["depth"])
    for path in workspace.exported.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"val300-000000\.tar: ends before byte"):
        shards.image("plain", 32)
    (workspace.exported / "index.json").write_text('{"format": "other"}')
    with pytest.raises(RunError, match="not of the format"):
        from_shards(workspace)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"splits": ("test",)}, "'test' holds no picture"),
        ({"maps": ("codes",)}, "--maps.*'codes'.*landmarks, depth, mesh"),
        ({"samples_per_shard": 0}, "--samples-per-shard"),
        ({"target": Path("s3://bucket/faces")}, "--to.*URL.*upload"),
        ({"target": Path("sfe.yaml")}, "--to.*not a folder"),
        ({"target": Path("corpus")}, "--to.*the corpus itself"),
    ],
)
def test_what_cannot_be_exported(workspace: Workspace, monkeypatch, options, words) -> None:
    monkeypatch.chdir(workspace.root)
    Path("sfe.yaml").write_text("preset: tiny\n")
    with pytest.raises(UserError, match=words):
        export_corpus(Corpus.open(workspace), **{"target": workspace.exported, **options})
