"""Parts of a base model in the original single-file layout: told by shapes, read back by names.

`original_keys` names every tensor of a network in that layout. Here each kind of part says what its
configuration must be, given the shapes of its tensors in a file, and gives the network's own
tensors back. What shapes cannot tell (heads, groups of a normalisation, the scale of latents) is
what Stable Diffusion 1 and XL have at any size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from diffusers import ConfigMixin
from torch import Tensor, nn

from sfe_core.diffusion import original_keys as keys

Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, Tensor]
Config = Mapping[str, Any]

_HEAD_WIDTH = 64  # of CLIP, and of the attentions of SDXL's UNet
_SD1_HEADS = 8
_GROUPS = 32
TIME_IDS = 6  # numbers in a picture's time ids


class OriginalPart(Protocol):
    """One kind of part in a single file.

    Attributes:
        prefix: what the names of its tensors begin with.
    """

    @property
    def prefix(self) -> str:
        """As above."""
        ...

    def config(self, shapes: Shapes) -> dict[str, Any]:
        """The part's configuration, given the shapes of all tensors in the file.

        Raises:
            LookupError: a tensor that says a part of it is not there.
        """
        ...

    def write(self, tensors: Tensors, config: Config) -> dict[str, Tensor]:
        """The network's tensors under their original names and in their original shapes.

        Raises:
            KeyError: a tensor that the original does not have.
        """
        ...

    def read(self, wanted: Tensors, config: Config, tensors: Tensors) -> dict[str, Tensor]:
        """The network's tensors out of a file's.

        Args:
            wanted: its state dict, of which names and shapes are looked at.
            config: of the network.
            tensors: of the file; those of `write` are all there.
        """
        ...


@dataclass(frozen=True)
class OriginalUNet:
    """UNet2DConditionModel; see `OriginalPart`.

    Args:
        pooled: the tensor that projects to the pooled text that the UNet takes; None: it takes
            none, nor time ids.
    """

    sample_size: int
    pooled: str | None = None
    prefix: str = keys.UNET_PREFIX

    def config(self, shapes: Shapes) -> dict[str, Any]:
        """Levels, their layers and attentions are counted; heads are those of SD 1 or of XL."""
        own = _below(shapes, self.prefix)
        levels = _unet_levels(own)
        widths = [own[f"{level[-1]}.0.out_layers.3.weight"][0] for level in levels]
        depths = [_depth(own, level[0]) for level in levels]
        first = own["input_blocks.0.0.weight"]
        attention = next(name for name in own if name.endswith("attn2.to_k.weight"))
        linear = len(next(own[name] for name in own if name.endswith(".proj_in.weight"))) == 2
        config: dict[str, Any] = {
            "_class_name": "UNet2DConditionModel",
            "sample_size": self.sample_size,
            "in_channels": first[1],
            "out_channels": own["out.2.weight"][0],
            "block_out_channels": widths,
            "layers_per_block": len(levels[0]),
            "down_block_types": [("CrossAttn" * bool(n)) + "DownBlock2D" for n in depths],
            "up_block_types": [("CrossAttn" * bool(n)) + "UpBlock2D" for n in reversed(depths)],
            "cross_attention_dim": own[attention][1],
            "attention_head_dim": _SD1_HEADS,
            "norm_num_groups": _groups(widths),
            "use_linear_projection": linear,
        }
        if linear:
            config["attention_head_dim"] = [max(1, width // _HEAD_WIDTH) for width in widths]
        if self.pooled is not None:
            added = own["label_emb.0.0.weight"][1]
            config |= {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": (added - shapes[self.pooled][1]) // TIME_IDS,
                "projection_class_embeddings_input_dim": added,
            }
        if max(depths) > 1:
            config["transformer_layers_per_block"] = [max(1, depth) for depth in depths]
        return config

    def write(self, tensors: Tensors, config: Config) -> dict[str, Tensor]:
        """See `original_keys.original_unet`."""
        if not isinstance(config["layers_per_block"], int):
            raise KeyError("blocks with different numbers of layers")
        return keys.original_unet(tensors, config["layers_per_block"])

    def read(self, wanted: Tensors, config: Config, tensors: Tensors) -> dict[str, Tensor]:
        """Every tensor under its own name."""
        rename = keys.unet_renaming(wanted, config["layers_per_block"])
        return _renamed_back(wanted, tensors, lambda name: self.prefix + rename(name))


@dataclass(frozen=True)
class OriginalVAE:
    """AutoencoderKL; see `OriginalPart`."""

    scaling_factor: float
    sample_size: int
    prefix: str = keys.VAE_PREFIX

    def config(self, shapes: Shapes) -> dict[str, Any]:
        """Levels and their layers are counted; the scale of latents is the family's."""
        own = _below(shapes, self.prefix)
        levels = 1 + max(int(found[1]) for found in _matches(r"encoder\.down\.(\d+)\.", own))
        layers = len(set(_matches_of(r"encoder\.down\.0\.block\.(\d+)\.", own)))
        widths = [own[f"encoder.down.{n}.block.0.conv2.weight"][0] for n in range(levels)]
        return {
            "_class_name": "AutoencoderKL",
            "sample_size": self.sample_size,
            "in_channels": own["encoder.conv_in.weight"][1],
            "out_channels": own["decoder.conv_out.weight"][0],
            "latent_channels": own["post_quant_conv.weight"][0],
            "block_out_channels": widths,
            "layers_per_block": layers,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "mid_block_add_attention": "encoder.mid.attn_1.q.weight" in own,
            "norm_num_groups": _groups(widths),
            "scaling_factor": self.scaling_factor,
        }

    def write(self, tensors: Tensors, config: Config) -> dict[str, Tensor]:
        """See `original_keys.original_vae`."""
        return keys.original_vae(tensors, len(config["block_out_channels"]))

    def read(self, wanted: Tensors, config: Config, tensors: Tensors) -> dict[str, Tensor]:
        """Every tensor under its own name, convolutions of 1 × 1 as linear layers."""
        levels = len(config["block_out_channels"])
        return _renamed_back(
            wanted,
            tensors,
            lambda name: next(iter(keys.original_vae({name: wanted[name]}, levels))),
        )


