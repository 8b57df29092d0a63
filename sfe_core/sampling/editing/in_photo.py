"""Edited crops laid back into their photos, each a PNG of the photo's own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, decode_job
from sfe_core.errors import RunError
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.laying_back import EDGE, lay_back
from sfe_core.sampling.editing.plan import EditShot, Source
from sfe_core.sampling.pngs import read_record, save_png


def stands_in_photo(folder: Path, shot: EditShot) -> bool:
    """Whether a picture lies in its photo below `folder`, as it is asked for."""
    return read_record(folder / shot.in_photo) == _record(shot)


class PhotoLayer:
    """Lays pictures back into their photos.

    Of the photos only the last is held: pictures of one photo should come after each other.

    Args:
        folder: of the pictures.
        config: of preprocess; says how large photos may be.
    """

    def __init__(self, folder: Path, config: PreprocessConfig) -> None:
        self._folder, self._config = folder, config
        self._held: tuple[str, Pixels] | None = None

    def lay(
        self, shot: EditShot, picture: Pixels, square: CropTransform, kept: Floats | None
    ) -> None:
        """Write a picture in its photo.

        Args:
            shot: what it is.
            picture: [S, S, 3], as its own file has it.
            square: where the crop is in the photo.
            kept: [S, S] share of the photo that is kept; None: none of it.

        Raises:
            RunError: the photo is no longer what it was, or the disk is full.
        """
        laid = lay_back(self._photo(shot.source), picture, square, kept)
        save_png(Image.fromarray(laid), self._folder / shot.in_photo, _record(shot))

    def _photo(self, source: Source) -> Pixels:
        if self._held is not None and self._held[0] == source.key:
            return self._held[1]
        self._held = None  # before the next is read: two large photos may not be there at once
        photo = decode_job(PhotoJob(source.photo, source.photo.name, source.key, ""), self._config)
        if photo.pixels is None or photo.sha256 != source.sha256:
            why = "changed" if photo.pixels is not None else f"is {photo.status}: {photo.reason}"
            raise RunError(source.photo, f"{why} while it was edited", "edit it again")
        self._held = (source.key, photo.pixels)
        return photo.pixels


def _record(shot: EditShot) -> dict[str, Any]:
    return {"in_photo": shot.record, "edge": EDGE}
