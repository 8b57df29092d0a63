"""A split of the corpus as a torch Dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypedDict

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sfe_core.config.training_sections import DataConfig
from sfe_core.corpus.choice import choose_faces
from sfe_core.corpus.layout import MAP_FOLDERS
from sfe_core.corpus.photo_area import area_in_frame, areas_of
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import WHOLE, Frame, Variation, View
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError

NO_EMOTION = -1


class FaceItem(TypedDict):
    """One face: image [3, R, R] in [-1, 1], maps [3, R, R] in [0, 1], labels.

    The area [2, 3] says which part of the image shows the photo, see `photo_area`.
    """

    key: str
    image: Tensor
    maps: dict[str, Tensor]
    caption: str
    emotion: int  # place in EMOTIONS, -1 where unknown
    valence: float  # in [-1, 1], nan where unknown
    arousal: float
    area: Tensor


class FaceBatch(TypedDict):
    """A batch: image [B, 3, R, R], maps name → [B, 3, R, R], area [B, 2, 3], the rest [B]."""

    key: list[str]
    image: Tensor
    maps: dict[str, Tensor]
    caption: list[str]
    emotion: Tensor  # int64
    valence: Tensor
    arousal: Tensor
    area: Tensor


class FaceDataset(Dataset[FaceItem]):
    """The faces of one split, in the order of their keys.

    Args:
        corpus: an open corpus.
        split: name of the split.
        maps: names of the guidance maps to read; none read where empty.
        resolution: side R of pictures and maps, pixels.
        data: which faces of the split, and how they vary; None: all of them, as they are.
        limit: no more than this many, the first ones; None: all.
        wording: makes of a caption in the corpus what is learnt of it; None: stays.

    An item is asked for by its place, or by a `View` of it.

    Attributes:
        variation: the views that a face has.
        keys: the keys, in order.
        captions: their captions.
        photo_hashes: SHA-256 of each face crop's file, as the manifest has it.
        emotions: [N] int64, the place in EMOTIONS of each, -1 where unknown.
        valence, arousal: [N] float64 in [-1, 1], nan where unknown.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        maps: Sequence[str] = tuple(MAP_FOLDERS),
        resolution: int = 512,
        data: DataConfig | None = None,
        limit: int | None = None,
        wording: Callable[[str], str] | None = None,
    ) -> None:
        self.corpus, self.maps, self.resolution = corpus, tuple(maps), resolution
        rows = corpus.split(split)
        if data is not None:
            rows = choose_faces(rows, data).rows
            if data.flip > 0 and "landmarks" in self.maps:
                require_mirrorable(corpus, rows)
        rows = rows.head(len(rows) if limit is None else limit)
        self.variation = Variation() if data is None else Variation.of(data)
        self.keys: list[str] = rows["key"].tolist()
        captions = [caption or "" for caption in rows["caption"]]
        self.captions: list[str] = captions if wording is None else [*map(wording, captions)]
        self.photo_hashes: list[str] = rows["inputs_sha256"].tolist()
        self.valence = torch.from_numpy(rows["valence"].astype(float).to_numpy(copy=True))
        self.arousal = torch.from_numpy(rows["arousal"].astype(float).to_numpy(copy=True))
        self.emotions = torch.tensor([emotion_index(name) for name in rows["emotion"]])
        self._areas = areas_of(rows)
        self._sides: list[float] = rows["crop_side"].astype(float).fillna(resolution).tolist()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, view: int | View) -> FaceItem:
        index = view.place if isinstance(view, View) else view
        return FaceItem(
            key=self.keys[index],
            image=self.image(view),
            maps=self.read_maps(view),
            caption=self.captions[index],
            emotion=int(self.emotions[index]),
            valence=float(self.valence[index]),
            arousal=float(self.arousal[index]),
            area=self.area(view),
        )

    def image(self, view: int | View) -> Tensor:
        """The photo alone, [3, R, R] in [-1, 1]."""
        key, frame = self._look(view)
        return self.corpus.image(key, self.resolution, frame)

    def read_maps(self, view: int | View) -> dict[str, Tensor]:
        """The maps alone, name to [3, R, R] in [0, 1]."""
        key, frame = self._look(view)
        return self.corpus.maps(key, self.resolution, self.maps, frame)

    def area(self, view: int | View) -> Tensor:
        """Which part of the photo's picture is not a repeated border, [2, 3], see `photo_area`."""
        _, frame = self._look(view)
        whole = self._areas[view.place if isinstance(view, View) else view]
        return torch.from_numpy(area_in_frame(whole, frame)).float()

    def points(self, view: int | View) -> Tensor:
        """The 68 landmarks [68, 2] float32 as (x, y) fractions of the view; in no mirrored order.

        A mirrored view's are where the face shows them, each under its number before mirroring.
        """
        key, frame = self._look(view)
        start = torch.tensor([frame.left, frame.top])
        points = (self.corpus.points(key) - start) / frame.side
        if frame.mirrored:
            points[:, 0] = 1 - points[:, 0]
        return points

    def size_and_crop(self, view: int | View) -> Tensor:
        """What SDXL is told of a picture (https://arxiv.org/abs/2307.01952, sec. 2.2).

        Height and width of the face's crop in its photo, before it was resized (`resolution` where
        the manifest does not say), and top and left of what the view cuts off it, in the scale of
        the view as their algorithm 1 has it: [4] float32, whole pixels.
        """
        _, frame = self._look(view)
        side = self._sides[view.place if isinstance(view, View) else view]
        # Mirrored as a whole, the picture would be cut at its other side.
        left = 1 - frame.left - frame.side if frame.mirrored else frame.left
        resized = self.resolution / frame.side
        return torch.tensor([side, side, frame.top * resized, left * resized]).round()

    def _look(self, view: int | View) -> tuple[str, Frame]:
        if isinstance(view, View):
            key = self.keys[view.place]
            return key, self.variation.frame(key, view)
        return self.keys[view], WHOLE


