"""Loading the base model that is fine-tuned, part by part, from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, ModelMixin, UNet2DConditionModel
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.contract import BaseConfigs, Family, Texts
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.families.pixel import PixelSpace
from sfe_core.diffusion.pipeline_folder import read_folder
from sfe_core.diffusion.unpacking import base_folder, read_single_file
from sfe_core.diffusion.weight_files import find_weights, is_read, misfit
from sfe_core.errors import RunError, UserError
from sfe_core.wording import listed

_NAMED = 3


@dataclass
class BaseModels:
    """The parts of a base model.

    `scheduler` is a DDPMScheduler over the base's own noise schedule, whatever sampler the folder
    names: training needs only its betas and prediction type. `text_encoders` is empty and the VAE
    has no encoder where they were left out.
    """

    folder: Path
    family: Family
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoders: dict[str, PreTrainedModel]
    tokenizers: dict[str, CLIPTokenizer]
    scheduler: DDPMScheduler
    new_tokens: tuple[str, ...] = ()  # words that its tokenizers were taught

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, each way (8 for Stable Diffusion)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Texts:
        """Captions as the family's pipeline feeds them, on the text encoders' device.

        Encoders that were left out are loaded on the CPU for the length of this call.
        """
        encoders = self.text_encoders or load_parts(self.folder, self.family.text_encoders)
        tokenizers = list(self.tokenizers.values())
        return self.family.encode(tokenizers, list(encoders.values()), captions)

    def no_text(self) -> Texts:
        """What stands where there is no caption, of one text; see `Family.unconditional`."""
        return self.family.unconditional(self.encode_text([""]), read_configs(self.folder).index)


def read_configs(base: Path, where: str = "model.base") -> BaseConfigs:
    """What the configurations in a base model's folder, or the header of its one file, say.

    Raises:
        UserError: it is not a pipeline, or a part of it is missing or its configuration unreadable.
    """
    if base.is_file():
        return read_single_file(base, where)
    return read_folder(base, where)


def load_base(folder: Path, encoders: bool = True) -> BaseModels:
    """Load every part of a base model; nothing is downloaded.

    All networks come in float32, in evaluation mode.

    Args:
        folder: of a diffusers pipeline, or one file in the original layout.
        encoders: False leaves out the text encoders and the VAE's encoder, which training does not
            need once photos and captions are encoded.

    Raises:
        UserError: the folder is not a pipeline, or a part of it is missing or unreadable.
    """
    folder = base_folder(folder)
    family = family_of(read_configs(folder))
    loaded = load_parts(folder, ("unet", "scheduler"))
    loaded["vae"] = load_autoencoder(folder)
    if not encoders:
        loaded["vae"].encoder = loaded["vae"].quant_conv = None
    return BaseModels(
        folder=folder,
        family=family,
        text_encoders=load_parts(folder, family.text_encoders) if encoders else {},
        tokenizers=load_parts(folder, family.tokenizers),
        **loaded,
    )


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """The VAE of a pipeline folder; where its family has none, pixels are their own latents.

    Raises:
        UserError: as `load_part`.
    """
    configs = read_configs(folder)
    has_vae = "vae" in family_of(configs).parts(configs)
    return load_part(folder, "vae") if has_vae else PixelSpace()


def load_parts(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Parts of a pipeline folder by name; see `load_part`."""
    return {name: load_part(folder, name) for name in names}


def load_part(folder: Path, name: str) -> Any:
    """One part of a pipeline folder, as its family loads it.

    Networks come in float32, in evaluation mode.

    Raises:
        UserError: it is missing or unreadable.
    """
    configs = read_configs(folder)
    kind = family_of(configs).parts(configs)[name]
    try:
        if not issubclass(kind, (ModelMixin, PreTrainedModel)):
            return kind.from_pretrained(folder / name, local_files_only=True)
        files = find_weights(folder / name)
        pair: Any = kind.from_pretrained(  # with the information, which annotations leave out
            folder / name,
            local_files_only=True,
            torch_dtype=torch.float32,
            variant=files.variant if files else None,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"model.base: {folder / name}",
            f"cannot be loaded as {kind.__name__} ({error})",
            "restore this part from the original model; `sfe assets verify` checks files",
        ) from error
    part, told = pair
    # Both libraries fill up what a file lacks with random numbers and only warn.
    wrong = [f"no {key}" for key in told["missing_keys"]]
    wrong += [f"unknown {key}" for key in told["unexpected_keys"] if is_read(key)]
    if wrong:
        raise _weights_misfit(folder / name, listed(sorted(wrong), _NAMED), "model.base")
    return part.eval()


def check_base(base: Path, where: str = "model.base") -> tuple[Family, BaseConfigs]:
    """Refuse, before anything is loaded, a base model that cannot be trained.

    Returns:
        Its family, and what its configurations say.

    Raises:
        UserError: no family knows it, its parts do not go together, or a part's weights are
            missing, unexpected or of another shape; says what was found and what to do.
    """
    configs = read_configs(base, where)
    family = family_of(configs, where)
    kinds = family.parts(configs)
    for name in kinds:
        if not base.is_file() and not (base / name).is_dir():
            raise UserError(f"{where}: {base / name}", "is missing", "restore the model's folder")
    family.check(configs, where)
    for name, kind in kinds.items() if base.is_dir() else ():
        if issubclass(kind, (ModelMixin, PreTrainedModel)):
            try:
                problem = misfit(base / name, kind, configs.of(name))
            except (RunError, ValueError, TypeError, RuntimeError) as error:
                problem = str(error)
            if problem:
                raise _weights_misfit(base / name, problem, where)
    return family, configs


def _weights_misfit(folder: Path, problem: str, where: str) -> UserError:
    return UserError(
        f"{where}: {folder}",
        f"its weights do not fit its configuration: {problem}",
        "restore this part from the original model; `sfe assets verify` checks files",
    )
