"""A file or another folder handed over where a pipeline folder is wanted."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from sfe_cli.main import app
from sfe_core.assets import locate
from sfe_core.diffusion.handed_over import require_pipeline
from sfe_core.errors import UserError
from sfe_core.packaging.plan import plan_foreign
from sfe_core.reporting import Reporter
from sfe_core.runs.start import plan_training
from sfe_core.training.options import TrainOptions
from tests.tiny_workspace import make_run, make_workspace

KEYS = {
    "kohya.safetensors": ("lora_unet_mid_block.lora_down.weight", "is a LoRA"),
    "peft.safetensors": ("unet.mid_block.lora_A.weight", "is a LoRA"),
    "old.safetensors": ("unet.to_q_lora.down.weight", "is a LoRA"),
    "loha.safetensors": ("lora_unet_mid.hada_w1_a", "is a LoRA"),
    "sd1.safetensors": (
        "cond_stage_model.transformer.text_model.x", "model in one file (Stable Diffusion 1)",
    ),
    "sd2.safetensors": ("cond_stage_model.model.x", "one file (Stable Diffusion 2)"),
    "sdxl.safetensors": ("conditioner.embedders.0.x", "one file (SDXL)"),
    "sd3.safetensors": ("model.diffusion_model.joint_blocks.0.x", "is Stable Diffusion 3 in one"),
    "flux.safetensors": ("double_blocks.0.x", "is FLUX in one file"),
    "pruned.safetensors": ("model.diffusion_model.x", "a UNet in one file"),
    "unet.safetensors": ("down_blocks.0.x", "is a UNet alone"),
    "vae.safetensors": ("decoder.conv_in.weight", "is a VAE alone"),
    "text.safetensors": ("text_model.x", "is a text encoder alone"),
    "inversion.safetensors": ("emb_params", "is a textual inversion"),
    "control.safetensors": ("control_model.x", "is a ControlNet"),
    "odd.safetensors": ("x", "a safetensors file of unknown tensors"),
}  # fmt: skip


def told(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        require_pipeline(path, "--package", "nothing better")
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert path.name in text and "does not exist" not in text
    return text


@pytest.mark.parametrize("name", KEYS)
def test_a_safetensors_file_is_told_by_its_tensors(tmp_path: Path, name: str):
    key, said = KEYS[name]
    save_file({key: torch.zeros(1)}, tmp_path / name)
    text = told(tmp_path / name)
    assert said in text and "not a pipeline folder" in text
    assert ("from_single_file" in text) == ("(SDXL)" in said or "(Stable Diffusion 1)" in said)
    assert ("load_lora_weights" in text) == ("LoRA" in said)
    # The name's ending does not matter, nor where the header is cut.
    bare = tmp_path / "model"
    shutil.copyfile(tmp_path / name, bare)
    assert said in told(bare)
    bare.write_bytes(bare.read_bytes()[:-1])
    assert "that is torn" in told(bare)


def test_other_files_are_told_by_their_bytes(tmp_path: Path):
    whole, old = tmp_path / "model.ckpt", tmp_path / "old.ckpt"
    torch.save({"state_dict": {"x": torch.zeros(2)}}, whole)
    torch.save({"x": torch.zeros(2)}, old, _use_new_zipfile_serialization=False)
    for path in (whole, old):
        assert "a PyTorch checkpoint" in told(path) and "from_single_file" in told(path)
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as file:
        file.writestr("first-10/model_index.json", "{}")
    assert "a zip archive" in told(tmp_path / "package.zip")
    assert "unpack it" in told(tmp_path / "package.zip")
    (tmp_path / "note.txt").write_text("text")
    assert "is a text file" in told(tmp_path / "note.txt")
    (tmp_path / "none").write_bytes(b"")
    assert "is an empty file" in told(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")  # reading one would wait for ever
    assert "neither a file nor a folder" in told(tmp_path / "fifo")


def test_folders_are_told_by_what_they_hold(tiny_base: Path, tmp_path: Path):
    workspace = make_workspace(tmp_path / "work", tiny_base, count=1)
    checkpoint = make_run(workspace)
    (workspace.root / "sfe.yaml").touch()
    command = "`sfe package-checkpoint --run first"
    assert f"is a training checkpoint, not a pipeline folder; run {command} --step 10`" in told(
        checkpoint
    )
    assert f"is the folder of a training run, not a pipeline folder; run {command}`" in told(
        checkpoint.parent
    )
    assert "is a workspace" in told(workspace.root)
    shutil.copytree(tiny_base, workspace.packaged / "one")
    assert "give one of its packages: one" in told(workspace.root)
    assert "give one of them: one" in told(workspace.packaged)
    one = workspace.packaged / "one"
    assert f"the vae of a pipeline, not a pipeline folder; give the folder {one}" in told(
        one / "vae"
    )
    weights = next((one / "vae").glob("*.safetensors"))
    assert f"give the folder {one}" in told(weights)
    assert f"give the folder {one}" in told(one / "model_index.json")
    (one / "lora").mkdir()
    save_file({"a.lora_A.weight": torch.zeros(1)}, one / "lora" / "l.safetensors")
    assert f"is a LoRA, not a pipeline folder; give the folder {one}" in told(
        one / "lora" / "l.safetensors"
    )
    assert "is a folder of training runs" in told(workspace.runs)
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert f"is a link to {tmp_path / 'disk'}, which is gone" in told(tmp_path / "link")
    with pytest.raises(UserError, match="is a link to .*disk, which is gone"):
        locate(tmp_path / "link")
    (tmp_path / "empty").mkdir()
    assert "is an empty folder" in told(tmp_path / "empty")


@pytest.mark.parametrize("command", [("generate", "x"), ("triptych",), ("evaluate",)])
def test_every_command_says_what_the_package_is(tiny_base: Path, tmp_path: Path, command):
    workspace = make_workspace(tmp_path / "work", tiny_base, count=1)
    (workspace.root / "sfe.yaml").write_text("preset: tiny\n")
    make_run(workspace)
    save_file({"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "m.safetensors")
    for given, said in (
        (tmp_path / "m.safetensors", "is a UNet in one file"),
        (workspace.root, "is a workspace"),
        (workspace.runs / "first" / "checkpoint-10", "is a training checkpoint"),
        ("first", "is the folder of a training run"),
    ):
        typed = [command[0], "-w", str(workspace.root), *command[1:], "--package", str(given)]
        result = CliRunner().invoke(app, typed)
        assert result.exit_code == 2, result.output
        assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_part_of_a_base_in_one_file_is_named(tiny_base: Path, tmp_path: Path):
    path = tmp_path / "m.safetensors"
    save_file({"cond_stage_model.transformer.text_model.x": torch.zeros(1)}, path)
    workspace = make_workspace(tmp_path / "work", path, count=1)
    for plan in (
        lambda: plan_training(workspace, TrainOptions()),
        lambda: plan_foreign(workspace, tiny_base, None, Reporter()),
    ):
        with pytest.raises(
            UserError, match=r"model\.base.*Diffusion 1.5 in one file without model\.diff"
        ):
            plan()
