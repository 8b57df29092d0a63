"""Action units as intensities: one token per unit, attended beside the text in every layer.

Decoupled cross-attention (Ye et al. 2023, https://arxiv.org/abs/2308.06721, sec. 3.2): each
cross-attention of the UNet gets keys and values of its own for the units, and what it finds there
is added, by a scale, to what it finds in the text. Two things differ from there:

- Units do not compete. Each is weighed against nothing, a key and a value of zeros (as torch's
  `add_zero_attn` has them): softmax over these two is the sigmoid of query · key / √d (sigmoid
  attention: Ramapuram et al. 2024, https://arxiv.org/abs/2409.04431). In one softmax over all,
  muscles that move at once would share one weight, and each of 18 would start with a nineteenth of
  it. So each unit acts where the picture asks for it, whatever the others do, and a picture
  without known units is drawn as if there were none.
- Keys and values depend on the units alone, not on the noise: they are computed once a picture,
  not once a denoising step, and go to the layers as diffusers' `cross_attention_kwargs`.

The UNet keeps its class, its parameters and their names: a LoRA on it, guidance maps and
gradient checkpointing work as without units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from sfe_core.controls.action_units import ACTION_UNITS, MAXIMUM_INTENSITY
from sfe_core.diffusion.guidance_files import UNITS_FOLDER
from sfe_core.diffusion.unet_calls import UNetOutput, calls_through, rows_of
from sfe_core.errors import UserError

KEYWORD = "units"  # of `cross_attention_kwargs`
# What is told of a unit: intensity on the person's left and right, 0 to 5; whether it is there.
LEFT, RIGHT, PRESENT = range(3)
_TOLD = 3
_NAME = re.compile(r"(AU\d{1,2})(L|R|_present)?")
_ENDINGS = {None: (LEFT, RIGHT), "L": (LEFT,), "R": (RIGHT,), "_present": (PRESENT,)}

# ---- What is told of the units -------------------------------------------------------------------


def unit_conditions(units: Sequence[str], asked: Sequence[Mapping[str, float]]) -> Tensor:
    """What is asked of the units of B pictures, as a tensor; what is not asked stays free.

    Args:
        units: FACS names, in the order of the network's.
        asked: of each picture, name to number: `AU12` the intensity of both sides, 0 to 5 (more
            and less extrapolate); `AU12L`, `AU12R` that of the person's left or right, which goes
            before; `AU12_present` 0 or 1, where no intensity is known.

    Returns:
        [B, U, 3] float32: left, right, presence; NaN where nothing is asked.

    Raises:
        UserError: a name is not one of these.
    """
    conditions = torch.full((len(asked), len(units), _TOLD), torch.nan)
    for row, wanted in enumerate(asked):
        for name in sorted(wanted, key=len):  # a side after both
            code, places = unit_places(name)
            if code not in units:
                raise UserError(
                    "action units", f"{name!r} is not known", f"known: {', '.join(units)}"
                )
            for place in places:
                conditions[row, list(units).index(code), place] = wanted[name]
    return conditions


def unit_places(name: str) -> tuple[str, tuple[int, ...]]:
    """The unit of a name, and the places in its condition that a number under it fills.

    >>> unit_places("AU12"), unit_places("AU12R"), unit_places("AU4_present")
    (('AU12', (0, 1)), ('AU12', (1,)), ('AU4', (2,)))

    Raises:
        UserError: it names no unit of FACS.
    """
    matched = _NAME.fullmatch(name)
    if matched is None or matched[1] not in ACTION_UNITS:
        raise UserError(
            "action units", f"{name!r} names no unit", "write AU12, AU12L, AU12R or AU12_present"
        )
    return matched[1], _ENDINGS[matched[2]]


def mirrored(conditions: Tensor) -> Tensor:
    """Conditions [..., U, 3] of the picture turned left to right."""
    return conditions[..., [RIGHT, LEFT, PRESENT]]


# ---- What the layers are given -------------------------------------------------------------------


@dataclass(frozen=True)
class UnitKeys:
    """What the cross-attentions of B pictures find beside the text.

    Attributes:
        layers: name of a cross-attention to its keys and values, each [B, U, width].
        known: [B, U], which tokens are looked at, each by itself; None: all of them, by softmax.
        scale: what is found is multiplied by it; 0 is as without units, to the bit.
        without: what is found where classifier-free guidance tells of no unit; None: nothing.
    """

    layers: Mapping[str, tuple[Tensor, Tensor]]
    known: Tensor | None
    scale: float = 1.0
    without: UnitKeys | None = None

    def found(self, layer: str, heads: int, query: Tensor) -> Tensor:
        """What a layer finds, for queries [B or 2 B, heads, N, d]: the same shape, scaled.

        Of 2 B, the pair of classifier-free guidance, the first half finds nothing.
        """
        key, value = (
            part.to(query.dtype).unflatten(2, (heads, -1)).transpose(1, 2)
            for part in self.layers[layer]
        )
        nothing = query.shape[0] - key.shape[0]
        if nothing not in (0, key.shape[0]):
            raise ValueError(f"units of {len(key)} pictures for a batch of {len(query)}")
        query = query[nothing:]
        if self.known is None:
            found = functional.scaled_dot_product_attention(query, key, value)
        else:
            weights = (query @ key.mT / query.shape[-1] ** 0.5).sigmoid()
            found = (weights * self.known[:, None, None].to(weights.dtype)) @ value
        found = self.scale * found
        if not nothing:
            return found
        return torch.cat([torch.zeros_like(found), found])


class UnitProcessor:
    """The attention of one layer, which also looks at units where it is given any.

    It has no weights: those are `UnitAttention`'s.

    Args:
        layer: its name in the UNet.
        without: what the layer does without units. Where that multiplies matrices plainly (see
            `plain_attention`), so does this.
    """

    def __init__(self, layer: str, without: Callable[..., Tensor]) -> None:
        self.layer, self.without = layer, without
        self.plainly = isinstance(without, AttnProcessor)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        units: UnitKeys | None = None,
    ) -> Tensor:
        """[B, N, width] to the same; see diffusers' `AttnProcessor2_0`."""
        if units is None or units.scale == 0 or self.layer not in units.layers:
            return self.without(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        assert encoder_hidden_states is not None  # a cross-attention's
        query, key, value = (
            part.unflatten(2, (attn.heads, -1)).transpose(1, 2)
            for part in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(
                attention_mask, key.shape[2], len(query)
            ).view(len(query), attn.heads, -1, key.shape[2])
        with sdpa_kernel(SDPBackend.MATH) if self.plainly else nullcontext():
            found = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=attention_mask
            )
            found = found + units.found(self.layer, attn.heads, query)
        found = found.transpose(1, 2).flatten(2).to(query.dtype)
        project, dropout = attn.to_out
        return dropout(project(found))


def cross_attentions(unet: nn.Module) -> dict[str, Attention]:
    """The UNet's attentions to the text, by name.

    Raises:
        UserError: it has none.
    """
    found = {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention
    }
    if not found:
        raise UserError(
            "model.base", "its UNet attends to no text", "choose a Stable Diffusion 1.5 or XL"
        )
    return found


def attend_to_units(unet: UNet2DConditionModel) -> None:
    """Let a UNet understand `cross_attention_kwargs={"units": UnitKeys}`; nothing else changes."""
    unet.set_attn_processor(
        {
            name: processor
            if isinstance(processor, UnitProcessor)
            else UnitProcessor(name.removesuffix(".processor"), processor)
            for name, processor in unet.attn_processors.items()
        }
    )


# ---- The networks --------------------------------------------------------------------------------


class LayerProjections(nn.Module):
    """Keys and values of tokens for every cross-attention of a UNet.

    Args:
        widths: name of a cross-attention to its width.
        token_width: of the tokens.
    """

    def __init__(self, widths: Mapping[str, int], token_width: int) -> None:
        super().__init__()
        self.to_k, self.to_v = (
            nn.ModuleDict(
                {
                    module_name(name): nn.Linear(token_width, width, bias=False)
                    for name, width in widths.items()
                }
            )
            for _ in range(2)
        )
        self.layers = tuple(widths)

    def forward(self, tokens: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """[B, U, token_width] to name of a layer → keys and values, each [B, U, width]."""
        names = {layer: module_name(layer) for layer in self.layers}
        return {
            layer: (self.to_k[name](tokens), self.to_v[name](tokens))
            for layer, name in names.items()
        }


def module_name(layer: str) -> str:
    """A layer's name as one that a torch module may have."""
    return layer.replace(".", "-")


class UnitEncoder(nn.Module):
    """A token per unit out of what is told of it.

    Each unit has directions of its own, one for each thing told: h = Σ told · direction, and the
    token is A h + B gelu(h), with A and B shared. Intensities enter as shares of 5, beside flags
    that tell what is known from what is 0. Flags' directions and B start at zero: a unit known to
    rest starts as a token of zeros, and 18 units, most of which rest on any face, do not drown the
    few that move.

    Args:
        units: how many, U.
        hidden: width inside.
        token_width: of the tokens.
    """

    def __init__(self, units: int, hidden: int, token_width: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(units, 2 * _TOLD, hidden))
        self.straight = nn.Linear(hidden, token_width, bias=False)
        self.bent = nn.Linear(hidden, token_width, bias=False)
        with torch.no_grad():
            self.directions[:, _TOLD:] = 0
            self.bent.weight.zero_()

    def forward(self, conditions: Tensor) -> Tensor:
        """[B, U, 3] (see `unit_conditions`) to [B, U, token_width]."""
        known = ~conditions.isnan()
        most = conditions.new_tensor([MAXIMUM_INTENSITY, MAXIMUM_INTENSITY, 1.0])
        told = torch.cat([conditions.nan_to_num() / most, known], dim=2)
        hidden = torch.einsum("buf,ufh->buh", told.to(self.directions.dtype), self.directions)
        return self.straight(hidden) + self.bent(functional.gelu(hidden))


class UnitAttention(ModelMixin, ConfigMixin):
    """Tokens of action units, and their keys and values for every cross-attention of a UNet.

    The values' weights start at zero, so that an untrained one changes nothing (as guidance
    encoders do); the keys' start as those of the layer's text, as in the paper above.

    Args:
        units: FACS names, in order.
        layers: names of the UNet's cross-attentions.
        widths: of these.
        token_width: width of a token, that of the text's.
        hidden: width inside the encoder.
    """

    @register_to_config
    def __init__(
        self,
        units: Sequence[str],
        layers: Sequence[str],
        widths: Sequence[int],
        token_width: int = 768,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.encoder: nn.Module = UnitEncoder(len(units), hidden, token_width)
        self.projections = LayerProjections(dict(zip(layers, widths, strict=True)), token_width)
        for layer in self.projections.to_v.values():
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)

    @classmethod
    def beside(cls, unet: nn.Module, units: Sequence[str], hidden: int = 256) -> UnitAttention:
        """A fresh one for a UNet.

        Raises:
            UserError: a name is not a unit's, or the UNet attends to no text.
        """
        for name in units:
            unit_places(name)
        layers = cross_attentions(unet)
        keys = {name: _plain(layer.to_k) for name, layer in layers.items()}
        widths = [key.out_features for key in keys.values()]
        token_width = next(iter(keys.values())).in_features
        made = cls(list(units), list(layers), widths, token_width, hidden)
        with torch.no_grad():
            for name, key in keys.items():
                made.projections.to_k[module_name(name)].weight.copy_(key.weight)
        return made

    @property
    def units(self) -> tuple[str, ...]:
        """The units it was built for."""
        return tuple(self.config["units"])

    def check_fits(self, unet: nn.Module) -> None:
        """See that a UNet has the cross-attentions that this one was built for.

        Raises:
            UserError: it has others; what is found would not fit, or be left out in silence.
        """
        own = dict(zip(self.config["layers"], self.config["widths"], strict=True))
        layers = cross_attentions(unet)
        widths = {name: _plain(layer.to_k).out_features for name, layer in layers.items()}
        if own != widths:
            raise UserError(
                UNITS_FOLDER,
                f"is of a UNet with other layers ({len(own)} that attend to text, here "
                f"{len(widths)})",
                "take the folder that was trained on this base",
            )

    def forward(self, conditions: Tensor, scale: float = 1.0) -> UnitKeys:
        """What the layers find: `conditions` is [B, U, 3], see `unit_conditions`."""
        known = ~conditions.isnan().all(dim=2)
        return UnitKeys(self.projections(self.encoder(conditions)), known, scale)


def _plain(projection: nn.Module) -> nn.Linear:
    """A projection without the adapter that may lie on it."""
    layer = getattr(projection, "base_layer", projection)
    assert isinstance(layer, nn.Linear)
    return layer


# ---- Drawing -------------------------------------------------------------------------------------


@contextmanager
def units_told(
    unet: UNet2DConditionModel, units: UnitKeys, guidance: float = 1.0, text_guidance: float = 1.0
) -> Iterator[None]:
    """Within the block, any pipeline of diffusers draws B pictures with this UNet by these units.

    Units have a guidance scale of their own beside the text's, as two conditions have in Brooks et
    al. 2023 (https://arxiv.org/abs/2211.09800, eq. 3): with e(text, units) for the prediction,

        e(∅, ∅) + text_guidance (e(text, ∅) - e(∅, ∅)) + guidance (e(text, units) - e(text, ∅)).

    Where `units.without` tells of none in its own way, it stands for the second ∅.

    Args:
        unet: as it lies in the pipeline.
        units: of B pictures.
        guidance: scale of the units.
        text_guidance: the `guidance_scale` that the pipeline is given; where it is 1 or less, the
            pipeline asks for no pair, and it counts as 1.
    """
    attend_to_units(unet)
    inner = unet.forward

    def forward(sample: Tensor, *args: Any, return_dict: bool = True, **told: Any) -> Any:
        given = told.pop("cross_attention_kwargs", None) or {}
        count = len(next(iter(units.layers.values()))[0])
        paired = len(sample) == 2 * count

        def predict(noisy: Tensor, rows: slice, **more: UnitKeys) -> Tensor:
            cut_args, cut = rows_of((args, told), rows, len(sample))
            return inner(
                noisy[rows],
                *cut_args,
                cross_attention_kwargs=given | more,
                return_dict=False,
                **cut,
            )[0]

        # The pipeline multiplies what it gets by the text's scale.
        share = guidance / max(text_guidance, 1.0) if paired else guidance
        half = slice(len(sample) - count, None)
        untold, told_all = _of_the_pair(units, paired)
        if share == 1:
            result = predict(sample, slice(None), **{KEYWORD: told_all})
        else:
            plain = predict(sample, slice(None), **untold)
            without = plain[half]
            mixed = without
            if share:
                mixed = without + share * (predict(sample, half, **{KEYWORD: units}) - without)
            result = torch.cat([plain[: half.start], mixed])
        return UNetOutput(result) if return_dict else (result,)

    with calls_through(unet, forward):
        yield


def _of_the_pair(units: UnitKeys, paired: bool) -> tuple[dict[str, UnitKeys], UnitKeys]:
    """What is told where no unit is, as keywords, and where they are told to the second half."""
    rest = units.without
    if rest is None:
        return {}, units
    if not paired:
        return {KEYWORD: rest}, units
    return {KEYWORD: _joined(rest, rest)}, _joined(rest, units)


def _joined(first: UnitKeys, second: UnitKeys) -> UnitKeys:
    """Of B pictures and B more, all of whose tokens are looked at, by one scale."""
    layers = {
        name: (torch.cat([first.layers[name][0], key]), torch.cat([first.layers[name][1], value]))
        for name, (key, value) in second.layers.items()
    }
    return UnitKeys(layers, None, second.scale)
