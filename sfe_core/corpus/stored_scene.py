"""A face of the corpus as a scene again, from what is stored of it: no photo, no network needed.

The crop takes the photo's place, so that the face can be drawn anew with other codes, exactly where
it lies in the crop.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.edited_scene import wrapped_degrees
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, has_detail
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.manifest import crop_of, landmarks_of
from sfe_core.corpus.picture_store import MEND, FolderStore
from sfe_core.errors import RunError
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.reconstruction import HeadMaker


def stored_codes(corpus: Path, key: str) -> dict[str, Floats]:
    """The codes of a face by name, with the camera's.

    Raises:
        RunError: they are missing or torn.
    """
    return read_arrays(ARTEFACTS["codes"].path(corpus, key))


def stored_scene(
    corpus: Path, row: Mapping[str, Any], maker: HeadMaker, config: PreprocessConfig
) -> FaceScene:
    """The face of a row as its crop shows it.

    Args:
        corpus: its folder.
        row: of the manifest, with pictures, codes and surface.
        maker: of the reconstruction that found the head.
        config: of preprocess; says with how much detail the head is drawn.

    Raises:
        RunError: what is stored of it is missing or torn.
    """
    key = row["key"]
    crop = stored_picture(corpus, INPUTS, key)
    square, size = crop_of(row), crop.shape[0]
    surface = read_arrays(ARTEFACTS["surface"].path(corpus, key))
    head = maker.restore(stored_codes(corpus, key), surface)
    yaw, pitch, roll = head.angles
    head = replace(
        head,
        camera=head.camera_in(square, size),
        landmarks=square.to_crop(head.landmarks, size),
        angles=(yaw, pitch, wrapped_degrees(roll - square.angle)),
    )
    return FaceScene(
        photo=crop,
        landmarks=square.to_crop(landmarks_of(row), size),
        transform=CropTransform(size / 2, size / 2, size),
        size=size,
        head=head,
        detailed=has_detail(config),
        coarse_buffers=config.buffer_normals == "coarse",
    )


def stored_picture(corpus: Path, folder: str, key: str) -> Pixels:
    """A face's picture in a folder of the corpus, RGB [S, S, 3].

    Raises:
        RunError: it is missing or torn.
    """
    store = FolderStore(corpus)
    try:
        with Image.open(BytesIO(store.read(folder, key))) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:  # PIL raises either for torn files
        raise RunError(store.place(folder, key), f"cannot be read ({error})", MEND) from error


def read_arrays(path: Path) -> dict[str, Floats]:
    """The arrays of an .npz by name.

    Raises:
        RunError: it is missing or torn.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(path, f"cannot be read ({error})", MEND) from error
