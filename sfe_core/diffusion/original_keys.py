"""Names of tensors in a single-file checkpoint, as CompVis's Stable Diffusion 1.x wrote them.

That layout (Rombach et al. 2022, https://arxiv.org/abs/2112.10752, `ldm.models.diffusion.ddpm`) is
what ComfyUI, A1111 and diffusers' `from_single_file` read. Each function takes the state dict of
one diffusers network and gives the same tensors under the other names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."

Tensors = Mapping[str, torch.Tensor]

_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def original_unet(tensors: Tensors, layers_per_block: int) -> dict[str, torch.Tensor]:
    """A UNet2DConditionModel's tensors under their original names.

    Args:
        tensors: its state dict.
        layers_per_block: of its config; 2 for Stable Diffusion 1.x.

    Raises:
        KeyError: a tensor that Stable Diffusion 1.x does not have.
    """
    attentive = {name.split(".")[1] for name in tensors if re.match(r"up_blocks\.\d+\.att", name)}

    def rename(name: str) -> str:
        return _unet_name(name, layers_per_block + 1, attentive)

    return _renamed(tensors, UNET_PREFIX, rename)


def original_vae(tensors: Tensors, levels: int) -> dict[str, torch.Tensor]:
    """An AutoencoderKL's tensors under their original names.

    Args:
        tensors: its state dict.
        levels: length of its block_out_channels; 4 for Stable Diffusion 1.x.

    Raises:
        KeyError: a tensor that Stable Diffusion 1.x does not have.
    """
    renamed = _renamed(tensors, VAE_PREFIX, lambda name: _vae_name(name, levels))
    for name, tensor in renamed.items():
        # There, the attention's linear layers are 1 × 1 convolutions.
        if ".attn_1." in name and tensor.ndim == 2:
            renamed[name] = tensor[:, :, None, None]
    return renamed


def original_text_encoder(tensors: Tensors) -> dict[str, torch.Tensor]:
    """A CLIPTextModel's tensors under their original names.

    transformers drops the leading `text_model.` from 5.6 on; the original layout has it.
    """
    return {
        f"{TEXT_PREFIX}text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in tensors.items()
    }


def _renamed(tensors: Tensors, prefix: str, rename: Callable[[str], str]) -> dict:
    renamed = {prefix + rename(name): tensor for name, tensor in tensors.items()}
    assert len(renamed) == len(tensors)
    return renamed


def _unet_name(name: str, layers: int, attentive: set[str]) -> str:
    for end, original in _UNET_ENDS.items():
        if name.startswith(f"{end}."):
            return original + name.removeprefix(end)
    block, number, kind, place, rest = _parted(name)
    if block == "mid_block":
        return f"middle_block.{2 * place if kind == 'resnets' else 1}.{_inner(kind, rest)}"
    if block == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(number + 1) * layers}.0.{rest.replace('conv.', 'op.', 1)}"
        slot = 1 + number * layers + place
        return f"input_blocks.{slot}.{int(kind == 'attentions')}.{_inner(kind, rest)}"
    if kind == "upsamplers":
        after = 2 if str(number) in attentive else 1
        return f"output_blocks.{number * layers + layers - 1}.{after}.{rest}"
    slot = number * layers + place
    return f"output_blocks.{slot}.{int(kind == 'attentions')}.{_inner(kind, rest)}"


def _parted(name: str) -> tuple[str, int, str, int, str]:
    """Block, its number (0 for the middle), kind of layer, its number, the rest of the name."""
    kinds = "resnets|attentions|downsamplers|upsamplers"
    match = re.fullmatch(
        rf"(down_blocks|up_blocks|mid_block)\.?(\d*)\.({kinds})\.(\d+)\.(.+)", name
    )
    if match is None:
        raise KeyError(name)
    block, number, kind, place, rest = match.groups()
    return block, int(number or 0), kind, int(place), rest


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    layer, _, end = rest.partition(".")
    return f"{_UNET_RESNET[layer]}.{end}"


def _vae_name(name: str, levels: int) -> str:
    half, _, inner = name.partition(".")
    if half in ("quant_conv", "post_quant_conv"):
        return name
    if half not in ("encoder", "decoder"):
        raise KeyError(name)
    if inner.startswith(("conv_in.", "conv_out.")):
        return name
    if inner.startswith("conv_norm_out."):
        return f"{half}.norm_out.{inner.removeprefix('conv_norm_out.')}"
    block, number, kind, place, rest = _parted(inner)
    if block == "mid_block":
        if kind == "resnets":
            return f"{half}.mid.block_{place + 1}.{_shortcut(rest)}"
        layer, _, end = rest.rpartition(".")
        return f"{half}.mid.attn_1.{_VAE_ATTENTION[layer]}.{end}"
    side, level = ("down", number) if half == "encoder" else ("up", levels - 1 - number)
    if kind == "resnets":
        return f"{half}.{side}.{level}.block.{place}.{_shortcut(rest)}"
    return f"{half}.{side}.{level}.{side}sample.{rest}"


def _shortcut(rest: str) -> str:
    return rest.replace("conv_shortcut", "nin_shortcut")
