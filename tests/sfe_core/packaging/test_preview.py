from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import package_checkpoint
from sfe_core.packaging.preview import preview_package
from tests.tiny_workspace import make_run, make_workspace

CHOICE = {"run": None, "step": None, "name": None, "weights": "ema", "source": None}


@pytest.fixture
def workspace(tiny_base: Path, tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "work", tiny_base, count=1)
    make_run(workspace)
    return workspace


def tensor_bytes(path: Path) -> int:
    return sum(tensor.nbytes for tensor in load_file(path).values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, "fp16"])
def test_a_preview_tells_the_sizes_and_writes_nothing(workspace: Workspace, precision):
    options = PackageOptions(precision=precision, extras=("single-file",))
    preview = preview_package(workspace, options, **CHOICE)
    assert not workspace.packaged.exists() and not preview.exists
    made = package_checkpoint(workspace, options=options)
    assert preview.folder == made.folder
    for part in ("unet", "vae", "text_encoder", "guidance_encoder"):
        (path,) = (made.folder / part).glob("*.safetensors")
        assert preview.sizes[part] == tensor_bytes(path)
    assert preview.sizes["single-file"] == tensor_bytes(made.folder / "first-10.safetensors")
    assert preview_package(workspace, options, **CHOICE).exists


def test_a_package_to_be_pushed_is_reused_if_it_is_the_same(workspace: Workspace):
    first = package_checkpoint(workspace)
    before = (first.folder / "provenance.json").read_bytes()
    again = package_checkpoint(workspace, reuse=True)
    assert again.reused and again.pictures == first.pictures
    assert (first.folder / "provenance.json").read_bytes() == before
    half = PackageOptions(precision="fp16")
    with pytest.raises(UserError, match="exists; replace it with --force"):
        package_checkpoint(workspace, reuse=True, options=half)


def test_a_package_that_lacks_a_form_asked_for_is_not_reused(workspace: Workspace):
    package_checkpoint(workspace)
    with pytest.raises(UserError, match="exists; replace it with --force"):
        package_checkpoint(workspace, reuse=True, options=PackageOptions(extras=("lora-kohya",)))
