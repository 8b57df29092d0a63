"""The kinds of files that a face of the corpus has, and which settings shape each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.layout import CANVAS, INPUTS, MAP_FOLDERS

FULL_CANVAS = "full_canvas"
OVERLAY = "overlay"
COARSE = "geometry_coarse"
# What DiffusionRig conditions on (Ding et al., CVPR 2023).
BUFFERS = ("normals", "albedo", "lambertian")

# What decides which faces a photo has and where their landmarks are.
FACE_FIELDS = ("detector", "box_detector", "face_choice", "min_face_px", "max_megapixels")
_CROP = ("crop_rule", "crop_scale", "crop_size", "tight_photos")
_HEAD = ("reconstruction", "reconstruction_model", "flame")
_DEPTH = ("depth", "depth_input", *_HEAD)


@dataclass(frozen=True)
class ArtefactKind:
    """One kind of file, at `<folder>/<key><suffix>` below the corpus.

    `version` is raised when the same photo and settings would give other bytes than before.
    """

    name: str
    folder: str
    fields: tuple[str, ...]  # of PreprocessConfig, besides those that shape the faces
    suffix: str = ".png"
    version: int = 1
    wanted: Callable[[PreprocessConfig], bool] = lambda config: True

    @property
    def column(self) -> str:
        """The manifest's column of its SHA-256."""
        return f"{self.name}_sha256"

    def path(self, corpus: Path, key: str) -> Path:
        """Its file. The key may hold dots, so the suffix is appended."""
        return corpus / self.folder / f"{key}{self.suffix}"

    def settings(self, config: PreprocessConfig) -> dict[str, object]:
        """Everything in the configuration that shapes this artefact."""
        return face_settings(config) | {name: getattr(config, name) for name in self.fields}


def face_settings(config: PreprocessConfig) -> dict[str, object]:
    """Everything in the configuration that shapes the faces found and chosen."""
    return {name: getattr(config, name) for name in FACE_FIELDS}


def has_detail(config: PreprocessConfig) -> bool:
    """Whether the reconstruction knows a finer surface than its mesh."""
    return config.reconstruction in ("emoca", "deca")


def _full(config: PreprocessConfig) -> bool:
    return config.full_canvas


def _kinds() -> tuple[ArtefactKind, ...]:
    depth, mesh = MAP_FOLDERS["depth"], MAP_FOLDERS["mesh"]
    landmarks = MAP_FOLDERS["landmarks"]
    buffers = [
        ArtefactKind(name, name, (*_CROP, *_HEAD), wanted=lambda config: config.save_buffers)
        for name in BUFFERS
    ]
    full_buffers = [
        ArtefactKind(
            f"full_{name}",
            f"{FULL_CANVAS}/{name}",
            _HEAD,
            wanted=lambda config: config.full_canvas and config.save_buffers,
        )
        for name in BUFFERS
    ]
    return (
        ArtefactKind("inputs", INPUTS, _CROP),
        ArtefactKind("landmarks", landmarks, _CROP),
        ArtefactKind("depth", depth, (*_CROP, *_DEPTH)),
        ArtefactKind("mesh", mesh, (*_CROP, *_HEAD)),
        ArtefactKind("geometry_coarse", COARSE, (*_CROP, *_HEAD), wanted=has_detail),
        ArtefactKind("codes", "codes", _HEAD, ".npz"),
        ArtefactKind("canvas", CANVAS, (*_CROP, *_HEAD), wanted=lambda config: config.canvas),
        ArtefactKind("full_landmarks", f"{FULL_CANVAS}/{landmarks}", _CROP, wanted=_full),
        ArtefactKind("full_depth", f"{FULL_CANVAS}/{depth}", (*_CROP, *_DEPTH), wanted=_full),
        ArtefactKind("full_mesh", f"{FULL_CANVAS}/{mesh}", _HEAD, wanted=_full),
        ArtefactKind(
            "full_geometry_coarse",
            f"{FULL_CANVAS}/{COARSE}",
            _HEAD,
            wanted=lambda config: config.full_canvas and has_detail(config),
        ),
        ArtefactKind("overlay", OVERLAY, (*_CROP, *_DEPTH), wanted=lambda config: config.overlay),
        ArtefactKind("meshes", "meshes", _HEAD, ".obj", wanted=lambda config: config.save_meshes),
        ArtefactKind(
            "detailed_meshes",
            "detailed_meshes",
            _HEAD,
            ".obj",
            wanted=lambda config: config.save_detailed_meshes and has_detail(config),
        ),
        *buffers,
        *full_buffers,
    )


ARTEFACTS: dict[str, ArtefactKind] = {kind.name: kind for kind in _kinds()}


def artefacts_of(config: PreprocessConfig) -> tuple[ArtefactKind, ...]:
    """What an ok row must have under this configuration."""
    return tuple(kind for kind in ARTEFACTS.values() if kind.wanted(config))
