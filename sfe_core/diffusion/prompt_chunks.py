"""Prompts beyond one window of the text encoder, and with weights, as embeddings.

A prompt is split into chunks of as many tokens as fit between start and end mark (75 of CLIP's
77), each encoded by itself and the results put one behind the other, as AUTOMATIC1111's web UI and
compel do. A chunk ends at the word BREAK; when full, at its last comma if that is among its last 20
tokens, otherwise where it is full. Each is filled up with the tokenizer's padding, and a prompt
that has fewer chunks than its negative prompt, or the other way round, gets chunks of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.contract import Family, Texts
from sfe_core.diffusion.prompt_marks import PromptRules, parse_weights, split_at_breaks

_LOOK_BACK = 20  # tokens from the end of a full chunk in which a comma ends it
_NO_MEAN = 1e-3  # of the spread; below it the mean is rounding and says nothing

Chunk = list[tuple[int, float]]  # ids without start and end mark, with their weights


def deal_out(tokenizer: CLIPTokenizer, text: str, rules: PromptRules) -> list[Chunk]:
    """The chunks of a prompt, at least one; without `rules.chunks` exactly one."""
    size = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    commas = tokenizer(",", add_special_tokens=False).input_ids
    chunks: list[Chunk] = []
    current: Chunk = []
    # Weights first: brackets may reach across a break.
    for piece, weight in parse_weights(text) if rules.weights else [(text, 1.0)]:
        for number, part in enumerate(split_at_breaks(piece) if rules.chunks else [piece]):
            if number:
                chunks.append(current)
                current = []
            ids = tokenizer(part, add_special_tokens=False, verbose=False).input_ids
            for token in ids:
                if len(current) == size:
                    end = _end_of(current, commas)
                    chunks.append(current[:end])
                    current = current[end:]
                current.append((token, weight))
    chunks = [chunk for chunk in (*chunks, current) if chunk] or [[]]
    return chunks if rules.chunks else [_first_window(chunks, size)]


def _end_of(chunk: Chunk, commas: list[int]) -> int:
    """Where a full chunk ends: behind a late comma, else at its end."""
    for end in range(len(chunk), max(len(chunk) - _LOOK_BACK, len(chunk) // 2), -1):
        if [chunk[end - 1][0]] == commas:
            return end
    return len(chunk)


def _first_window(chunks: list[Chunk], size: int) -> Chunk:
    return [token for chunk in chunks for token in chunk][:size]


@torch.no_grad()
def encode_chunks(
    family: Family,
    tokenizers: Sequence[CLIPTokenizer],
    encoders: Sequence[PreTrainedModel],
    chunks: list[Chunk],
) -> Texts:
    """A prompt's chunks as the UNet is told of them: states [1, chunks * L, D], on their device.

    A weight multiplies its token's state, and each text encoder's states of the chunk are brought
    back to their mean. Of several chunks the first one gives the pooled text. Both as
    AUTOMATIC1111's does.

    Args:
        tokenizers: of the family; their words have the same ids, as CLIP's do.
    """
    rows = [_padded(tokenizer, chunks) for tokenizer in tokenizers]
    tokens, mask = (torch.cat(part, dim=1) for part in zip(*rows, strict=True))
    device = encoders[0].device
    found = family.encode_tokens(encoders, tokens.to(device), mask.to(device))
    widths = [encoder.config.hidden_size for encoder in encoders]
    weighed = [
        torch.cat([_weigh(part, chunk) for part in one.split(widths, dim=-1)], dim=-1)
        for one, chunk in zip(found.states, chunks, strict=True)
    ]
    return Texts(torch.cat(weighed)[None], None if found.pooled is None else found.pooled[:1])


def _padded(tokenizer: CLIPTokenizer, chunks: list[Chunk]) -> tuple[Tensor, Tensor]:
    """Token ids [chunks, L] with start and end mark, filled up with padding; 0 where that is."""
    length, pad = tokenizer.model_max_length, tokenizer.pad_token_id
    rows, masks = [], []
    for chunk in chunks:
        ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
        rows.append(ids + [pad] * (length - len(ids)))
        masks.append([1] * len(ids) + [0] * (length - len(ids)))
    return torch.tensor(rows), torch.tensor(masks)


def _weigh(states: Tensor, chunk: Chunk) -> Tensor:
    """States [L, D] of a chunk by its weights; the same where all are 1."""
    if all(weight == 1.0 for _, weight in chunk):
        return states
    factors = torch.ones(len(states), 1, device=states.device)
    factors[1 : len(chunk) + 1, 0] = torch.tensor([weight for _, weight in chunk])
    before = states.float()
    after = before * factors
    means = before.mean(), after.mean()
    if min(abs(mean) for mean in means) > _NO_MEAN * before.std():
        after = after * (means[0] / means[1])
    return after.to(states.dtype)


def encode_pairs(
    family: Family,
    tokenizers: Sequence[CLIPTokenizer],
    encoders: Sequence[PreTrainedModel],
    prompts: Sequence[list[Chunk]],
    negative: list[Chunk],
) -> tuple[Texts, Texts]:
    """Prompts and their negative prompt, encoded: states [B, chunks * L, D] each.

    Every prompt is encoded by itself, so that it does not depend on its neighbours; all must have
    the same number of chunks, or fewer than the negative prompt.
    """
    count = max(len(chunks) for chunks in (*prompts, negative))

    def encoded(chunks: list[Chunk]) -> Texts:
        return encode_chunks(family, tokenizers, encoders, chunks + [[]] * (count - len(chunks)))

    found, unwanted = [encoded(chunks) for chunks in prompts], encoded(negative)
    pooled = [one.pooled for one in found if one.pooled is not None]
    several = Texts(torch.cat([one.states for one in found]), torch.cat(pooled) if pooled else None)
    return several, unwanted.repeated(len(prompts))
