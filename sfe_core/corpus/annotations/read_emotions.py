"""Emotions that a recogniser reads off photos nobody labelled, kept beside the corpus.

`corpus/read_emotions.jsonl` holds a line per crop and model, see `crop_notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sfe_core.assets.reference import ModelReference
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.crop_notes import append_notes, read_notes
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.manifest import OK
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter

FILE = "read_emotions.jsonl"
_BATCH = 16


@dataclass(frozen=True)
class ReadEmotions:
    """What one recogniser has read so far, read once, and what it reads of further crops.

    Attributes:
        workspace: whose corpus.
        recogniser: as `photos.emotions_read_by` names it.
        model: hash that names it in the file.
        by_crop: SHA-256 of a crop's file → emotion.
    """

    workspace: Workspace
    recogniser: str
    model: str
    by_crop: dict[str, str]

    @classmethod
    def open(cls, workspace: Workspace) -> ReadEmotions | None:
        """Read what there is; None where nothing is to read emotions.

        Raises:
            UserError: the recogniser is not on this machine, or is the judge by another path.
        """
        name = workspace.config.photos.emotions_read_by
        if name is None:
            return None
        reader = ModelReference(name)
        model = reader.sha256[:16]
        judge = ModelReference(workspace.config.evaluate.judge)
        try:
            same = judge.is_same_as(reader)
        except UserError:  # the judge is not there, which is told where it is loaded
            same = False
        if same:
            raise UserError(
                f"photos.emotions_read_by: {name}",
                "holds the weights of evaluate.judge, which would agree with itself",
                "name another recogniser",
            )
        notes = read_notes(workspace.corpus / FILE, model, "emotion")
        by_crop = {note["crop"]: note["emotion"] for note in notes}
        return cls(workspace, name, model, by_crop)

    def of(self, row: Mapping[str, Any]) -> str | None:
        """The emotion of a manifest row's crop; None where it was not read yet."""
        return self.by_crop.get(row.get("inputs_sha256") or "")

    def read_new(self, rows: Iterable[Mapping[str, Any]], reporter: Reporter) -> int:
        """Read the crops that have neither a label nor a reading yet; how many that were.

        Args:
            rows: manifest rows with key, status, emotion and inputs_sha256, gone through once.
            reporter: shown the progress.

        Raises:
            RunError: a crop cannot be read, or the disk is full.
        """
        wanted: dict[str, str] = {}  # crop → key; equal crops are read once
        for row in rows:
            if row["status"] == OK and row["emotion"] is None and self.of(row) is None:
                wanted.setdefault(row["inputs_sha256"], row["key"])
        if not wanted:
            return 0
        read = _Reader(self.recogniser, FolderStore(self.workspace.corpus))
        crops = list(wanted.items())
        with reporter.task("Reading expressions", len(crops)) as task:
            for first in range(0, len(crops), _BATCH):
                batch = crops[first : first + _BATCH]
                told = {crop: read(key) for crop, key in batch}
                lines = [{"crop": c, "model": self.model, "emotion": e} for c, e in told.items()]
                append_notes(self.workspace.corpus / FILE, lines)
                self.by_crop.update(told)
                task.advance(len(batch))
        return len(crops)


class _Reader:
    """A loaded recogniser. Imports torch, so one is made only when needed."""

    def __init__(self, name: str, store: FolderStore) -> None:
        from sfe_core.faces.recognition.recognisers import load_recogniser

        self._network, self._store = load_recogniser(name), store

    def __call__(self, key: str) -> str:
        """The surest emotion of a crop."""
        from io import BytesIO

        import numpy as np
        import torch
        from PIL import Image

        with Image.open(BytesIO(self._store.read(INPUTS, key))) as picture:
            levels = np.array(picture.convert("RGB"), np.float32)
        image = torch.from_numpy(levels).permute(2, 0, 1)[None] / 127.5 - 1.0
        with torch.inference_mode():
            return EMOTIONS[int(self._network(image).logits[0].argmax())]
