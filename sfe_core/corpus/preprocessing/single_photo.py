"""One photo's face outside of any corpus, by the same steps as preprocess."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, BUFFERS
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.buffers import read_buffers
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import OK, to_frame, write_manifest
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, decode_job
from sfe_core.corpus.preprocessing.scenes import (
    SkippedPhotoError,
    faces_in_photo,
    photo_detector,
)
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.faces.backends import load_depth, load_reconstructor
from sfe_core.faces.reconstruction import Reconstructor

_KEY = "face"


class PhotoScenes:
    """Finds, fits and crops the faces of photos; models are loaded once, nothing is written.

    Args:
        config: says how. Where a photo shows several faces, its `face_choice` decides (all = the
            largest).

    Raises:
        UserError: the detector is not there.
    """

    def __init__(self, config: PreprocessConfig) -> None:
        choice = "largest" if config.face_choice == "all" else config.face_choice
        self._config = config.model_copy(update={"face_choice": choice})
        self._detector = photo_detector(config)

    def scene(self, path: Path) -> FaceScene:
        """The face of a photo.

        Raises:
            UserError: the photo cannot be read, or shows no face that is large enough; or the
                reconstruction's models are not there.
        """
        photo = decode_job(PhotoJob(path, path.name, _KEY, ""), self._config)
        try:
            ((_, scene),) = faces_in_photo(
                photo, self._config, self._detector, lambda: self._reconstructor
            )
        except SkippedPhotoError as skipped:
            remedy = "give another photo"
            if photo.pixels is not None:
                remedy = "give a photo with a face, or lower preprocess.min_face_px"
            raise UserError(path, f"{skipped.status}: {skipped.reason}", remedy) from skipped
        return scene

    @cached_property
    def _reconstructor(self) -> Reconstructor:
        config = self._config
        return load_reconstructor(
            config.reconstruction, model=config.reconstruction_model, flame=config.flame
        )


def scene_of_photo(path: Path, config: PreprocessConfig) -> FaceScene:
    """Find, fit and crop the face of a photo; nothing is written.

    Where there are several, `preprocess.face_choice` decides (all = the largest).

    Raises:
        UserError: the photo cannot be read, or shows no face that is large enough.
    """
    return PhotoScenes(config).scene(path)


@contextmanager
def _as_corpus(scene: FaceScene, names: Iterable[str]) -> Iterator[Corpus]:
    """A corpus of nothing but this face, with some kinds of artefacts, while it is needed."""
    with TemporaryDirectory() as folder:
        corpus = Path(folder)
        row = {"key": _KEY, "photo": _KEY, "status": OK}
        for name in names:
            kind = ARTEFACTS[name]
            row[kind.column] = write_artefact(kind.path(corpus, _KEY), kind.content(scene))
        write_manifest(corpus / MANIFEST, to_frame([row]))
        yield Corpus(corpus)


def maps_of_scene(
    scene: FaceScene, config: PreprocessConfig, size: int, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """The guidance maps of a face, exactly as a corpus would give them.

    They take the way over files that a corpus takes, so that not a rounding differs.

    Args:
        size: side of the maps, pixels.
        names: of the maps wanted.

    Returns:
        name to [3, size, size] float32 in [0, 1].
    """
    if "depth" in names and scene.depth is None:
        depth = load_depth(config.depth, config.depth_input)
        (scene.depth,) = depth.depth_many([scene.depth_view])
        scene.depth_of_mesh = depth.of_mesh
    with _as_corpus(scene, names) as corpus:
        return corpus.maps(_KEY, size, names)


def buffers_of_scene(scene: FaceScene, size: int) -> Tensor:
    """The buffers of a face, [9, size, size], exactly as `read_buffers` gives a corpus's.

    Raises:
        UserError: its reconstruction has no texture model or no light.
    """
    with _as_corpus(scene, BUFFERS) as corpus:
        return read_buffers(corpus, _KEY, size)


def picture_of_scene(scene: FaceScene, size: int) -> Tensor:
    """The face's crop [3, size, size] in [-1, 1], exactly as a corpus gives it."""
    with _as_corpus(scene, ["inputs"]) as corpus:
        return corpus.image(_KEY, size)
