"""The folder layout of the StableFace project: what its trainer saved and its scripts read.

UNet weights on top (`diffusion_pytorch_model.bin`, in later releases .safetensors; in checkpoints
of several GPUs below `unet/`), and `guidance_encoder/` with one state dict per map. VAE, text
encoder and tokenizer are the base model's and not part of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from sfe_core.diffusion.champ_guidance import load_champ_bank, save_champ_bank
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guidance_files import GUIDANCE_FOLDER, is_champ_folder
from sfe_core.diffusion.handed_over import what_it_is
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path
from sfe_core.packaging.weights import read_tensors, read_weights

WEIGHTS = "diffusion_pytorch_model.bin"
_PLACES = ("", "unet")


def find_unet(source: Path) -> Path:
    """The folder below `source` that holds the UNet's weights.

    Raises:
        UserError: neither the top nor `unet/` does.
    """
    remedy = "give the folder of a StableFace checkpoint"
    if not source.exists():
        raise UserError(f"--from {source}", "does not exist", remedy)
    if not source.is_dir():
        kind, _ = what_it_is(source)
        raise UserError(f"--from {source}", f"is {kind}, not a folder", remedy)
    for place in _PLACES:
        folder = source / place
        if any(folder.glob("diffusion_pytorch_model*")):
            return folder
    raise UserError(
        f"--from {source}",
        f"holds no {WEIGHTS} (nor .safetensors, nor unet/)",
        remedy,
    )


def unpack(source: Path, base_unet: Path, target: Path) -> dict[str, Path]:
    """Turn a StableFace folder into the parts of a diffusers pipeline, in `target`.

    Every tensor must have its place in the base's UNet and every place its tensor.

    Args:
        source: folder in that layout, e.g. as downloaded.
        base_unet: `unet/` of the base model, whose configuration the weights belong to.
        target: where `unet/` and, if there are encoders, `guidance_encoder/` are written.

    Returns:
        Part to folder, as `weight_folders` gives for a checkpoint of this project.

    Raises:
        UserError: no UNet there, it does not fit the base, or an encoder does not fit its layout.
        RunError: a file is torn.
    """
    tensors = read_weights(find_unet(source))
    assert tensors is not None
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base_unet))
    try:
        unet.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).split("\n", 1)[-1].split())[:200]
        raise UserError(
            f"--from {source}", f"does not fit the base's UNet: {problem}", "set model.base"
        ) from error
    unet.save_pretrained(target / "unet")
    folders = {"unet": target / "unet"}
    encoders = source / GUIDANCE_FOLDER
    if is_champ_folder(encoders):
        load_champ_bank(encoders).save_pretrained(target / GUIDANCE_FOLDER)
        folders[GUIDANCE_FOLDER] = target / GUIDANCE_FOLDER
    return folders


def write_stableface(package: Path, target: Path) -> None:
    """Write a packaged pipeline's UNet and encoders in the StableFace layout.

    `config.json` is the UNet's, so that diffusers' `UNet2DConditionModel.from_pretrained(target)`
    reads the folder too. The tensors are float32.

    Raises:
        UserError: the encoders read a map that the layout has no name for.
    """
    tensors = read_weights(package / "unet")
    assert tensors is not None
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / WEIGHTS) as partial:
        torch.save({name: tensor.float() for name, tensor in tensors.items()}, partial)
    shutil.copyfile(package / "unet" / "config.json", target / "config.json")
    if (package / GUIDANCE_FOLDER).is_dir():
        bank = GuidanceBank.from_pretrained(package / GUIDANCE_FOLDER, torch_dtype=torch.float32)
        (target / GUIDANCE_FOLDER).mkdir(exist_ok=True)
        save_champ_bank(bank, target / GUIDANCE_FOLDER)


def check_stableface(package: Path, target: Path) -> None:
    """Read a folder of `write_stableface` again and compare it to the package it came from.

    Raises:
        RunError: a tensor is missing, new, or another.
    """
    unet = read_weights(package / "unet")
    assert unet is not None
    pairs = [(unet, read_tensors(target / WEIGHTS), target / WEIGHTS)]
    if (package / GUIDANCE_FOLDER).is_dir():
        kept = GuidanceBank.from_pretrained(package / GUIDANCE_FOLDER, torch_dtype=torch.float32)
        folder = target / GUIDANCE_FOLDER
        pairs.append((kept.state_dict(), load_champ_bank(folder).state_dict(), folder))
    for first, second, place in pairs:
        if first.keys() != second.keys() or not all(
            torch.equal(first[name].float(), second[name].float()) for name in first
        ):
            raise RunError(place, "differs from the package when read back", "report this as a bug")
