"""A face's crop and maps as small pictures for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from sfe_core.corpus.layout import INPUTS, MAP_FOLDERS
from sfe_core.corpus.manifest import crop_of, landmarks_of
from sfe_core.corpus.picture_store import PictureStore
from sfe_core.faces.depth import DEPTH_MAXIMUM
from sfe_core.faces.landmark_drawing import draw_landmarks

TILE_NAMES = ("crop", "landmarks", "depth", "mesh")


def face_tiles(store: PictureStore, row: Mapping[str, Any], side: int) -> list[Image.Image]:
    """Crop, landmarks over the crop, depth (larger is nearer is lighter) and mesh, all RGB.

    Args:
        store: where the pictures are read from.
        row: a manifest row with pictures.
        side: of every tile, pixels.

    Raises:
        RunError: a picture is not there.
        OSError: a picture is torn.
    """
    cut = _square(_open(store, INPUTS, row["key"]), side)
    points = landmarks_of(row)
    drawn = draw_landmarks(crop_of(row).to_crop(points, side), side, np.asarray(cut))
    stored = np.asarray(_open(store, MAP_FOLDERS["depth"], row["key"]), np.float32)
    grey = Image.fromarray((stored * (255.0 / DEPTH_MAXIMUM)).round().astype(np.uint8))
    mesh = _open(store, MAP_FOLDERS["mesh"], row["key"])
    return [cut, Image.fromarray(drawn), _square(grey, side), _square(mesh, side)]


def _open(store: PictureStore, folder: str, key: str) -> Image.Image:
    return Image.open(BytesIO(store.read(folder, key)))


def _square(picture: Image.Image, side: int) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
