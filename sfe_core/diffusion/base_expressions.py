"""Expression embeddings for a base: begun from its own words, or loaded and held against it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sfe_core.assets import locate
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_embeddings import (
    VECTORS,
    ExpressionEmbeddings,
    load_embeddings,
)
from sfe_core.diffusion.families.contract import BaseConfigs
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER
from sfe_core.diffusion.loading import read_configs
from sfe_core.emotions import EMOTIONS

# What each begins from, most telling first: the states of as many words as there are vectors.
WORDS: dict[str, str] = {
    "neutral": "neutral calm relaxed expressionless",
    "happy": "happy smiling joyful laughing",
    "sad": "sad frowning crying unhappy",
    "surprise": "surprise surprised astonished amazed",
    "fear": "fear afraid scared terrified",
    "disgust": "disgust disgusted revolted sickened",
    "anger": "anger angry furious scowling",
    "contempt": "contempt contemptuous smirking scornful",
}


def begin_expressions(
    encoders: Encoders,
    base: BaseConfigs,
    names: Sequence[str] = EMOTIONS,
    vectors: int = VECTORS,
    told: tuple[str, str] = ("", ""),
) -> ExpressionEmbeddings:
    """Embeddings that nothing has been learnt in: the states of each expression's words.

    Those of `WORDS`, in order, behind the begin of text; where a text has fewer, its end and what
    fills it up follow. None is told longer than the longest of those states. An expression
    without words of its own begins from its name.

    Args:
        encoders: of the base.
        base: its configurations.
        names: of the expressions.
        vectors: k of each.
        told: name and hash of the base, for the file.
    """
    texts = encoders.texts([WORDS.get(name, name) for name in names])
    width, pooled_width = text_widths(base)
    # Without a limit vectors grew to four times a text's on the tiny base, and tore faces.
    longest = float(texts.states.norm(dim=2).max())
    made = ExpressionEmbeddings(list(names), vectors, width, pooled_width, longest, *told)
    with torch.no_grad():
        made.states.copy_(texts.states[:, 1 : 1 + vectors])
        if made.pooled is not None:
            assert isinstance(texts.pooled, Tensor)
            made.pooled.copy_(texts.pooled)
    return made


def text_widths(base: BaseConfigs) -> tuple[int, int]:
    """How wide a base's text states and its pooled text are; the latter 0 without."""
    return int(base.of("unet")["cross_attention_dim"]), family_of(base).pooled_width(base)


def find_expressions(name: str, base: Path, where: str) -> ExpressionEmbeddings:
    """Expressions for a base, by asset name or path: their folder, or a package that holds them.

    Args:
        name: as a field of sfe.yaml gives it.
        base: folder of the base model, or the one file.
        where: the field.

    Raises:
        UserError: they are not there, cannot be read, or are for texts of another width.
    """
    folder = Path(locate(name))
    inside = folder / EXPRESSIONS_FOLDER
    found = load_embeddings(inside if inside.is_dir() else folder)
    found.check_fits(*text_widths(read_configs(base)), where=where)
    return found