@dataclass(frozen=True)
class OriginalCLIP:
    """CLIPTextModel of OpenAI's CLIP; see `OriginalPart`."""

    prefix: str

    def config(self, shapes: Shapes) -> dict[str, Any]:
        """Layers are counted; heads are 64 wide."""
        own = _below(shapes, f"{self.prefix}text_model.")
        return {
            **_clip_sizes(own, "embeddings.token_embedding.weight", "encoder.layers"),
            "max_position_embeddings": own["embeddings.position_embedding.weight"][0],
            "intermediate_size": own["encoder.layers.0.mlp.fc1.weight"][0],
            "projection_dim": own["embeddings.token_embedding.weight"][1],
            "hidden_act": "quick_gelu",
            "architectures": ["CLIPTextModel"],
        }

    def write(self, tensors: Tensors, config: Config) -> dict[str, Tensor]:
        """See `original_keys.original_text_encoder`."""
        return keys.original_text_encoder(tensors, self.prefix)

    def read(self, wanted: Tensors, config: Config, tensors: Tensors) -> dict[str, Tensor]:
        """Every tensor under its own name."""
        start = f"{self.prefix}text_model."
        return _renamed_back(wanted, tensors, lambda name: start + name.removeprefix("text_model."))


@dataclass(frozen=True)
class OriginalOpenCLIP:
    """CLIPTextModelWithProjection of OpenCLIP; see `OriginalPart`."""

    prefix: str

    def config(self, shapes: Shapes) -> dict[str, Any]:
        """Layers are counted; heads are 64 wide."""
        own = _below(shapes, self.prefix)
        return {
            **_clip_sizes(own, "token_embedding.weight", "transformer.resblocks"),
            "max_position_embeddings": own["positional_embedding"][0],
            "intermediate_size": own["transformer.resblocks.0.mlp.c_fc.weight"][0],
            "projection_dim": own["text_projection"][1],
            "hidden_act": "gelu",
            "architectures": ["CLIPTextModelWithProjection"],
        }

    def write(self, tensors: Tensors, config: Config) -> dict[str, Tensor]:
        """See `original_keys.original_open_clip`."""
        return keys.original_open_clip(tensors, self.prefix)

    def read(self, wanted: Tensors, config: Config, tensors: Tensors) -> dict[str, Tensor]:
        """Every tensor under its own name; queries, keys and values apart again."""
        found = {}
        for name, value in wanted.items():
            apart = re.fullmatch(r"(.+\.self_attn\.)([qkv])_proj\.(weight|bias)", name)
            if apart is None:
                (place,) = self.write({name: value}, config)
                tensor = tensors[place]
                found[name] = tensor.T if name == "text_projection.weight" else tensor
                continue
            three = {f"{apart[1]}{one}_proj.{apart[3]}": value for one in "qkv"}
            (place,) = self.write(three, config)
            found[name] = tensors[place].chunk(3)["qkv".index(apart[2])]
        return found


