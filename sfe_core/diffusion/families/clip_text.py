"""Texts through CLIP's tokenizers, as every family with a text encoder needs it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AddedToken, BatchEncoding, CLIPTokenizer

PAD = "<|endoftext|>"


def tokenize(tokenizers: Sequence[CLIPTokenizer], captions: Sequence[str]) -> Tensor:
    """Token ids [B, N * L] of captions: those of the N tokenizers one behind the other."""
    return torch.cat([padded(one, captions).input_ids for one in tokenizers], dim=1)


def with_new_tokens(
    tokenizers: Sequence[CLIPTokenizer], words: Sequence[str]
) -> list[CLIPTokenizer]:
    """The tokenizers, which from now on take each of some words for one token, after all others.

    Only as whole words: a new `ohw` leaves `ohwx` as it was.
    """
    for tokenizer in tokenizers:
        tokenizer.add_tokens([AddedToken(word, single_word=True) for word in words])
    return list(tokenizers)


def padded(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> BatchEncoding:
    """`input_ids` [B, L] and `attention_mask` of captions, padded or cut to the tokenizer's L."""
    return tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
