"""Pictures that a run's base drew before it, as a corpus of their own that is drawn once.

The folder is named by what decides its pictures, so that another base or size has another; a run
that was cut short goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sfe_core.arrays import Doubles
from sfe_core.corpus.layout import INPUTS, MANIFEST, artefact
from sfe_core.corpus.manifest import OK, Row, to_frame, write_manifest
from sfe_core.corpus.reader import Corpus
from sfe_core.files import atomic_path, sha256_file, write_json

RECORD = "record.json"
SPLIT = "train"
_REFUSED = "refused"
# What a picture's file says of it.
_STRENGTH, _POINTS = "sfe:strength", "sfe:landmarks"
_WAIT_S = 1.0


@dataclass(frozen=True)
class DrawnCorpus:
    """Which pictures there are to be.

    Attributes:
        folder: of the corpus they are.
        record: all that decides a picture but its key.
        emotions: key to what it shows.
        captions: emotion to caption.
        side: of the pictures, pixels.
    """

    folder: Path
    record: Mapping[str, Any]
    emotions: Mapping[str, str]
    captions: Mapping[str, str]
    side: int

    def missing(self) -> list[str]:
        """Keys that nothing was drawn for yet, in order."""
        return [key for key in self.emotions if not (self.has(key) or self._refused(key).is_file())]

    def has(self, key: str) -> bool:
        """Whether a picture of it was drawn that may be learnt from."""
        return artefact(self.folder, INPUTS, key).is_file()

    def save(
        self,
        key: str,
        pixels: Tensor,
        good: bool = True,
        strength: float = 1.0,
        points: Doubles | None = None,
    ) -> None:
        """Write a picture.

        Args:
            key: its own.
            pixels: [3, R, R] in [0, 1].
            good: whether it may be learnt from; where not, it is not drawn again either.
            strength: in [0, 1], to which it shows its expression.
            points: the face's landmarks [68, 2] in shares of the picture; None: not known.
        """
        levels = (pixels * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu()
        path = artefact(self.folder, INPUTS, key) if good else self._refused(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = PngInfo()
        notes.add_text(_STRENGTH, repr(strength))
        if points is not None:
            notes.add_text(_POINTS, json.dumps(np.asarray(points).round(5).tolist()))
        with atomic_path(path) as partial:
            Image.fromarray(levels.numpy()).save(partial, format="PNG", pnginfo=notes)

    def strength(self, key: str) -> float:
        """To which a picture shows its expression: in [0, 1]."""
        return float(self._note(key, _STRENGTH) or 1.0)

    def _note(self, key: str, name: str) -> str | None:
        with Image.open(artefact(self.folder, INPUTS, key)) as picture:
            return picture.info.get(name)

    def open(self, accelerator: Accelerator, paint: Callable[[Sequence[str]], None]) -> Corpus:
        """Have `paint` save what is missing, and open all; of several processes the first paints.

        The corpus is empty where no picture was good.
        """
        wanted = sorted(self.emotions)
        if accelerator.is_main_process:
            if missing := self.missing():
                write_json(self.folder / RECORD, dict(self.record))
                paint(missing)
            rows = [self._row(key) for key in self.emotions if self.has(key)]
            write_manifest(self.folder / MANIFEST, to_frame(rows))
        while not (self.folder / MANIFEST).is_file() or self.missing():
            time.sleep(_WAIT_S)
        corpus = Corpus(self.folder)
        corpus.rows = corpus.rows[corpus.rows["key"].isin(wanted)].reset_index(drop=True)
        return corpus

    def _refused(self, key: str) -> Path:
        return artefact(self.folder, _REFUSED, key)

    def _row(self, key: str) -> Row:
        points = self._note(key, _POINTS)
        landmarks = None if points is None else np.array(json.loads(points)) * self.side
        return {
            "key": key,
            "photo": f"{key}.png",
            "status": OK,
            "split": SPLIT,
            "emotion": self.emotions[key],
            "caption": self.captions[self.emotions[key]],
            "width": self.side,
            "height": self.side,
            "crop_x": self.side / 2,
            "crop_y": self.side / 2,
            "crop_side": float(self.side),
            "landmarks": None if landmarks is None else landmarks.flatten().tolist(),
            "inputs_sha256": sha256_file(artefact(self.folder, INPUTS, key)),
        }
