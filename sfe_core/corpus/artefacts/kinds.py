"""The kinds of files that a face of the corpus has: one record each, and all that is known of it.

A new kind is a new record here: planning, workers, hashes, the manifest's columns, tidying and
verifying go by the records alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.sections import Meaning, fields_that
from sfe_core.corpus.artefacts.given_maps import GIVEN_CODES, GIVEN_MESH
from sfe_core.corpus.layout import CANVAS, INPUTS, MAP_FOLDERS, MEAN_SHAPE

if TYPE_CHECKING:
    from sfe_core.corpus.artefacts.face_scene import FaceScene

_COARSE = "geometry_coarse"
_FULL = "full_canvas"
_FACE, _CROP, _HEAD, _DEPTH = Meaning.FACE, Meaning.CROP, Meaning.HEAD, Meaning.DEPTH
_BUFFERS = (_HEAD, Meaning.NORMALS)
# All that decides where a face is, what its head is like and how its buffers are drawn.
SHAPING_BUFFERS = (_FACE, _CROP, *_BUFFERS)


@dataclass(frozen=True)
class ArtefactKind:
    """One kind of file, at `<folder>/<key><suffix>` below the corpus.

    Attributes:
        name: of the kind.
        content: makes it, as `write_artefact` takes it for the suffix.
        folder: below the corpus.
        shaped_by: which settings shape it, besides those that shape the faces found.
        wanted: whether a configuration asks for it.
        suffix: says the format.
        version: raised when the same photo and settings would give other bytes than before.
        shows_given: what may have come with the photo and takes the place of ours in it, a kind of
            `given_maps`; "" for nothing.
        required: whether every manifest has its column, those of older versions too.
        of_album: whether it shows the mean shape of the person's album, and so is drawn when all
            photos are taken in; see `preprocessing.mean_shapes`.
    """

    name: str
    content: Callable[[FaceScene], Any]
    folder: str
    shaped_by: tuple[Meaning, ...]
    wanted: Callable[[PreprocessConfig], bool] = lambda config: True
    suffix: str = ".png"
    version: int = 1
    shows_given: str = ""
    required: bool = False
    of_album: bool = False

    @property
    def column(self) -> str:
        """The manifest's column of its SHA-256."""
        return f"{self.name}_sha256"

    @property
    def needs_depth(self) -> bool:
        """Whether it cannot be made without the depth."""
        return Meaning.DEPTH in self.shaped_by

    def path(self, corpus: Path, key: str) -> Path:
        """Its file. The key may hold dots, so the suffix is appended."""
        return corpus / self.folder / f"{key}{self.suffix}"

    def settings(self, config: PreprocessConfig) -> dict[str, object]:
        """Everything in the configuration that shapes this artefact."""
        return shaping_settings(config, _FACE, *self.shaped_by)


def shaping_settings(config: PreprocessConfig, *meanings: Meaning) -> dict[str, object]:
    """The fields of a configuration that shape what the meanings say, by name."""
    names = (name for meaning in meanings for name in fields_that(type(config), meaning))
    return {name: getattr(config, name) for name in names}


def has_detail(config: PreprocessConfig) -> bool:
    """Whether the reconstruction knows a finer surface than its mesh."""
    return config.reconstruction in ("emoca", "deca")


def _is_full(config: PreprocessConfig) -> bool:
    return config.full_canvas


_full_buffer = partial(
    ArtefactKind,
    shaped_by=_BUFFERS,
    wanted=lambda config: config.full_canvas and config.save_buffers,
)
# What DiffusionRig conditions on (Ding et al., CVPR 2023).
_buffer = partial(
    ArtefactKind, shaped_by=(_CROP, *_BUFFERS), wanted=lambda config: config.save_buffers
)
_mean_buffer = partial(
    ArtefactKind,
    shaped_by=(_CROP, *_BUFFERS),
    wanted=lambda config: config.save_buffers and config.mean_shape,
    version=2,
    of_album=True,
)

# Names of the kinds that make up a face's buffers; those of the mean shape have `mean_` in front.
BUFFERS = ("lambertian", "normals", "albedo")