def require_mirrorable(corpus: Corpus, rows: pd.DataFrame) -> None:
    """Refuse to mirror faces whose map of landmarks cannot be drawn anew.

    Raises:
        UserError: landmarks are missing in the manifest, or the first face's map was drawn in
            another way, so that a mirrored one would look like no other.
    """
    remedy = "run `sfe preprocess` again, or set it to 0"
    without = rows.loc[rows["landmarks"].isna(), "key"]
    if len(without):
        raise UserError(
            "data.flip",
            f"{len(without)} faces have no landmarks in the manifest ({without.iloc[0]})",
            remedy,
        )
    key = rows["key"].iloc[0]
    stored = corpus.picture(MAP_FOLDERS["landmarks"], key).convert("RGB")
    if corpus.landmarks_map(key, stored.width).tobytes() != stored.tobytes():
        raise UserError(
            "data.flip", f"the map of landmarks of {key} is not as this version draws it", remedy
        )


def emotion_index(name: str | None) -> int:
    """The place of an emotion in EMOTIONS, -1 for None or a missing value."""
    if name is None or (isinstance(name, float) and math.isnan(name)):
        return NO_EMOTION
    return EMOTIONS.index(name)


def collate(items: Sequence[FaceItem]) -> FaceBatch:
    """Stack items into a batch."""
    return FaceBatch(
        key=[item["key"] for item in items],
        image=torch.stack([item["image"] for item in items]),
        maps={
            name: torch.stack([item["maps"][name] for item in items]) for name in items[0]["maps"]
        },
        caption=[item["caption"] for item in items],
        emotion=torch.tensor([item["emotion"] for item in items], dtype=torch.int64),
        valence=torch.tensor([item["valence"] for item in items], dtype=torch.float32),
        arousal=torch.tensor([item["arousal"] for item in items], dtype=torch.float32),
        area=torch.stack([item["area"] for item in items]),
    )
