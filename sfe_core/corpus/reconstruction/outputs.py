"""What is saved of a reconstructed face: a writer a kind, files at `<folder>/<key><suffix>`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.reconstruction.meshes import vertex_albedo, write_mesh
from sfe_core.errors import UserError
from sfe_core.faces.detection import Face
from sfe_core.files import atomic_path, write_text

# A picture's folder → how it is made, in the crop and in the photo's frame.
_PLAIN: dict[str, tuple[Callable[[FaceScene], Any], Callable[[FaceScene], Any]]] = {
    "geometry": (lambda face: face.mesh, lambda face: face.full_mesh),
    "normals": (lambda face: face.normals, lambda face: face.full_normals),
}
_COLOURED: dict[str, tuple[Callable[[FaceScene], Any], Callable[[FaceScene], Any]]] = {
    "albedo": (lambda face: face.albedo, lambda face: face.full_albedo),
    "lambertian": (lambda face: face.lambertian, lambda face: face.full_lambertian),
}


@dataclass(frozen=True)
class SavedFace:
    """One face to be saved.

    Attributes:
        key: its photo's path below the photos folder without suffix; `key#2` for a second face.
        face: as found.
        scene: as fitted.
        photo_frame: whether pictures are in the photo's frame, not in the crop's.
    """

    key: str
    face: Face
    scene: FaceScene
    photo_frame: bool

    def path(self, out: Path, folder: str, suffix: str) -> Path:
        """A file of it. The key may hold dots, so the suffix is appended."""
        return out / folder / f"{self.key}{suffix}"


def knows_colour(scene: FaceScene) -> bool:
    """Whether the backend has a texture model and a light."""
    surface = scene.head.surface
    if surface is None or surface.light is None:
        return False
    return surface.albedo(scene.raster) is not None


def save_meshes(saved: SavedFace, out: Path) -> list[Path]:
    """The head in its own frame, metres, as meshes/<key>.obj and .glb.

    The camera of the codes leads from there to photo pixels.
    """
    head = saved.scene.head
    albedo = vertex_albedo(head)
    paths = [saved.path(out, "meshes", suffix) for suffix in (".obj", ".glb")]
    for path in paths:
        write_mesh(path, head.points, head.faces, albedo)
    return paths


def save_detailed_meshes(saved: SavedFace, out: Path) -> list[Path]:
    """EMOCA's and DECA's head with its fine detail, as detailed_meshes/<key>.obj and .glb."""
    if not saved.scene.detailed:
        raise UserError(
            "--save detailed-meshes",
            "the reconstruction has no finer surface than its mesh",
            "choose emoca or deca, or leave detailed-meshes out",
        )
    vertices, faces = saved.scene.detailed_mesh
    paths = [saved.path(out, "detailed_meshes", suffix) for suffix in (".obj", ".glb")]
    for path in paths:
        write_mesh(path, vertices, faces)
    return paths


def save_codes(saved: SavedFace, out: Path) -> list[Path]:
    """The backend's codes and its camera, the same numbers as codes/<key>.npz and .json."""
    codes = saved.scene.codes
    arrays, text = (saved.path(out, "codes", suffix) for suffix in (".npz", ".json"))
    write_artefact(arrays, codes)
    write_text(text, _json_rows({name: _numbers(values) for name, values in codes.items()}))
    return [arrays, text]


def save_landmarks(saved: SavedFace, out: Path) -> list[Path]:
    """The 68 points as landmarks/<key>.npy, with all that was found of the face as .json.

    Photo pixels, centres at .5, in iBUG's order; `of_head` are the fitted head's.
    """
    scene, face = saved.scene, saved.face
    array, text = (saved.path(out, "landmarks", suffix) for suffix in (".npy", ".json"))
    points = np.asarray(scene.landmarks, np.float32)
    with atomic_path(array) as partial:
        np.save(partial, points)
    transform, (height, width) = scene.transform, scene.photo.shape[:2]
    told = {
        "width": width,
        "height": height,
        "box": _numbers(np.asarray(face.box, np.float32)),
        "score": float(face.score),
        "confidence": None if face.confidence is None else float(face.confidence),
        "angle": float(face.angle),
        "crop": [transform.center_x, transform.center_y, transform.side],
        "found": _numbers(points),
        "of_head": _numbers(np.asarray(scene.head.landmarks, np.float32)),
    }
    write_text(text, _json_rows(told))
    return [array, text]


def save_renders(saved: SavedFace, out: Path) -> list[Path]:
    """Pictures of the head below renders/, a folder each; those of colour where it is known.

    The crop itself is among them; the overlay is in the photo's frame always.
    """
    scene = saved.scene
    pictures = dict(_PLAIN)
    if knows_colour(scene):
        pictures |= _COLOURED
    made = {name: ways[saved.photo_frame] for name, ways in pictures.items()}
    made |= {"overlay": lambda face: face.overlay}
    if not saved.photo_frame:
        made |= {"inputs": lambda face: face.crop}
    paths = []
    for name, picture in made.items():
        paths.append(saved.path(out, f"renders/{name}", ".png"))
        write_artefact(paths[-1], picture(scene))
    return paths


OUTPUTS: Mapping[str, Callable[[SavedFace, Path], list[Path]]] = {
    "meshes": save_meshes,
    "detailed-meshes": save_detailed_meshes,
    "codes": save_codes,
    "landmarks": save_landmarks,
    "renders": save_renders,
}
USUAL = ("meshes", "codes", "landmarks", "renders")


def read_kinds(text: str) -> tuple[str, ...]:
    """The kinds that `--save` names, in the order of `OUTPUTS`.

    >>> read_kinds("codes, meshes")
    ('meshes', 'codes')

    Raises:
        UserError: one is unknown, or there is none.
    """
    named = {part.strip() for part in text.split(",") if part.strip()}
    unknown = sorted(named - OUTPUTS.keys())
    if unknown or not named:
        found = f"{unknown[0]!r} is unknown" if unknown else "names nothing"
        raise UserError(f"--save {text}", found, f"choose from {', '.join(OUTPUTS)}")
    return tuple(kind for kind in OUTPUTS if kind in named)


def _numbers(values: Floats) -> Any:
    """An array as nested lists, each number in the fewest digits that name it in its precision."""
    if np.ndim(values) == 0:
        return float(str(np.asarray(values)[()]))
    return [_numbers(part) for part in values]


def _json_rows(named: Mapping[str, Any]) -> str:
    """JSON with a line for each name: indenting would put every number on its own."""
    lines: Iterable[str] = (
        f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in named.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"
