"""How much of a text a pipeline's text encoder reads, and the words that fall off its end.

Needs neither torch nor the encoder's weights, so that captions can be counted anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

_USUAL = 77  # tokens, of CLIP
_MOST_SHOWN = 200  # characters of an example
# Scripts without spaces between words: Thai, Lao, Khmer, Chinese, Japanese.
_SPACELESS = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u2e80-\ua4cf]")
_AT_ONCE = 10_000


class TextWindow:
    """The tokenizer of a pipeline and how many of its tokens the text encoder reads.

    Args:
        tokenizer: of the pipeline.
        positions: of its text encoder, start and end mark included.
    """

    def __init__(self, tokenizer: CLIPTokenizer, positions: int = _USUAL) -> None:
        self.tokenizer = tokenizer
        # A tokenizer without a limit of its own gives an astronomical number.
        self.tokens = min(tokenizer.model_max_length, positions)
        self._marks = tokenizer.num_special_tokens_to_add()
        self._read = self.tokens - self._marks

    @classmethod
    def of_pipeline(cls, folder: Path) -> TextWindow | None:
        """The window of a pipeline's folder, None where its tokenizer cannot be read.

        Loading the pipeline says in words what is wrong with it.
        """
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            return cls(tokenizer, _positions(folder / "text_encoder" / "config.json"))
        except Exception:  # whatever a torn or foreign tokenizer raises
            return None

    def measure(self, texts: Sequence[str]) -> list[tuple[int, str]]:
        """Of each text its tokens, marks included, and the words that are not read ("": none)."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        measured = []
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            # Past transformers' own call, which makes lists of every token.
            for text, found in zip(
                some, backend.encode_batch(list(some), add_special_tokens=False), strict=True
            ):
                lost = self._lost(text, found.offsets) if len(found) > self._read else ""
                measured.append((len(found) + self._marks, lost))
        return measured

    def _lost(self, text: str, places: Sequence[tuple[int, int]]) -> str:
        """The words from the first token on that is not read, given each token's place."""
        start = places[self._read][0]
        # A cut inside a word loses the word.
        while _same_word(text[max(0, start - 1) : start + 1]):
            start -= 1
        return text[start:].strip(" ,\n")

    def told(self, texts: Iterable[str], name: str) -> str | None:
        """What to tell of texts that are longer than is read; None where all are read whole.

        Args:
            texts: all of them, the same one several times included.
            name: of one of them, e.g. caption.
        """
        every = list(texts)
        distinct = list(dict.fromkeys(every))
        measured = dict(zip(distinct, self.measure(distinct), strict=True))
        cut = [text for text in every if measured[text][1]]
        if not cut:
            return None
        longest, lost = max(measured[text][0] for text in cut), measured[cut[0]][1]
        if len(every) == 1:
            return (
                f"the {name} is longer than the text encoder's {self.tokens} tokens (it has "
                f"{longest}); these words are not read: {lost}"
            )
        shown = lost if len(lost) <= _MOST_SHOWN else f"{lost[:_MOST_SHOWN].rstrip()} …"
        return (
            f"{len(cut)} of {len(every)} {name}s are longer than the text encoder's {self.tokens} "
            f"tokens (longest {longest}); words lost, e.g. {shown}"
        )


def _same_word(pair: str) -> bool:
    """Whether no word ends between two characters."""
    return len(pair) == 2 and pair.isalnum() and not _SPACELESS.search(pair)


def _positions(config: Path) -> int:
    try:
        values: Any = json.loads(config.read_text(encoding="utf-8"))
        return int(values.get("max_position_embeddings", _USUAL))
    except (OSError, ValueError, TypeError, AttributeError):
        return _USUAL
