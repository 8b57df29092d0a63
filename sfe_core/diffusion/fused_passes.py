"""A UNet whose decoder gets skips fused with the expression's, in training and in any pipeline.

Both passes run in the UNet as it is. A forward hook on each middle down block exchanges skip
tensors on their way to the decoder: what the UNet's inputs for residuals do, less a pass. These are
to be given before the UNet runs, and f' - f is not known until its encoder has run; so they would
cost another half pass, and the place of a ControlNet. Nothing of the UNet is replaced or renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle
from transformers import CLIPTokenizer

from sfe_core.diffusion.expression_fusion import (
    ExpressionFusion,
    FusedSkip,
    Place,
    middle_skips,
)
from sfe_core.diffusion.unet_calls import calls_through, rows_of
from sfe_core.diffusion.unit_attention import KEYWORD as UNITS_KEYWORD
from sfe_core.diffusion.unit_attention import cross_attentions
from sfe_core.errors import RunError, UserError


@dataclass(frozen=True)
class ExpressionPrompt:
    """What fusion is told of B pictures.

    Attributes:
        states: [B, L, D], the class prompts with the expression, encoded as the UNet reads texts.
        pooled: [B, P] of the same; None in a family without.
        mask: [B or 1, 1, H, W] in [0, 1] at any size, where the expression shows (see
            `expression_mask`); None: found by where the UNet looks at `words`.
        words: [B, L], 1 at tokens that name the expression, else 0; needed where `mask` is None.
        strength: the change is multiplied by it; 0 is as without fusion, to the bit.
    """

    states: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None
    words: Tensor | None = None
    strength: float = 1.0


def word_tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str], words: Sequence[str]) -> Tensor:
    """Where words stand in prompts, as a tokenizer reads them: [B, L], 1 at their tokens, else 0.

    Raises:
        UserError: a prompt has none of the words.
    """
    spelt = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
    read = tokenizer(
        list(prompts),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
    ).input_ids
    found = torch.zeros(len(read), len(read[0]))
    for row, (prompt, tokens) in enumerate(zip(prompts, read, strict=True)):
        for word in spelt:
            for start in range(len(tokens) - len(word) + 1):
                if tokens[start : start + len(word)] == word:
                    found[row, start : start + len(word)] = 1
        if not found[row].any():
            raise UserError(
                "expression_prompt",
                f"{prompt!r} has none of the words {', '.join(words)}",
                "say which of its words is the expression: expression_word",
            )
    return found


@contextmanager
def expression_fused(
    unet: UNet2DConditionModel, fusion: ExpressionFusion, asked: ExpressionPrompt
) -> Iterator[list[FusedSkip]]:
    """Within the block the UNet's decoder gets fused skips, wherever it is called from.

    A UNet batch of 2 B or 3 B is read as those of classifier-free guidance: only the last B rows
    are fused. Outside the window, at strength 0 and where all gates are 0 the UNet runs as it
    would without, to the bit and without the expression's pass; not where gradients are wanted,
    as each weight is then to get one.

    Args:
        unet: as it lies in a pipeline or a training module; `added_to_conv_in` reaches both passes,
            so that guidance maps pose the expression's face as they do the person's.
        asked: of B pictures.

    Yields:
        A list which, where gradients are wanted, is filled with each call's skips.

    Raises:
        RunError: on a call, where the UNet passed the fusion by.
    """
    made: list[FusedSkip] = []
    last: list[_Pass] = []
    opened = fusion.open_skips
    inner = unet.forward

    def forward(
        sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, *args: Any, **told: Any
    ) -> Any:
        learns = torch.is_grad_enabled()
        rows = _last_rows(sample, asked)
        times = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        weight = fusion.window(times)[rows]
        acts = asked.strength != 0 and opened and bool(weight.any())
        if not (learns or acts):
            return inner(sample, timestep, encoder_hidden_states, *args, **told)
        wanted = {
            number: place
            for number, place in middle_skips(unet).items()
            if learns or number in opened
        }
        if learns or not (last and last[0].is_of(sample[rows], times[rows])):
            beside = rows_of((args, told), rows, len(sample))
            last[:] = [
                _expression_pass(unet, inner, asked, wanted, sample[rows], times[rows], beside)
            ]
        fuse = _Fuser(fusion, last[0], weight, asked.strength, rows)
        with _hooked(unet, wanted, fuse):
            result = inner(sample, timestep, encoder_hidden_states, *args, **told)
        _require(len(fuse.made) == len(wanted))
        if learns:
            made.extend(fuse.made)
        return result

    with calls_through(unet, forward):
        yield made


def _last_rows(sample: Tensor, asked: ExpressionPrompt) -> slice:
    count = len(asked.states)
    if len(sample) not in (count, 2 * count, 3 * count):
        raise ValueError(f"expressions of {count} pictures for a batch of {len(sample)}")
    return slice(len(sample) - count, None)


@dataclass(frozen=True)
class _Pass:
    """A pass with the expression alone: of what, its features by skip, the mask [B, 1, H, W].

    A step of a sampler may call the UNet several times on the same noise, where units have a
    guidance scale of their own: the pass is made once.
    """

    noisy: Tensor
    times: Tensor
    features: Mapping[int, Tensor]
    mask: Tensor

    def is_of(self, noisy: Tensor, times: Tensor) -> bool:
        return torch.equal(self.times, times) and torch.equal(self.noisy, noisy)


class _Reached(Exception):
    """The pass has gone as far as anybody wants to know."""


@torch.no_grad()
def _expression_pass(
    unet: UNet2DConditionModel,
    inner: Any,
    asked: ExpressionPrompt,
    wanted: Mapping[int, Place],
    noisy: Tensor,
    times: Tensor,
    beside: tuple[tuple, dict],
) -> _Pass:
    """The UNet under the expression alone, down to the last block whose skips are wanted.

    Without gradient: they are what the losses aim at, and half the memory of another pass.
    """
    args, told = beside
    told.pop("encoder_attention_mask", None)  # of another prompt
    attention = dict(told.get("cross_attention_kwargs") or {})
    attention.pop(UNITS_KEYWORD, None)
    told["cross_attention_kwargs"] = attention or None
    if (added := told.get("added_cond_kwargs")) and asked.pooled is not None:
        told["added_cond_kwargs"] = added | {"text_embeds": asked.pooled.to(noisy)}
    found: dict[int, Tensor] = {}
    last = max(place.block for place in wanted.values())

    def keep(number: int, features: Tensor) -> Tensor:
        found[number] = features
        return features

    def leave(*_: Any) -> None:
        raise _Reached

    looks = _WordLooks(unet, wanted, asked) if asked.mask is None else None
    # Autocast would keep weights that it cast without gradient for the pass that needs one.
    device = noisy.device.type
    enabled = torch.is_autocast_enabled(device)
    with (
        torch.autocast(
            device, torch.get_autocast_dtype(device), enabled=enabled, cache_enabled=False
        ),
        _hooked(unet, wanted, keep),
        _removed(looks.handles if looks else []),
        _removed([unet.down_blocks[last].register_forward_hook(leave)]),
        suppress(_Reached),
    ):
        inner(noisy, times, asked.states.to(noisy), *args, **told)
    _require(len(found) == len(wanted))
    mask = asked.mask
    if looks is not None:
        sizes = {wanted[number].block: features.shape[2:] for number, features in found.items()}
        mask = looks.mask(sizes)
    assert mask is not None
    return _Pass(noisy, times, found, mask)


def _require(happened: bool) -> None:
    # torch.compile keeps no watch over hooks: what it compiled before passes them by.
    if not happened:
        raise RunError(
            "fusion",
            "the compiled UNet passed it by",
            "compile its blocks alone, with unet.compile_repeated_blocks()",
        )


class _Fuser:
    """Makes of a skip in its whole batch the one that the decoder gets."""

    def __init__(
        self,
        fusion: ExpressionFusion,
        expression: _Pass,
        window: Tensor,
        strength: float,
        rows: slice,
    ) -> None:
        self.fusion, self.expression, self.rows = fusion, expression, rows
        self.window, self.strength = window, strength
        self.made: list[FusedSkip] = []

    def __call__(self, number: int, features: Tensor) -> Tensor:
        full, expression = features[self.rows], self.expression.features[number]
        mask = self.expression.mask.to(full.device, torch.float32)
        # Area: a level's cell gets what its pixels have on average.
        mask = functional.interpolate(mask, full.shape[2:], mode="area").expand(
            len(full), -1, -1, -1
        )
        weight = self.strength * self.window[:, None, None, None] * mask
        fused = self.fusion.at(number)(full, expression, weight)
        self.made.append(FusedSkip(number, full, expression, fused, mask, self.window))
        return torch.cat([features[: self.rows.start], fused]) if self.rows.start else fused


@contextmanager
def _hooked(
    unet: UNet2DConditionModel, wanted: Mapping[int, Place], change: Callable[[int, Tensor], Tensor]
) -> Iterator[None]:
    """Within the block, skips are what `change` makes of them; the next level's input is not."""

    def hook(block: int) -> Any:
        def exchange(_module: nn.Module, _inputs: tuple, output: tuple) -> tuple:
            sample, skips = output[0], list(output[1])
            for number, place in wanted.items():
                if place.block == block:
                    skips[place.index] = change(number, skips[place.index])
            return sample, tuple(skips)

        return exchange

    blocks = sorted({place.block for place in wanted.values()})
    with _removed([unet.down_blocks[one].register_forward_hook(hook(one)) for one in blocks]):
        yield


