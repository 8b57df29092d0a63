"""The token that stands for a person: a rare word of the base's, or new words that train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captioning import class_word_of
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.families.clip_text import with_new_tokens
from sfe_core.diffusion.families.contract import Family
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.loading import BaseModels, load_base
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import derive_seed
from sfe_core.recipes import stableface
from sfe_core.training.new_tokens import add_new_rows


def check_token(
    workspace: Workspace, corpus: Corpus, tokenizers: Sequence[CLIPTokenizer]
) -> list[str]:
    """Refuse a token that means something already, or that captions do not name.

    Returns:
        A note where some captions do not name it.

    Raises:
        UserError: none names it, it is empty, or an ordinary word of the base.
    """
    captions = workspace.config.captions
    token = captions.token.strip()
    if not token:
        raise UserError("captions.token", "is empty", "give a rare word, such as sks")
    taken = {captions.class_word, *captions.class_words.values(), *EMOTIONS}
    for word in token.split():
        if word.lower() in taken or any(is_ordinary(word, one) for one in tokenizers):
            raise UserError(
                f"captions.token: {token}",
                f"{word!r} is an ordinary word of the base, and would lose its meaning",
                "give a rare one, such as sks",
            )
    texts = corpus.split(stableface.TRAIN_SPLIT)["caption"].fillna("").astype(str)
    without = int((~texts.str.contains(token, regex=False)).sum())
    if without == len(texts):
        raise UserError(
            f"captions.token: {token}",
            "stands in no caption of the album",
            "put {subject} into preprocess.caption_template, and run `sfe preprocess` again",
        )
    return [f"{without} of {len(texts)} captions do not name {token}"] if without else []


def is_ordinary(word: str, tokenizer: CLIPTokenizer) -> bool:
    """Whether a tokenizer knows a word whole, and not as one of its rarest.

    CLIP's words have the lower ids, the commoner they are: woman has 2,308, sks 48,136 of 49,408.
    A vocabulary of a few hundred has no rare ones.
    """
    ids = tokenizer(word, add_special_tokens=False).input_ids
    size = tokenizer.vocab_size
    return len(ids) == 1 and len(word) > 1 and (size < 10_000 or ids[0] < 0.75 * size)


def check_new_embeddings(family: Family) -> None:
    """Refuse a family of several text encoders.

    Raises:
        UserError: it has.
    """
    if len(family.text_encoders) > 1:
        raise UserError(
            "recipe_options.new_embeddings",
            f"{family.name} has {len(family.text_encoders)} text encoders, and embeddings of only "
            "a single one can be learnt",
            "set it to false, and let captions.token be a rare word",
        )


def load_base_with_tokens(workspace: Workspace, new: bool) -> tuple[BaseModels, list[int]]:
    """The base and, where words are new, its tokenizers taught them and ids that they start as."""
    base = load_base(locate(workspace.config.model.base), encoders=False)
    if not new:
        return base, []
    captions = workspace.config.captions
    word = class_word_of(captions, workspace.config.data.person or "")
    tokenizers = list(base.tokenizers.values())
    begin = tokenizers[0](word, add_special_tokens=False).input_ids
    words = tuple(captions.token.split())
    with_new_tokens(tokenizers, words)
    return replace(base, new_tokens=words), begin


def teach_tokens(model: GuidedUNet, workspace: Workspace, begin: Sequence[int]) -> None:
    """Give the text encoder a new token for each word of `captions.token`.

    Unless it is to be trained itself, the rest of it stays as it is.

    Args:
        begin: ids of the words that their embeddings start as.
    """
    train = workspace.config.train
    encoder = model.text_encoder
    assert isinstance(encoder, PreTrainedModel)
    if not train.text_encoder:
        encoder.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(train.seed, "new tokens") % 2**32)
        add_new_rows(encoder, len(workspace.config.captions.token.split()), begin)
