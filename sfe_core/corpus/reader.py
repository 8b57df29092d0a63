"""Reading a corpus: rows, splits, pictures and maps as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS, MANIFEST, MAP_FOLDERS
from sfe_core.corpus.manifest import OK, crop_of, landmarks_of, read_manifest
from sfe_core.corpus.people.albums import choose_album, person_of
from sfe_core.corpus.picture_store import MEND, FolderStore, PictureStore
from sfe_core.corpus.views import WHOLE, Frame
from sfe_core.corpus.webdataset import ShardStore, shard_address
from sfe_core.errors import RunError, UserError
from sfe_core.faces.depth import DEPTH_MAXIMUM
from sfe_core.faces.landmark_drawing import MIRROR, draw_landmarks
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
        if workspace.config.data.person is not None:
            corpus.keep_person(workspace.config.data.person)
        return corpus

    def keep_person(self, person: str) -> None:
        """Leave only the usable rows of one person's album, see `corpus.people.albums`.

        Raises:
            UserError: there is none of that name.
        """
        choose_album(self.rows["key"], person, "data.person")
        own = self.rows["key"].map(person_of) == person
        self.rows = self.rows[own].reset_index(drop=True)
        self._place = {key: place for place, key in enumerate(self.rows["key"])}

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

    def image(self, key: str, size: int, frame: Frame = WHOLE) -> Tensor:
        """The face crop, [3, size, size] float32 RGB in [-1, 1], antialiased when shrunk."""
        return self._rgb(self.picture(INPUTS, key), size, frame) * 2.0 - 1.0

    def maps(
        self,
        key: str,
        size: int,
        names: Sequence[str] = tuple(MAP_FOLDERS),
        frame: Frame = WHOLE,
    ) -> dict[str, Tensor]:
        """Guidance maps by name, each [3, size, size] float32 in [0, 1].

        The depth map is its stored 16-bit value over 65535, the same in all three channels. In a
        mirrored frame the landmarks are those of the mirrored face: its left eye has the colour of
        a left eye.
        """
        unknown = [name for name in names if name not in MAP_FOLDERS]
        if unknown:
            raise UserError(
                "maps", f"{unknown[0]!r} is not a map", f"known: {', '.join(MAP_FOLDERS)}"
            )
        return {
            name: self._depth(key, size, frame)
            if name == "depth"
            else self._rgb(self._map(name, key, frame.mirrored), size, frame)
            for name in names
        }

    def points(self, key: str) -> Tensor:
        """The 68 landmarks [68, 2] float32 as (x, y) fractions of the crop, 0 left/top."""
        row = self.row(key)
        points = landmarks_of(row)
        return torch.from_numpy(crop_of(row).to_crop(points, 1)).float()

    def landmarks_map(self, key: str, size: int, mirrored: bool = False) -> Image.Image:
        """The map of landmarks drawn anew at `size`, as preprocess draws it; needs no picture.

        `mirrored` gives that of the mirrored photo: every mark where its mirror image was.
        """
        row = self.row(key)
        points = crop_of(row).to_crop(landmarks_of(row), size)
        if mirrored:
            points = points[MIRROR] * (-1, 1) + (size, 0)
        return Image.fromarray(draw_landmarks(points, size))

    def _map(self, name: str, key: str, mirrored: bool) -> Image.Image:
        """A map as stored; of a mirrored face's landmarks, its own turned back, to be cut alike."""
        stored = self.picture(MAP_FOLDERS[name], key)
        if name == "landmarks" and mirrored:
            return ImageOps.mirror(self.landmarks_map(key, stored.width, mirrored=True))
        return stored

    def _rgb(self, picture: Image.Image, size: int, frame: Frame) -> Tensor:
        seen = _look(picture.convert("RGB"), size, frame, Image.Resampling.LANCZOS)
        return torch.from_numpy(seen).permute(2, 0, 1).float() / 255.0

    def _depth(self, key: str, size: int, frame: Frame) -> Tensor:
        stored = np.array(self.picture(MAP_FOLDERS["depth"], key), np.float32) / DEPTH_MAXIMUM
        # Bilinear with PIL's antialiasing stays inside [0, 1]; sharper kernels overshoot.
        seen = _look(Image.fromarray(stored), size, frame, Image.Resampling.BILINEAR)
        return torch.from_numpy(seen).clamp(0, 1).expand(3, size, size).contiguous()


def _look(picture: Image.Image, size: int, frame: Frame, kernel: Image.Resampling) -> NDArray[Any]:
    """A frame of a picture, resampled to `size`, as an array [size, size, ...]."""
    if picture.size != (size, size) or frame.side < 1:
        left, top = frame.left * picture.width, frame.top * picture.height
        box = (left, top, left + frame.side * picture.width, top + frame.side * picture.height)
        picture = picture.resize((size, size), kernel, box=box)
    seen = np.array(picture)
    return np.ascontiguousarray(seen[:, ::-1]) if frame.mirrored else seen