@contextmanager
def _removed(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Take hooks out behind the block."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _WordLooks:
    """Where the cross-attentions of the fused levels look at the words of the expression.

    Their queries and keys are read by hooks, and the attention computed once more: whatever
    processor they have goes on undisturbed.
    """

    def __init__(
        self, unet: UNet2DConditionModel, wanted: Mapping[int, Place], asked: ExpressionPrompt
    ) -> None:
        if asked.words is None:
            raise UserError(
                "fusion_mask", "is not given, and no word of the expression", "give either"
            )
        words = asked.words.float()
        self.words = words / words.sum(dim=1, keepdim=True).clamp_min(1e-6)
        self.seen: dict[int, list[Tensor]] = {}
        self.handles: list[RemovableHandle] = []
        for name, layer in cross_attentions(unet).items():
            top, block, *_ = name.split(".")
            if top == "down_blocks" and int(block) in {place.block for place in wanted.values()}:
                self._watch(int(block), layer)

    def _watch(self, block: int, layer: Attention) -> None:
        queries: list[Tensor] = []

        def keep_query(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            queries[:] = [output]

        def look(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            query, key = (
                part.float().unflatten(2, (layer.heads, -1)).transpose(1, 2)
                for part in (queries.pop(), output)
            )
            rows = (query @ key.mT * layer.scale).softmax(dim=3).mean(dim=1)
            looked = rows @ self.words.to(rows.device)[:, :, None]
            self.seen.setdefault(block, []).append(looked[..., 0])

        self.handles += [
            layer.to_q.register_forward_hook(keep_query),
            layer.to_k.register_forward_hook(look),
        ]

    def mask(self, sizes: Mapping[int, Sequence[int]]) -> Tensor:
        """[B, 1, H, W] in [0, 1]: 0 where it is below its mean, 1 at its largest.

        Args:
            sizes: H and W of the levels, by block.
        """
        if not self.seen:
            raise UserError(
                "fusion_mask", "no fused level of this UNet attends to text", "give a mask"
            )
        finest = tuple(sizes[min(self.seen)])
        levels = [
            functional.interpolate(
                torch.stack(seen).mean(dim=0).unflatten(1, tuple(sizes[block]))[:, None],
                finest,
                mode="bilinear",
            )
            for block, seen in self.seen.items()
        ]
        # Each level's weights sum to about the same over its own cells, not over the finest's.
        level = torch.stack([one / one.mean(dim=(2, 3), keepdim=True) for one in levels]).mean(0)
        above = (level - level.mean(dim=(2, 3), keepdim=True)).clamp_min(0)
        return above / above.amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
