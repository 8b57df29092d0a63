"""Captions that BLIP writes, kept beside the corpus by what they describe.

BLIP: J. Li et al., "BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language
Understanding and Generation", ICML 2022; run by transformers from a folder on this machine.

`corpus/blip_captions.jsonl` holds a line per crop and model, see `crop_notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sfe_core.assets.store import locate
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.crop_notes import append_notes, read_notes
from sfe_core.corpus.layout import INPUTS, artefact
from sfe_core.corpus.manifest import OK
from sfe_core.errors import RunError, UserError
from sfe_core.files import sha256_folder
from sfe_core.reporting import Reporter

FILE = "blip_captions.jsonl"
# On a GPU pictures share a batch; on a CPU each is alone, which costs nothing there and makes the
# text independent of its company.
_CUDA_BATCH = 32
_BEAMS, _MOST_TOKENS = 3, 40


@dataclass(frozen=True)
class BlipCaptions:
    """What one BLIP has said so far, read once, and what it says of further crops.

    Attributes:
        corpus: whose crops.
        folder: of the model.
        model: hash that names it in the file.
        by_crop: SHA-256 of a crop's file → text.
    """

    corpus: Path
    folder: Path
    model: str
    by_crop: dict[str, str]

    @classmethod
    def open(cls, workspace: Workspace) -> BlipCaptions:
        """Read what there is.

        Raises:
            UserError: the model is not on this machine.
        """
        folder = locate(workspace.config.captions.blip_model)
        model = _identify(folder)
        notes = read_notes(workspace.corpus / FILE, model, "text")
        by_crop = {note["crop"]: note["text"] for note in notes}
        return cls(workspace.corpus, folder, model, by_crop)

    def text(self, row: Mapping[str, Any]) -> str:
        """The caption of a manifest row's crop; empty where there is none yet."""
        return self.by_crop.get(row.get("inputs_sha256") or "", "")

    def caption_new(
        self, rows: Iterable[Mapping[str, Any]], reporter: Reporter | None = None
    ) -> int:
        """Caption the crops that were not seen yet; interrupted, it goes on the next time.

        Args:
            rows: manifest rows with key, status and inputs_sha256, gone through once.
            reporter: shown the progress.

        Returns:
            How many crops were captioned now.

        Raises:
            UserError: the model's folder holds no BLIP.
            RunError: a crop cannot be read, or the disk is full.
        """
        wanted: dict[str, str] = {}  # crop → key; equal crops are described once
        for row in rows:
            if row["status"] == OK and row["inputs_sha256"] not in self.by_crop:
                wanted.setdefault(row["inputs_sha256"], row["key"])
        if not wanted:
            return 0
        describer = _Describer(self.folder)
        crops = list(wanted.items())
        with (reporter or Reporter()).task("BLIP captions", len(crops)) as task:
            for first in range(0, len(crops), describer.batch):
                batch = crops[first : first + describer.batch]
                paths = [artefact(self.corpus, INPUTS, key) for _, key in batch]
                texts = describer.describe(paths)
                told = {crop: text for (crop, _), text in zip(batch, texts, strict=True)}
                lines = [{"crop": crop, "model": self.model, "text": told[crop]} for crop in told]
                append_notes(self.corpus / FILE, lines)
                self.by_crop.update(told)
                task.advance(len(batch))
        return len(crops)


class _Describer:
    """A loaded BLIP. Imports torch and transformers, so one is made only when needed."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import BlipForConditionalGeneration, BlipProcessor

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch = _CUDA_BATCH if self._device == "cuda" else 1
        try:
            self._processor = BlipProcessor.from_pretrained(folder, local_files_only=True)
            model = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                folder, f"holds no BLIP ({error})", "see `sfe assets list`, captions.blip_model"
            ) from error
        # Not by the model's own `to`, whose decorator loses its signature.
        self._model = model.eval()
        torch.nn.Module.to(model, self._device)

    def describe(self, paths: list[Path]) -> list[str]:
        """One text per picture, by beam search, which draws no random numbers."""
        import torch
        from PIL import Image

        pictures = []
        for path in paths:
            try:
                with Image.open(path) as picture:
                    pictures.append(picture.convert("RGB"))
            except OSError as error:
                remedy = "run `sfe preprocess` to write it again"
                raise RunError(path, f"cannot be read ({error})", remedy) from error
        inputs = self._processor(images=pictures, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, num_beams=_BEAMS, max_new_tokens=_MOST_TOKENS)
        texts = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


def _identify(folder: Path) -> str:
    """Hash of the model's files; a folder without config.json is not a model."""
    if not (folder / "config.json").is_file():
        raise UserError(folder, "holds no config.json", "name the folder of a BLIP model")
    stats = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return _hash(folder, tuple((str(path), stat.st_size, stat.st_mtime) for path, stat in stats))


@lru_cache(maxsize=4)
def _hash(folder: Path, stats: tuple[tuple[str, int, float], ...]) -> str:
    """The hash itself: a gigabyte takes seconds, and is asked for several times in a run."""
    del stats  # part of the cache's key: changed files are hashed anew
    return sha256_folder(folder)[:16]
