"""A corpus that must not be trained on is refused, with the rows and what is wrong with each."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.export import export_corpus
from sfe_core.corpus.inspection.gate import Fault, find_faults, require_sound
from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.quality import MEASURES, measure_stored
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.webdataset import ShardStore
from sfe_core.errors import UserError

MAPS = ("landmarks", "depth", "mesh")


@pytest.fixture
def corpus(small_corpus: Workspace, tmp_path: Path) -> Corpus:
    """A copy to spoil: older than its manifest, and measured."""
    folder = Path(shutil.copytree(small_corpus.corpus, tmp_path / "corpus"))
    frame = read_manifest(folder / MANIFEST)
    measured = {
        row["key"]: measure_stored(Corpus(folder).store, row)
        for row in Corpus(folder).rows.to_dict("records")
    }
    for name in MEASURES:
        frame[name] = [measured.get(key, {}).get(name) for key in frame["key"]]
    for path in folder.rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    write_manifest(folder / MANIFEST, frame)
    return Corpus(folder)


def faults(corpus: Corpus, quality: QualityConfig | None = None, **options) -> list[Fault]:
    maps = options.pop("maps", MAPS)
    return find_faults(corpus, corpus.rows, maps, quality or QualityConfig(), **options)


def test_a_sound_corpus_passes_without_reading_a_picture(corpus: Corpus, monkeypatch) -> None:
    assert faults(corpus, thorough=True) == []
    monkeypatch.setattr(corpus.store, "read", None)
    assert faults(corpus) == []
    require_sound(corpus, "train", MAPS, QualityConfig())


def test_missing_and_empty_pictures_are_named(corpus: Corpus) -> None:
    artefact(corpus.folder, "depth", "a").unlink()
    artefact(corpus.folder, "geometry_detail", "c").write_bytes(b"")
    artefact(corpus.folder, "inputs", "b/grey").unlink()
    assert faults(corpus) == [
        Fault("a", "depth is missing"),
        Fault("b/grey", "inputs is missing"),
        Fault("c", "mesh is missing"),
    ]
    assert faults(corpus, maps=("landmarks",)) == [Fault("b/grey", "inputs is missing")]


def test_pictures_changed_since_are_named_and_copies_are_not(corpus: Corpus) -> None:
    for path in corpus.folder.rglob("*.png"):
        path.touch()  # as if the corpus had been copied: all are read, all are what they were
    assert faults(corpus) == []
    flat = Image.fromarray(np.zeros((64, 64), np.uint16))
    flat.save(artefact(corpus.folder, "depth", "c"))
    assert faults(corpus) == [Fault("c", "depth is not what preprocess wrote")]
    assert faults(corpus, maps=("mesh",)) == []


def test_a_change_that_kept_the_time_takes_a_thorough_look(corpus: Corpus) -> None:
    path = artefact(corpus.folder, "geometry_detail", "a")
    Image.new("RGB", (64, 64)).save(path)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert faults(corpus) == []
    assert faults(corpus, thorough=True) == [Fault("a", "mesh is not what preprocess wrote")]


def test_limits_apply_to_what_was_measured(corpus: Corpus) -> None:
    covered = corpus.rows.set_index("key")["mesh_coverage"]
    limit = float(covered.sort_values().iloc[1] + 1e-6)
    found = faults(corpus, QualityConfig(mesh_coverage=(0.0, limit)))
    assert {fault.key for fault in found} == set(covered[covered > limit].index)
    assert all("mesh_coverage 0." in fault.problem for fault in found)
    assert faults(corpus, QualityConfig(mesh_coverage=(0.0, limit)), maps=("depth",)) == []


def test_rows_that_were_never_measured_are_measured_now(corpus: Corpus) -> None:
    before = corpus.rows["mesh_coverage"].tolist()
    corpus.rows[list(MEASURES)] = np.nan
    assert faults(corpus) == []
    found = faults(corpus, QualityConfig(mesh_coverage=(0.99, 1.0)))
    assert [fault.problem for fault in found] == [
        f"mesh_coverage {value:.4g}, allowed 0.99 to 1" for value in before
    ]


@pytest.mark.parametrize(
    ("folder", "picture", "words"),
    [
        ("depth", Image.new("L", (64, 64)), "mode L, not of 16 bits"),
        ("landmarks", Image.new("RGB", (32, 32)), "is 32x32, its crop 64x64 pixels"),
    ],
)
def test_pictures_of_another_kind_are_told(corpus: Corpus, folder, picture, words) -> None:
    path = artefact(corpus.folder, folder, "a")
    picture.save(path)
    corpus.rows[list(MEASURES)] = np.nan
    os.utime(path, (1_000_000_000, 1_000_000_000))
    (fault,) = faults(corpus)
    assert fault.key == "a" and words in fault.problem


def test_the_refusal_names_rows_and_counts_the_rest(corpus: Corpus) -> None:
    rows = corpus.split("train")
    for key in rows["key"]:
        for folder in ("depth", "landmarks"):
            artefact(corpus.folder, folder, key).unlink()
    with pytest.raises(UserError) as caught:
        require_sound(corpus, "train", MAPS, QualityConfig())
    message = str(caught.value)
    count = len(rows)
    assert f"{count} of {count} faces of split train" in message
    assert f"{rows['key'][0]}: landmarks is missing" in message
    assert f"and {2 * count - 5} more" in message and "sfe corpus check" in message
    assert "\n" not in message
    require_sound(corpus, "train", ("mesh",), QualityConfig())


def test_shards_pass_the_same_gate(corpus: Corpus, tmp_path: Path) -> None:
    export_corpus(corpus, tmp_path / "shards", maps=("mesh", "landmarks"))
    shards = Corpus(tmp_path, ShardStore(str(tmp_path / "shards")))
    assert faults(shards, maps=("mesh", "landmarks"), thorough=True) == []
    assert faults(shards)[0] == Fault("a", "depth is missing")
    assert len(faults(shards)) == len(shards.rows)


def test_faces_without_landmarks_are_refused_where_maps_are_asked_for(corpus: Corpus) -> None:
    frame = read_manifest(corpus.folder / MANIFEST)
    frame["landmarks"] = None
    write_manifest(corpus.folder / MANIFEST, frame)
    without = Corpus(corpus.folder)
    with pytest.raises(UserError, match=r"4 of 4 faces have no landmarks \(a, b/flipped, .*delete"):
        require_sound(without, "train", MAPS, QualityConfig())
    assert Fault("a", "has no landmarks in the manifest") in faults(without)
    require_sound(without, "train", (), QualityConfig())
    with pytest.raises(UserError, match=r"manifest\.parquet: a: has no landmarks"):
        without.points("a")
