"""Texts through CLIP's tokenizers, as every family with a text encoder needs it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import BatchEncoding, CLIPTokenizer

PAD = "<|endoftext|>"


def tokenize(tokenizers: Sequence[CLIPTokenizer], captions: Sequence[str]) -> Tensor:
    """Token ids [B, N * L] of captions: those of the N tokenizers one behind the other."""
    return torch.cat([padded(one, captions).input_ids for one in tokenizers], dim=1)


def padded(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> BatchEncoding:
    """`input_ids` [B, L] and `attention_mask` of captions, padded or cut to the tokenizer's L."""
    return tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
