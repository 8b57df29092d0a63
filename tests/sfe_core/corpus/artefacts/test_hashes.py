"""An artefact's hash follows the model files behind it, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.hashes import artefact_hashes


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {kind for kind in before if before[kind] != after[kind]}


@pytest.fixture
def emoca(tmp_path: Path) -> PreprocessConfig:
    """EMOCA's networks and FLAME by path."""
    (tmp_path / "net" / "detail").mkdir(parents=True)
    (tmp_path / "net" / "cfg.yaml").write_text("detail: {}")
    (tmp_path / "net" / "detail" / "best.ckpt").write_bytes(b"weights")
    (tmp_path / "flame.pkl").write_bytes(b"head")
    return PreprocessConfig(
        reconstruction="emoca",
        reconstruction_model=str(tmp_path / "net" / "cfg.yaml"),
        flame=str(tmp_path / "flame.pkl"),
    )


@pytest.mark.parametrize("name", ["net/detail/best.ckpt", "net/cfg.yaml", "flame.pkl"])
def test_another_model_remakes_the_head_and_nothing_else(
    emoca: PreprocessConfig, tmp_path: Path, name: str
) -> None:
    before = artefact_hashes(emoca, tmp_path).by_kind
    assert artefact_hashes(emoca, tmp_path).by_kind == before
    (tmp_path / name).write_bytes(b"detail: {other: weights}")
    touched = changed(before, artefact_hashes(emoca, tmp_path).by_kind)
    assert {"mesh", "geometry_coarse", "codes"} <= touched
    assert not touched & {"face", "inputs", "landmarks"}


def test_an_asset_counts_with_its_checkpoint(own_assets_root: Path) -> None:
    config = PreprocessConfig(reconstruction="emoca")
    folder = own_assets_root / "emoca" / "EMOCA_v2_lr_mse_20"
    (folder / "detail").mkdir(parents=True)
    (folder / "cfg.yaml").write_text("detail: {}")
    before = artefact_hashes(config, own_assets_root).by_kind
    (folder / "detail" / "best.ckpt").write_bytes(b"weights")
    assert "mesh" in changed(before, artefact_hashes(config, own_assets_root).by_kind)


def test_a_model_counts_as_it_is_written_in_the_workspace(
    emoca: PreprocessConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corpora made when paths were kept as written stand, and those of a workspace that moved."""
    found = artefact_hashes(emoca, tmp_path)
    monkeypatch.chdir(tmp_path)
    written = {"reconstruction_model": "net/cfg.yaml", "flame": "flame.pkl"}
    as_written = emoca.model_copy(update=written)
    assert artefact_hashes(as_written, tmp_path) == found
    moved = Path(shutil.move(tmp_path, tmp_path.with_name("moved")))
    there = {key: str(moved / value) for key, value in written.items()}
    assert artefact_hashes(emoca.model_copy(update=there), moved) == found


def test_the_offline_head_does_not_ask_for_flame(tmp_path: Path) -> None:
    plain = artefact_hashes(PreprocessConfig(), tmp_path)
    named = PreprocessConfig(flame="elsewhere.pkl", reconstruction_model="mine")
    other = artefact_hashes(named, tmp_path)
    assert plain.by_kind == other.by_kind
