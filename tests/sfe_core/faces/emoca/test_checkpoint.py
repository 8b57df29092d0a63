"""Loading every published layout, strictly, and without running what a file names."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.faces.emoca.checkpoint import (
    EmocaNetworks,
    best_checkpoint,
    check_flame,
    find_model,
    load_networks,
)
from sfe_core.faces.tensor_reading import read_checkpoint
from tests.emoca_files import write_deca_model, write_emoca_model


def test_emoca_folder(emoca: EmocaNetworks, template: torch.Tensor) -> None:
    assert emoca.settings.expression_jaw_pose
    assert not emoca.encoder.training
    assert all(not weight.requires_grad for weight in emoca.encoder.parameters())
    assert torch.equal(emoca.flame_template, template)


@pytest.mark.parametrize("legacy", [False, True])
def test_deca_file_in_both_of_torchs_formats(deca_file: Path, tmp_path: Path, legacy: bool) -> None:
    path = write_deca_model(tmp_path / "deca_model.tar", legacy=True) if legacy else deca_file
    networks = load_networks(path)
    stored = torch.load(path, weights_only=True)
    assert networks.settings.expression_backbone is None
    assert networks.settings.blends_detail_normals
    for part in ("E_flame", "E_detail"):
        loaded = getattr(networks.encoder, part).state_dict()
        assert loaded.keys() == stored[part].keys()
        assert all(torch.equal(value, stored[part][key]) for key, value in loaded.items())
    assert networks.decoder.state_dict().keys() == stored["D_detail"].keys()


def test_emocas_own_release_of_deca(tmp_path: Path) -> None:
    networks = load_networks(write_emoca_model(tmp_path / "DECA", deca_class="DECA"))
    assert networks.encoder.E_expression is None
    assert not networks.settings.blends_detail_normals


def test_the_loaded_weights_outlive_their_file(tmp_path: Path) -> None:
    path = write_deca_model(tmp_path / "deca_model.tar")
    networks = load_networks(path)
    before = networks.encoder.E_flame.layers[2].bias.clone()
    with open(path, "r+b") as stream:
        stream.write(b"\0" * path.stat().st_size)
    assert torch.equal(networks.encoder.E_flame.layers[2].bias, before)


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("deca.E_detail.layers.2.bias"), "no E_detail.layers.2.bias"),
        (lambda s: s.update({"deca.E_mica.weight": torch.zeros(1)}), "unknown E_mica.weight"),
        (lambda s: s.update({"deca.D_detail.l1.0.bias": torch.zeros(3)}), r"\(3,\)"),
    ],
)
def test_keys_and_shapes_are_strict(tmp_path: Path, change: Change, told: str) -> None:
    folder = write_emoca_model(tmp_path / "model")
    path = best_checkpoint(folder)
    stored = {"state_dict": dict(read_checkpoint(path)["state_dict"])}
    stored["state_dict"] = {key: value.clone() for key, value in stored["state_dict"].items()}
    change(stored["state_dict"])
    torch.save(stored, path)
    with pytest.raises(UserError, match=told):
        load_networks(folder)


def test_the_repeated_encoder_must_be_the_same(tmp_path: Path) -> None:
    folder = write_emoca_model(tmp_path / "model", expression_backbone="deca_parallel")
    path = best_checkpoint(folder)
    state = {key: value.clone() for key, value in read_checkpoint(path)["state_dict"].items()}
    state["deca.E_expression.resnet.layers.2.bias"] += 1
    torch.save({"state_dict": state}, path)
    with pytest.raises(UserError, match="differs from E_flame"):
        load_networks(folder)


def test_a_config_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_emoca_model(tmp_path / "model")
    text = (folder / "cfg.yaml").read_text()
    (folder / "cfg.yaml").write_text(text.replace("jaw_pose: false", "jaw_pose: true"))
    with pytest.raises(UserError, match=r"E_expression.layers.2.* has shape \(50, 1024\)"):
        load_networks(folder)


def test_the_best_checkpoint_is_the_one_of_least_loss(tmp_path: Path) -> None:
    folder = tmp_path / "detail" / "checkpoints"
    for name in ("last.ckpt", "a-loss=3.5.ckpt", "b-loss/x=3.25.ckpt", "c-loss=12.0.ckpt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert best_checkpoint(tmp_path).name == "x=3.25.ckpt"


def test_one_checkpoint_counts_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "detail" / "checkpoints"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="0 checkpoints"):
        best_checkpoint(tmp_path)
    (folder / "mine.ckpt").touch()
    assert best_checkpoint(tmp_path).name == "mine.ckpt"
    (folder / "other.ckpt").touch()
    with pytest.raises(UserError, match="2 checkpoints"):
        best_checkpoint(tmp_path)


def test_a_model_is_found_inside_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither cfg.yaml nor deca_model.tar"):
        find_model(tmp_path)
    inner = tmp_path / "models" / "EMOCA"
    inner.mkdir(parents=True)
    (inner / "cfg.yaml").touch()
    assert find_model(tmp_path) == find_model(inner / "cfg.yaml") == inner
    (tmp_path / "deca_model.tar").touch()
    assert find_model(tmp_path) == tmp_path / "deca_model.tar", "the nearest one"
    other = tmp_path / "models" / "DECA"
    other.mkdir()
    (other / "cfg.yaml").touch()
    with pytest.raises(UserError, match="DECA/cfg.yaml, EMOCA/cfg.yaml"):
        find_model(tmp_path / "models")


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch {}".format(os.environ["SFE_TEST_MARK"]),)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_a_checkpoint_names_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    mark = tmp_path / "it-ran"
    monkeypatch.setenv("SFE_TEST_MARK", str(mark))
    path = tmp_path / "evil.ckpt"
    stored = {"state_dict": {"a": torch.ones(2)}, "callbacks": _Runs()}
    torch.save(stored, path, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(read_checkpoint(path)["state_dict"]["a"], torch.ones(2))
    assert not mark.exists()
    pickle.loads(pickle.dumps(_Runs()))
    assert mark.exists(), "the file would have run something"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps([1, 2])])
def test_other_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "deca_model.tar"
    path.write_bytes(content)
    with pytest.raises(UserError, match="deca_model.tar") as caught:
        load_networks(path)
    assert "\n" not in str(caught.value)


def test_a_deca_file_without_its_parts_says_which(tmp_path: Path) -> None:
    torch.save({"E_flame": {}}, tmp_path / "deca_model.tar")
    with pytest.raises(UserError, match="has no E_detail, D_detail"):
        load_networks(tmp_path / "deca_model.tar")


def test_another_flame_is_refused(emoca: EmocaNetworks, template: torch.Tensor) -> None:
    check_flame(emoca, template, "flame-2020")
    with pytest.raises(UserError, match=r"differs by 2\.00 mm"):
        check_flame(emoca, template + 0.002, "flame-2023")
    with pytest.raises(UserError):
        check_flame(emoca, template[:100], "a head")
