"""Guidance maps of a corpus's photos whose own expression is changed; pose and crop stay."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from torch import Tensor

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.preprocessing.single_photo import maps_of_scene
from sfe_core.corpus.reader import Corpus
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.crop import CropTransform
from sfe_core.sampling.asked_face import with_change

_SCENES_KEPT = 16  # the pictures of one photo mostly come one after another


class ChangedPhotos:
    """Draws the maps of photos as they would be with some units changed.

    The parametric head is fitted to each crop by the landmarks that the corpus has of it, so that
    neither the photo nor a detector is needed.
    """

    def __init__(self, corpus: Corpus, config: PreprocessConfig) -> None:
        self.corpus, self.config = corpus, config
        self._scene = lru_cache(_SCENES_KEPT)(self._fitted)

    def maps(
        self, key: str, change: ExpressionChange, size: int, names: tuple[str, ...]
    ) -> dict[str, Tensor]:
        """The maps of a photo's face, changed.

        Args:
            key: of the photo.
            size: side of the maps, pixels.
            names: those wanted, of `shared_maps`.

        Returns:
            name to [3, size, size] float32 in [0, 1], in the frame of the photo's crop.

        Raises:
            RunError: the crop is missing or torn.
        """
        return maps_of_scene(with_change(self._scene(key), change), self.config, size, names)

    def _fitted(self, key: str) -> FaceScene:
        crop = np.asarray(self.corpus.picture(INPUTS, key).convert("RGB"))
        side = crop.shape[0]
        points = self.corpus.points(key).double().numpy() * side
        box = np.array([[*points.min(axis=0), *points.max(axis=0)]])
        (head,) = AnnyReconstructor().reconstruct([crop], points[None], box)
        whole = CropTransform(side / 2, side / 2, side)
        return FaceScene(crop, points, whole, side, head, detailed=False)
