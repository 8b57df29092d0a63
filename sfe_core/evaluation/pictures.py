"""The sets of pictures that are measured: drawn ones, and the real photos they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfe_core.corpus.reader import Corpus
from sfe_core.files import sha256_file

# Below half a grey level of spread a picture is one colour: a safety checker's black, a failure.
BLANK_SPREAD = 0.5 / 127.5


@dataclass(frozen=True)
class Picture:
    """One picture, or why there is none.

    Attributes:
        image: [3, S, S] in [-1, 1]; None where `fault` says why.
        fault: "" | "missing" | "unreadable" | "blank".
    """

    image: Tensor | None
    fault: str = ""


class PictureSet(Protocol):
    """Pictures by key, and what decides their content."""

    def picture(self, key: str, size: int) -> Picture:
        """The picture of `key` at `size` pixels."""

    def fingerprint(self, key: str) -> str:
        """Changes whenever the picture of `key` does."""


class DrawnPictures:
    """A folder of `<key>.png` as `draw_split` leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Where the picture of `key` lies; keys may hold dots, so `.png` is appended."""
        return self.folder / f"{key}.png"

    def picture(self, key: str, size: int) -> Picture:
        """The picture of `key`, shrunk or enlarged (Lanczos) where it is not `size` pixels."""
        try:
            with Image.open(self.path(key)) as opened:
                picture = opened.convert("RGB")
        except FileNotFoundError:
            return Picture(None, "missing")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return Picture(None, "unreadable")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.LANCZOS)
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1.0
        if float(image.std()) < BLANK_SPREAD:
            return Picture(None, "blank")
        return Picture(image)

    def fingerprint(self, key: str) -> str:
        """SHA-256 of the file's bytes, or "missing"."""
        path = self.path(key)
        return sha256_file(path) if path.is_file() else "missing"


class RealPictures:
    """The face crops of a corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def picture(self, key: str, size: int) -> Picture:
        """The crop of `key` at `size` pixels, resized as for training."""
        return Picture(self.corpus.image(key, size))

    def fingerprint(self, key: str) -> str:
        """The crop's SHA-256 as the manifest has it, so that nothing needs to be read."""
        return str(self.corpus.row(key)["inputs_sha256"])
