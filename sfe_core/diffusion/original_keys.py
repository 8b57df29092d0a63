"""Names of tensors in a single-file checkpoint, as the authors of Stable Diffusion wrote them.

That layout (Rombach et al. 2022, https://arxiv.org/abs/2112.10752, `ldm.models.diffusion.ddpm`; for
XL Podell et al. 2023, https://arxiv.org/abs/2307.01952, `sgm.models.diffusion`) is what ComfyUI,
A1111 and diffusers' `from_single_file` read. Each function takes the state dict of one diffusers
network and gives the same tensors under the other names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."
XL_TEXT_PREFIXES = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")

Tensors = Mapping[str, torch.Tensor]

_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
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

_OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def original_unet(tensors: Tensors, layers_per_block: int) -> dict[str, torch.Tensor]:
    """A UNet2DConditionModel's tensors under their original names.

    Args:
        tensors: its state dict.
        layers_per_block: of its config; 2 for Stable Diffusion 1.x and XL.

    Raises:
        KeyError: a tensor that Stable Diffusion does not have.
    """
    rename = unet_renaming(tensors, layers_per_block)
    return _renamed(tensors, UNET_PREFIX, rename)


def unet_renaming(names: Iterable[str], layers_per_block: int) -> Callable[[str], str]:
    """What gives a UNet's tensor its original name, without `UNET_PREFIX`.

    Args:
        names: of all tensors of the UNet: whether a block has attentions decides names in it.
        layers_per_block: see `original_unet`.
    """
    attentive = {name.split(".")[1] for name in names if re.match(r"up_blocks\.\d+\.att", name)}
    return lambda name: _unet_name(name, layers_per_block + 1, attentive)


def original_vae(tensors: Tensors, levels: int) -> dict[str, torch.Tensor]:
    """An AutoencoderKL's tensors under their original names.

    Args:
        tensors: its state dict.
        levels: length of its block_out_channels; 4 for Stable Diffusion 1.x and XL.

    Raises:
        KeyError: a tensor that Stable Diffusion does not have.
    """
    renamed = _renamed(tensors, VAE_PREFIX, lambda name: _vae_name(name, levels))
    for name, tensor in renamed.items():
        # There, the attention's linear layers are 1 × 1 convolutions.
        if ".attn_1." in name and tensor.ndim == 2:
            renamed[name] = tensor[:, :, None, None]
    return renamed


def original_text_encoder(tensors: Tensors, prefix: str = TEXT_PREFIX) -> dict[str, torch.Tensor]:
    """A CLIPTextModel's tensors under their original names.

    transformers drops the leading `text_model.` from 5.6 on; the original layout has it.
    """
    return {
        f"{prefix}text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in tensors.items()
    }


def original_open_clip(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    """A CLIPTextModelWithProjection's tensors under the names of OpenCLIP, as SDXL has its second.

    There one matrix makes queries, keys and values, and the projection is multiplied from the
    right.

    Raises:
        KeyError: a tensor that OpenCLIP does not have.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix("text_model.")
        match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", plain)
        if plain == "text_projection.weight":
            renamed["text_projection"] = tensor.T
        elif match is None:
            renamed[_OPEN_CLIP_ENDS[plain]] = tensor
        elif match[2] == "self_attn.q_proj":
            parts = [tensors[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            place = f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"
            renamed[place] = torch.cat(parts)
        elif match[2] not in ("self_attn.k_proj", "self_attn.v_proj"):
            layer = _OPEN_CLIP_LAYER[match[2]]
            renamed[f"transformer.resblocks.{match[1]}.{layer}.{match[3]}"] = tensor
    return {prefix + name: tensor for name, tensor in renamed.items()}


def _renamed(
    tensors: Tensors, prefix: str, rename: Callable[[str], str]
) -> dict[str, torch.Tensor]:
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
