"""Prompts beyond one window of the text encoder, and with weights, as embeddings.

A prompt is dealt out in chunks of as many tokens as fit between start and end mark (75 of CLIP's
77), each encoded by itself and the results put one behind the other, as AUTOMATIC1111's web UI and
compel do. A chunk ends at the word BREAK; when full, at its last comma if that is among its last 20
tokens, otherwise where it is full. Each is filled up with the tokenizer's padding, and a prompt
that has fewer chunks than its negative prompt, or the other way round, gets chunks of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

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
def encode_chunks(tokenizer: CLIPTokenizer, network: CLIPTextModel, chunks: list[Chunk]) -> Tensor:
    """The text encoder's states [1, chunks * L, D] of a prompt's chunks, on its device.

    A weight multiplies its token's state, and the chunk is brought back to its mean, as
    AUTOMATIC1111's does.
    """
    length, pad = tokenizer.model_max_length, tokenizer.pad_token_id
    rows, masks = [], []
    for chunk in chunks:
        ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
        rows.append(ids + [pad] * (length - len(ids)))
        masks.append([1] * len(ids) + [0] * (length - len(ids)))
    mask = None
    if getattr(network.config, "use_attention_mask", False):
        mask = torch.tensor(masks, device=network.device)
    states = network(torch.tensor(rows, device=network.device), attention_mask=mask)[0]
    weighed = [_weigh(one, chunk) for one, chunk in zip(states, chunks, strict=True)]
    return torch.cat(weighed)[None]


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
    tokenizer: CLIPTokenizer,
    network: CLIPTextModel,
    prompts: Sequence[list[Chunk]],
    negative: list[Chunk],
) -> tuple[Tensor, Tensor]:
    """Embeddings of prompts and of their negative prompt, [B, chunks * L, D] each.

    Every prompt is encoded by itself, so that it does not depend on its neighbours; all must have
    the same number of chunks, or fewer than the negative prompt (see `chunk_count`).
    """
    count = max(len(chunks) for chunks in (*prompts, negative))
    filled = [chunks + [[]] * (count - len(chunks)) for chunks in (*prompts, negative)]
    states = [encode_chunks(tokenizer, network, chunks) for chunks in filled]
    return torch.cat(states[:-1]), states[-1].expand(len(prompts), -1, -1).contiguous()
