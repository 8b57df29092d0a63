"""A pipeline as one .safetensors file in the original layout, for ComfyUI, A1111 and diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file
from torch import nn

from sfe_core.diffusion.families.contract import Family
from sfe_core.diffusion.families.original import original_tensors
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path
from sfe_core.packaging.weights import Precision, cast
from sfe_core.quiet import quiet_libraries


def write_single_file(
    pipeline: DiffusionPipeline,
    family: Family,
    target: Path,
    precision: Precision | None,
    metadata: Mapping[str, str],
    marks: Mapping[str, torch.Tensor],
) -> None:
    """Write UNet, VAE and text encoders of `pipeline` as one file.

    Args:
        family: of the pipeline.
        precision: None keeps that of the pipeline.
        marks: further tensors, which tell programs what the model predicts.
        metadata: for the file's header.

    Raises:
        UserError: a pipeline whose parts the original layout has no names for.
    """
    try:
        tensors = original_tensors(family.original, _networks(pipeline))
    except KeyError as error:
        raise UserError(
            "--also single-file",
            f"the original layout has no name for {error}",
            "leave it out, or package a model of the original's parts",
        ) from error
    tensors = cast(tensors, precision) if precision else tensors
    whole = {name: tensor.detach().contiguous() for name, tensor in {**tensors, **marks}.items()}
    with atomic_path(target) as partial:
        save_file(whole, partial, metadata={"format": "pt", **metadata})


def _networks(pipeline: DiffusionPipeline) -> dict[str, nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def load_single_file(path: Path, family: Family, folder: Path) -> DiffusionPipeline:
    """Load a single file with diffusers, its configuration taken from the pipeline in `folder`.

    Raises:
        RunError: diffusers does not load it.
    """
    try:
        with quiet_libraries():
            return family.pipeline.from_single_file(
                str(path),
                config=str(folder),
                local_files_only=True,
                torch_dtype=torch.float32,
                **family.guided_pipeline.own_options,
            )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise RunError(path, f"does not load again ({error})", "report this as a bug") from error


def check_same_weights(
    wanted: DiffusionPipeline, found: DiffusionPipeline, precision: Precision | None
) -> None:
    """Compare UNet, VAE and text encoders of two pipelines in float32, tensor by tensor.

    Args:
        precision: that `wanted` was rounded to when `found` was written; None = not rounded.

    Raises:
        RunError: a name is missing or new, or a number differs.
    """
    for part, network in _networks(wanted).items():
        first = network.state_dict()
        first = cast(first, precision) if precision else first
        second = getattr(found, part).state_dict()
        odd = sorted(first.keys() ^ second.keys())
        odd += [name for name in first.keys() & second.keys() if not _same(first, second, name)]
        if odd:
            raise RunError(
                part, f"{len(odd)} tensors differ when read back, {odd[0]} first", "report this"
            )


def _same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], name: str) -> bool:
    return torch.equal(first[name].float(), second[name].float())


def is_standard(pipeline: DiffusionPipeline, family: Family) -> bool:
    """Whether programs that know a family by its sizes (ComfyUI, A1111) can draw a pipeline."""
    known = family.publishing
    return (
        tuple(pipeline.unet.config.block_out_channels) == known.unet_widths
        and pipeline.vae.config.scaling_factor == known.latent_scale
    )
