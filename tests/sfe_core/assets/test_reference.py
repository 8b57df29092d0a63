"""References to models: told apart by their weights, not by how they are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfe_core.assets.reference import ModelReference
from sfe_core.assets.store import locate
from sfe_core.errors import UserError
from sfe_core.files import sha256_file

ASSET = "tiny-emotion-loss"


def copied(folder: Path) -> ModelReference:
    shutil.copytree(locate(ASSET), folder)
    return ModelReference(str(folder))


def test_an_asset_goes_by_its_name_and_a_path_by_its_last_part(tmp_path):
    assert ModelReference(ASSET).name == ASSET
    assert ModelReference(str(tmp_path / "a" / "net.pth")).name == "net.pth"


def test_copies_are_one_model_whatever_else_lies_beside_the_weights(tmp_path):
    one, other = copied(tmp_path / "a" / "net"), copied(tmp_path / "b" / "other")
    (tmp_path / "b" / "other" / "README.md").write_text("explained anew", encoding="utf-8")
    assert one.is_same_as(other) and other.is_same_as(ModelReference(ASSET))
    assert one.sha256 == other.sha256


def test_one_changed_byte_makes_another_model_of_the_same_name_and_size(tmp_path):
    one, other = copied(tmp_path / "a" / "net"), copied(tmp_path / "b" / "net")
    before = other.sha256
    weights = next((tmp_path / "b" / "net").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert other.name == one.name and not one.is_same_as(other)
    assert other.sha256 != before


def test_the_hash_of_a_file_is_of_its_bytes(tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes(b"weights")
    assert ModelReference(str(file)).sha256 == sha256_file(file)
    (tmp_path / "folder").mkdir()
    shutil.copy(file, tmp_path / "folder" / "model.bin")
    assert ModelReference(str(tmp_path / "folder")).is_same_as(ModelReference(str(file)))


def test_what_is_not_there_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        _ = ModelReference(str(tmp_path / "none")).sha256
