"""Reading a corpus: rows, splits, pictures and maps as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS, MANIFEST, MAP_FOLDERS
from sfe_core.corpus.manifest import OK, read_manifest
from sfe_core.corpus.picture_store import MEND, FolderStore, PictureStore
from sfe_core.corpus.webdataset import ShardStore, shard_address
from sfe_core.errors import RunError, UserError
from sfe_core.faces.depth import DEPTH_MAXIMUM
from sfe_core.files import sha256_json


class Corpus:
    """A preprocessed corpus: its folder, or shards exported from it.

    Args:
        folder: the corpus folder.
        shards: read these instead; `folder` then only names the corpus in errors.

    Attributes:
        folder: the corpus folder.
        place: the manifest's file or URL, for errors.
        store: where the pictures are read from.
        all_rows: every row of the manifest, whatever its status.
        rows: the rows of status ok, ordered by key, indexed 0..n-1.
    """

    def __init__(self, folder: Path, shards: ShardStore | None = None) -> None:
        self.folder = Path(folder)
        self.place = f"{shards.address if shards else self.folder}/{MANIFEST}"
        self.store: PictureStore = FolderStore(self.folder) if shards is None else shards
        self.all_rows = (
            read_manifest(self.folder / MANIFEST) if shards is None else shards.manifest()
        )
        ok = self.all_rows[self.all_rows["status"] == OK]
        self.rows = ok.sort_values("key", kind="stable").reset_index(drop=True)
        self._place = {key: place for place, key in enumerate(self.rows["key"])}

    @classmethod
    def open(cls, workspace: Workspace) -> Corpus:
        """Open the workspace's corpus, or the shards that `corpus.shards` names.

        Raises:
            UserError: there is none yet, or no photo in it could be used.
        """
        shards = workspace.config.corpus.shards
        corpus = cls(
            workspace.corpus,
            ShardStore(shard_address(shards, workspace.root)) if shards else None,
        )
        if corpus.rows.empty:
            raise UserError(
                corpus.place,
                f"none of {len(corpus.all_rows)} photos has status ok",
                "see the reason column, then run `sfe preprocess` again",
            )
        return corpus

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, ordered by key.

        Raises:
            UserError: no such split, or it is empty; the known ones are listed.
        """
        chosen = self.rows[self.rows["split"] == name].reset_index(drop=True)
        if chosen.empty:
            known = self.rows["split"].value_counts()
            listed = ", ".join(f"{split} ({n})" for split, n in known.items() if split) or "none"
            raise UserError("--split", f"{name!r} holds no picture", f"the corpus has: {listed}")
        return chosen

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 over what is learnt from: keys, pictures, captions, labels and splits."""
        columns = ["key", "split", "emotion", "caption", "inputs_sha256"]
        columns += [f"{name}_sha256" for name in MAP_FOLDERS]
        numbers = self.rows[["valence", "arousal"]].astype(float).to_numpy().tolist()
        texts = self.rows[columns].astype(str).to_numpy().tolist()
        return sha256_json([texts, [[repr(value) for value in row] for row in numbers]])

    def row(self, key: str) -> pd.Series:
        """One row by key.

        Raises:
            UserError: no such key with status ok.
        """
        if key not in self._place:
            raise UserError(self.place, f"no picture {key!r} of status ok")
        return self.rows.iloc[self._place[key]]

    def picture(self, folder: str, key: str) -> Image.Image:
        """A picture as stored, decoded; its mode depends on the folder.

        Raises:
            RunError: it is missing or torn.
        """
        try:
            picture = Image.open(BytesIO(self.store.read(folder, key)))
            picture.load()
        except (OSError, SyntaxError) as error:  # PIL raises either for torn files
            place = self.store.place(folder, key)
            raise RunError(place, f"cannot be read ({error})", MEND) from error
        return picture

    def image(self, key: str, size: int) -> Tensor:
        """The face crop, [3, size, size] float32 RGB in [-1, 1], antialiased when shrunk."""
        return self._rgb(INPUTS, key, size) * 2.0 - 1.0

    def maps(
        self, key: str, size: int, names: Sequence[str] = tuple(MAP_FOLDERS)
    ) -> dict[str, Tensor]:
        """Guidance maps by name, each [3, size, size] float32 in [0, 1].

        The depth map is its stored 16-bit value over 65535, the same in all three channels.
        """
        unknown = [name for name in names if name not in MAP_FOLDERS]
        if unknown:
            raise UserError("maps", f"{unknown[0]!r} is no map", f"known: {', '.join(MAP_FOLDERS)}")
        return {
            name: self._depth(key, size)
            if name == "depth"
            else self._rgb(MAP_FOLDERS[name], key, size)
            for name in names
        }

    def points(self, key: str) -> Tensor:
        """The 68 landmarks [68, 2] float32 as (x, y) fractions of the crop, 0 left/top."""
        row = self.row(key)
        points = np.asarray(row["landmarks"], np.float64).reshape(68, 2)
        corner = np.array([row["crop_x"], row["crop_y"]], float) - float(row["crop_side"]) / 2
        return torch.from_numpy((points - corner) / float(row["crop_side"])).float()

    def _rgb(self, folder: str, key: str, size: int) -> Tensor:
        picture = self.picture(folder, key).convert("RGB")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255.0

    def _depth(self, key: str, size: int) -> Tensor:
        stored = np.array(self.picture(MAP_FOLDERS["depth"], key), np.float32) / DEPTH_MAXIMUM
        picture = Image.fromarray(stored)
        if picture.size != (size, size):
            # Bilinear with PIL's antialiasing stays inside [0, 1]; sharper kernels overshoot.
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(picture)).clamp(0, 1).expand(3, size, size).contiguous()
