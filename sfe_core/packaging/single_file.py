"""A pipeline as one .safetensors file in the original layout, for ComfyUI, A1111 and diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from sfe_core.diffusion.original_keys import original_text_encoder, original_unet, original_vae
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path
from sfe_core.packaging.weights import Precision, cast
from sfe_core.quiet import quiet_libraries

# What the user interfaces assume of every Stable Diffusion 1.x file.
_STANDARD_WIDTHS, _STANDARD_SCALE = (320, 640, 1280, 1280), 0.18215
_SD2_TEXT_WIDTH = 1024


def write_single_file(
    pipeline: StableDiffusionPipeline,
    target: Path,
    precision: Precision | None,
    metadata: Mapping[str, str],
    marks: Mapping[str, torch.Tensor],
) -> None:
    """Write UNet, VAE and text encoder of `pipeline` as one file.

    Args:
        precision: None keeps that of the pipeline.
        marks: further tensors, which tell programs what the model predicts.
        metadata: for the file's header.

    Raises:
        UserError: a pipeline whose parts the original layout has no names for.
    """
    unet, vae = pipeline.unet, pipeline.vae
    if not isinstance(unet.config.layers_per_block, int) or (
        unet.config.cross_attention_dim == _SD2_TEXT_WIDTH
    ):
        raise _no_such_layout("this UNet is not built like Stable Diffusion 1.x's")
    try:
        tensors = {
            **original_unet(unet.state_dict(), unet.config.layers_per_block),
            **original_vae(vae.state_dict(), len(vae.config.block_out_channels)),
            **original_text_encoder(pipeline.text_encoder.state_dict()),
        }
    except KeyError as error:
        raise _no_such_layout(f"it has no name for {error}") from error
    tensors = cast(tensors, precision) if precision else tensors
    whole = {name: tensor.detach().contiguous() for name, tensor in {**tensors, **marks}.items()}
    with atomic_path(target) as partial:
        save_file(whole, partial, metadata={"format": "pt", **metadata})


def _no_such_layout(problem: str) -> UserError:
    return UserError("--also single-file", problem, "leave it out, or package an SD 1.x model")


def load_single_file(path: Path, folder: Path) -> StableDiffusionPipeline:
    """Load a single file with diffusers, its configuration taken from the pipeline in `folder`.

    Raises:
        RunError: diffusers does not load it.
    """
    try:
        with quiet_libraries():
            return StableDiffusionPipeline.from_single_file(
                str(path),
                config=str(folder),
                local_files_only=True,
                safety_checker=None,
                torch_dtype=torch.float32,
            )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise RunError(path, f"does not load again ({error})", "report this as a bug") from error


def check_same_weights(
    wanted: StableDiffusionPipeline, found: StableDiffusionPipeline, precision: Precision | None
) -> None:
    """Compare UNet, VAE and text encoder of two pipelines in float32, tensor by tensor.

    Args:
        precision: that `wanted` was rounded to when `found` was written; None = not rounded.

    Raises:
        RunError: a name is missing or new, or a number differs.
    """
    for part in ("unet", "vae", "text_encoder"):
        first = getattr(wanted, part).state_dict()
        first = cast(first, precision) if precision else first
        second = getattr(found, part).state_dict()
        odd = sorted(first.keys() ^ second.keys())
        odd += [name for name in first.keys() & second.keys() if not _same(first, second, name)]
        if odd:
            raise RunError(
                part, f"{len(odd)} tensors differ when read back, {odd[0]} first", "report this"
            )


def _same(first: Mapping, second: Mapping, name: str) -> bool:
    return torch.equal(first[name].float(), second[name].float())


def is_standard(pipeline: StableDiffusionPipeline) -> bool:
    """Whether programs that know Stable Diffusion 1.x by its sizes (ComfyUI, A1111) can draw it."""
    return (
        tuple(pipeline.unet.config.block_out_channels) == _STANDARD_WIDTHS
        and pipeline.vae.config.scaling_factor == _STANDARD_SCALE
    )