def original_tensors(
    layout: Mapping[str, OriginalPart], networks: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """All tensors of a base model under their original names.

    Raises:
        KeyError: that layout has no name for one.
    """
    tensors: dict[str, Tensor] = {}
    for name, part in layout.items():
        network = networks[name]
        # Of text encoders, no name depends on the configuration.
        config = network.config if isinstance(network, ConfigMixin) else {}
        tensors |= part.write(network.state_dict(), config)
    return tensors


def _renamed_back(
    wanted: Tensors, tensors: Tensors, name_of: Callable[[str], str]
) -> dict[str, Tensor]:
    return {name: tensors[name_of(name)].reshape(value.shape) for name, value in wanted.items()}


def _below(shapes: Shapes, prefix: str) -> Shapes:
    own = {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    if not own:
        raise KeyError(f"{prefix}*")
    return own


def _matches(pattern: str, names: Iterable[str]) -> list[re.Match[str]]:
    return [found for found in (re.match(pattern, name) for name in names) if found]


def _matches_of(pattern: str, names: Iterable[str]) -> list[str]:
    return [found[1] for found in _matches(pattern, names)]


def _unet_levels(own: Shapes) -> list[list[str]]:
    """Blocks with a residual layer, level by level from the finest; a downsampler ends a level."""
    count = 1 + max(int(number) for number in _matches_of(r"input_blocks\.(\d+)\.", own))
    blocks = [f"input_blocks.{number}" for number in range(1, count)]
    runs = groupby(blocks, lambda block: f"{block}.0.op.weight" in own)
    return [list(run) for is_end, run in runs if not is_end]


def _depth(own: Shapes, block: str) -> int:
    """Transformer layers of a block."""
    return len(set(_matches_of(rf"{re.escape(block)}\.1\.transformer_blocks\.(\d+)\.", own)))


def _groups(widths: list[int]) -> int:
    """Groups of the normalisations: 32, or as many of these as divide narrower layers."""
    groups = _GROUPS
    while any(width % groups for width in widths):
        groups //= 2
    return groups


def _clip_sizes(own: Shapes, embedding: str, layers: str) -> dict[str, Any]:
    words, width = own[embedding]
    return {
        "vocab_size": words,
        "hidden_size": width,
        "num_hidden_layers": len(set(_matches_of(rf"{re.escape(layers)}\.(\d+)\.", own))),
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
        # CLIP's vocabulary ends with the marks of start and end.
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": words - 1,
    }