KINDS: tuple[ArtefactKind, ...] = (
    ArtefactKind("inputs", lambda face: face.crop, INPUTS, (_CROP,), required=True),
    ArtefactKind(
        "landmarks",
        lambda face: face.drawn_landmarks,
        MAP_FOLDERS["landmarks"],
        (_CROP,),
        required=True,
    ),
    ArtefactKind(
        "depth",
        lambda face: face.depth_maps.crop,
        MAP_FOLDERS["depth"],
        (_CROP, _DEPTH, _HEAD),
        required=True,
    ),
    ArtefactKind(
        "mesh",
        lambda face: face.mesh,
        MAP_FOLDERS["mesh"],
        (_CROP, _HEAD),
        shows_given=GIVEN_MESH,
        required=True,
    ),
    ArtefactKind(
        "canvas",
        lambda face: face.canvas,
        CANVAS,
        (_CROP, _HEAD),
        lambda config: config.canvas,
        shows_given=GIVEN_MESH,
        required=True,
    ),
    ArtefactKind(_COARSE, lambda face: face.coarse, _COARSE, (_CROP, _HEAD), has_detail),
    ArtefactKind(
        "codes",
        lambda face: face.codes,
        "codes",
        (_HEAD,),
        suffix=".npz",
        shows_given=GIVEN_CODES,
    ),
    ArtefactKind(
        "full_landmarks",
        lambda face: face.full_landmarks,
        f"{_FULL}/{MAP_FOLDERS['landmarks']}",
        (_CROP,),
        _is_full,
    ),
    ArtefactKind(
        "full_depth",
        lambda face: face.full_depth,
        f"{_FULL}/{MAP_FOLDERS['depth']}",
        (_CROP, _DEPTH, _HEAD),
        _is_full,
    ),
    ArtefactKind(
        "full_mesh",
        lambda face: face.full_mesh,
        f"{_FULL}/{MAP_FOLDERS['mesh']}",
        (_HEAD,),
        _is_full,
        shows_given=GIVEN_MESH,
    ),
    ArtefactKind(
        f"full_{_COARSE}",
        lambda face: face.full_coarse,
        f"{_FULL}/{_COARSE}",
        (_HEAD,),
        lambda config: config.full_canvas and has_detail(config),
    ),
    ArtefactKind(
        "overlay",
        lambda face: face.overlay,
        "overlay",
        (_CROP, _DEPTH, _HEAD),
        lambda config: config.overlay,
        shows_given=GIVEN_MESH,
    ),
    ArtefactKind(
        "meshes",
        lambda face: (face.head.points, face.head.faces),
        "meshes",
        (_HEAD,),
        lambda config: config.save_meshes,
        ".obj",
    ),
    ArtefactKind(
        "detailed_meshes",
        lambda face: face.detailed_mesh,
        "detailed_meshes",
        (_HEAD,),
        lambda config: config.save_detailed_meshes and has_detail(config),
        ".obj",
    ),
    _buffer("normals", lambda face: face.normals, "normals", shows_given="normals"),
    _buffer("albedo", lambda face: face.albedo, "albedo", shows_given="albedo"),
    _buffer("lambertian", lambda face: face.lambertian, "lambertian", shows_given="lambertian"),
    _full_buffer(
        "full_normals", lambda face: face.full_normals, f"{_FULL}/normals", shows_given="normals"
    ),
    _full_buffer(
        "full_albedo", lambda face: face.full_albedo, f"{_FULL}/albedo", shows_given="albedo"
    ),
    _full_buffer(
        "full_lambertian",
        lambda face: face.full_lambertian,
        f"{_FULL}/lambertian",
        shows_given="lambertian",
    ),
    ArtefactKind(
        "surface",
        lambda face: face.surface_arrays,
        "surface",
        (_HEAD,),
        lambda config: config.save_buffers,
        ".npz",
    ),
    _mean_buffer(
        "mean_normals", lambda face: face.normals, f"{MEAN_SHAPE}/normals", shows_given="normals"
    ),
    _mean_buffer(
        "mean_albedo", lambda face: face.albedo, f"{MEAN_SHAPE}/albedo", shows_given="albedo"
    ),
    _mean_buffer(
        "mean_lambertian",
        lambda face: face.lambertian,
        f"{MEAN_SHAPE}/lambertian",
        shows_given="lambertian",
    ),
)
ARTEFACTS: dict[str, ArtefactKind] = {kind.name: kind for kind in KINDS}


def artefacts_of(config: PreprocessConfig) -> tuple[ArtefactKind, ...]:
    """What an ok row must have under this configuration, made of its photo alone."""
    return tuple(kind for kind in ARTEFACTS.values() if kind.wanted(config) and not kind.of_album)


def album_artefacts_of(config: PreprocessConfig) -> tuple[ArtefactKind, ...]:
    """What an ok row must have under this configuration, made of its whole album."""
    return tuple(kind for kind in ARTEFACTS.values() if kind.wanted(config) and kind.of_album)
