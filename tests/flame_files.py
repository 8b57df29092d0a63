"""FLAME-shaped random model files: every file that the loaders read, right keys, right shapes.

The head is an ellipsoid with a nose, 5,023 vertices and 9,976 faces, its landmarks where a face has
them, so that crops, projections and renders of it are those of a face; its blend shapes are random.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import Delaunay

from sfe_core.arrays import Floats
from sfe_core.faces.head import HeadModel

VERTICES, FACES, BLEND_SHAPES = 5023, 9976, 400
UV_VERTICES = 5118
UV_SIZE = 256
# A triangulated disk of V vertices with b of them on its rim has 2 V - 2 - b faces.
_RIM = 2 * VERTICES - 2 - FACES
_OPENING_RAD = 2.6
_AXES_M = np.array([0.075, 0.11, 0.095])
_GOLDEN_RAD = np.pi * (1 + 5**0.5)


class _Published:
    """An object that pickles under another module's class name, as in the published files."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@contextmanager
def published_class(module: str, name: str) -> Iterator[type]:
    """A class importable as `module.name` while it is pickled, and not afterwards."""
    names = [module[:end] for end, char in enumerate(f"{module}.") if char == "."]
    saved = {key: sys.modules.get(key) for key in names}
    made = type(name, (_Published,), {"__module__": module})
    for key in names:
        sys.modules[key] = types.ModuleType(key)
    setattr(sys.modules[module], name, made)
    try:
        yield made
    finally:
        for key, value in saved.items():
            if value is None:
                del sys.modules[key]
            else:
                sys.modules[key] = value


@dataclass(frozen=True)
class Disk:
    """The head unrolled: a triangulated unit disk, nose in the middle, neck at the rim."""

    points: Floats  # [V, 2]
    faces: NDArray[np.int64]  # [F, 3] counter-clockwise seen from outside the head


def make_disk() -> Disk:
    """5,023 points whose Delaunay triangulation has 9,976 faces."""
    inner = np.arange(VERTICES - _RIM) + 0.5
    radius, angle = 0.985 * np.sqrt(inner / len(inner)), _GOLDEN_RAD * inner
    rim = 2 * np.pi * np.arange(_RIM) / _RIM
    radius, angle = np.append(radius, np.ones(_RIM)), np.append(angle, rim)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    faces = Delaunay(points).simplices.astype(np.int64)
    a, b, c = (points[faces[:, k]] for k in range(3))
    left, right = b - a, c - a
    turned = left[:, 0] * right[:, 1] - left[:, 1] * right[:, 0] < 0
    faces[turned] = faces[turned][:, [0, 2, 1]]
    assert faces.shape == (FACES, 3)
    return Disk(points, faces)


def head_surface(disk: Disk) -> Floats:
    """Vertices [V, 3] in metres of the ellipsoid that the disk is wrapped over, with a nose."""
    radius = np.linalg.norm(disk.points, axis=1)
    polar, around = _OPENING_RAD * radius, np.arctan2(disk.points[:, 1], disk.points[:, 0])
    directions = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], 1
    )
    vertices = directions * _AXES_M
    vertices[:, 2] += 0.02 * np.exp(-(radius**2) / 0.005)
    return vertices


def _smooth_fields(points: Floats, count: int, scale_m: float, rng: np.random.Generator) -> Floats:
    """Random vertex fields [V, 3, count] of low frequency, with a little noise."""
    waves = np.sin(points @ rng.normal(0, 3, (2, 24)) + rng.uniform(0, 6, 24))
    fields = np.einsum("vw,wck->vck", waves, rng.normal(0, scale_m / 5, (24, 3, count)))
    return fields + rng.normal(0, scale_m / 100, fields.shape)


def _skinning_weights(vertices: Floats) -> Floats:
    """[V, 5] weights that sum to 1: everything to the head, the chin to the jaw, two eye spots."""
    chin = 1 / (1 + np.exp((vertices[:, 1] + 0.045) / 0.006)) * (vertices[:, 2] > 0)
    neck = 1 / (1 + np.exp((vertices[:, 2] + 0.06) / 0.01))
    eyes = [np.exp(-((vertices - [x, 0.03, 0.085]) ** 2).sum(1) / 0.012**2) for x in (0.03, -0.03)]
    raw = np.stack([0.05 + 0 * neck, 0.1 + neck, chin, *eyes], 1)
    return raw / raw.sum(1, keepdims=True)


def _joint_regressor(vertices: Floats) -> scipy.sparse.csc_matrix:
    """[5, V] sparse rows that sum to 1, each round where its joint belongs."""
    eye = np.array([0.03, 0.03, 0.07])
    places = np.array(
        [[0, -0.1, -0.03], [0, -0.06, -0.03], [0, -0.02, 0.02], eye, eye * [-1, 1, 1]]
    )
    rows = np.zeros((5, len(vertices)))
    for joint, place in enumerate(places):
        near = np.argsort(((vertices - place) ** 2).sum(1))[:40]
        rows[joint, near] = 1 / 40
    return scipy.sparse.csc_matrix(rows)


def write_flame_model(folder: Path, seed: int = 0, name: str = "generic_model.pkl") -> Path:
    """Write every FLAME file that sfe reads, flat in `folder` as in DECA's data folder.

    generic_model.pkl (chumpy and scipy objects, protocol 2), landmark_embedding.npy,
    head_template.obj, fixed_displacement_256.npy, texture_data_256.npy, the two UV masks and
    FLAME_albedo_from_BFM.npz.

    Args:
        folder: made if need be.
        seed: of the blend shapes.
        name: of the model file; "flame2023.pkl" writes that one instead.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    disk = make_disk()
    vertices = head_surface(disk)
    write_model_pickle(folder / name, disk, vertices, rng)
    write_landmark_embedding(folder / "landmark_embedding.npy", disk, vertices)
    write_head_template(folder / "head_template.obj", disk, vertices, rng)
    write_uv_files(folder, disk, rng)
    write_albedo_model(folder / "FLAME_albedo_from_BFM.npz", rng)
    return folder


def write_model_pickle(path: Path, disk: Disk, vertices: Floats, rng: np.random.Generator) -> None:
    """The model with the keys of FLAME 2020, its blend shapes inside a chumpy object."""
    shapedirs = _smooth_fields(disk.points, BLEND_SHAPES, 0.003, rng).astype(np.float32)
    posedirs = _smooth_fields(disk.points, 36, 0.002, rng)
    regressor = _joint_regressor(vertices)
    with published_class("chumpy.ch", "Ch") as chumpy:
        stored = {
            "v_template": vertices,
            "shapedirs": chumpy(x=shapedirs, _parents={}, _dirty_vars=set()),
            "posedirs": posedirs,
            "J_regressor": regressor,
            "J": regressor @ vertices,
            "weights": _skinning_weights(vertices),
            "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
            "f": disk.faces.astype(np.uint32),
            "bs_style": "lbs",
            "bs_type": "lrotmin",
        }
        with open(path, "wb") as stream:
            pickle.dump(stored, stream, protocol=2)


def landmark_places(vertices: Floats) -> NDArray[np.int64]:
    """Vertex numbers [68] nearest, seen from the front, to where a face has its landmarks."""
    head = HeadModel.load()
    places = head.landmarks()[0][:, :2] - head.landmarks()[0][30, :2]
    front = np.flatnonzero(vertices[:, 2] > 0)
    apart = np.linalg.norm(vertices[front, None, :2] - places[None], axis=-1)
    return front[apart.argmin(0)]


def write_landmark_embedding(path: Path, disk: Disk, vertices: Floats) -> None:
    """Static, dynamic and full embeddings; the dynamic ones as torch tensors, as published."""
    places = landmark_places(vertices)
    a_face = np.full(VERTICES, -1, np.int64)
    a_face[disk.faces.ravel()] = np.repeat(np.arange(FACES), 3)
    faces = a_face[places]
    weights = np.where(disk.faces[faces] == places[:, None], 0.9, 0.05)
    dynamic_faces = np.stack([np.roll(faces[:17], row % 5) for row in range(79)])
    dynamic_weights = np.stack([np.roll(weights[:17], row % 5, axis=0) for row in range(79)])
    stored = {
        "static_lmk_faces_idx": faces[17:],
        "static_lmk_bary_coords": weights[17:],
        "dynamic_lmk_faces_idx": torch.from_numpy(dynamic_faces),
        "dynamic_lmk_bary_coords": torch.from_numpy(dynamic_weights).float(),
        "full_lmk_faces_idx": faces[None],
        "full_lmk_bary_coords": weights[None].astype(np.float32),
    }
    np.save(path, np.array(stored, dtype=object), allow_pickle=True)


def uv_layout(disk: Disk, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """UV coordinates [5118, 2] in [0, 1] and their faces [F, 3], numbered unlike the vertices.

    95 corners of the disk appear twice, as along the seams of a real unwrapping.
    """
    order = rng.permutation(UV_VERTICES)
    doubled = np.arange(UV_VERTICES - VERTICES)
    uv = np.empty((UV_VERTICES, 2))
    uv[order[:VERTICES]] = 0.5 + 0.46 * disk.points
    uv[order[VERTICES:]] = 0.5 + 0.46 * disk.points[doubled]
    faces = order[disk.faces]
    second = (np.arange(FACES) % 2 == 1)[:, None] & (disk.faces < len(doubled))
    faces[second] = order[VERTICES + disk.faces[second]]
    return uv, faces


def write_head_template(path: Path, disk: Disk, vertices: Floats, rng: np.random.Generator) -> None:
    """The template mesh with UV coordinates; its faces in another order than the model's."""
    uv, uv_faces = uv_layout(disk, rng)
    shuffled = rng.permutation(FACES)
    lines = ["# random head", "mtllib template.mtl"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv]
    lines += ["usemtl material_1", "s off"]
    for face in shuffled:
        corners = zip(disk.faces[face] + 1, uv_faces[face] + 1, strict=True)
        lines.append("f " + " ".join(f"{corner}/{place}" for corner, place in corners))
    path.write_text("\n".join(lines) + "\n")


def _uv_pixels() -> Floats:
    """Centres of the UV map's pixels on the disk, [256, 256, 2]; row 0 is v = 1."""
    centres = (np.arange(UV_SIZE) + 0.5) / UV_SIZE
    u, v = np.meshgrid(centres, 1 - centres)
    return (np.stack([u, v], -1) - 0.5) / 0.46


def write_uv_files(folder: Path, disk: Disk, rng: np.random.Generator) -> None:
    """Masks, fixed displacement, and the dense template of the detailed mesh."""
    places = _uv_pixels()
    radius = np.linalg.norm(places, axis=-1)
    for name, limit in (("uv_face_eye_mask.png", 0.6), ("uv_face_mask.png", 0.7)):
        mask = np.repeat((radius < limit)[..., None] * np.uint8(255), 4, 2)
        Image.fromarray(mask, "RGBA").save(folder / name)
    waves = np.sin(places @ rng.normal(0, 8, (2, 6))).sum(-1)
    np.save(folder / "fixed_displacement_256.npy", 2e-4 * waves)
    write_dense_template(folder / "texture_data_256.npy", disk, radius)


def write_dense_template(path: Path, disk: Disk, radius: Floats) -> None:
    """One vertex per UV pixel on the head, two faces per square of four of them."""
    inside = np.flatnonzero((radius < 0.98).ravel())
    places = _uv_pixels().reshape(-1, 2)[inside]
    finder = Delaunay(disk.points)
    simplex = finder.find_simplex(places)
    affine = finder.transform[simplex]
    two = np.einsum("pij,pj->pi", affine[:, :2], places - affine[:, 2])
    weights = np.concatenate([two, 1 - two.sum(1, keepdims=True)], 1)
    number = np.full(UV_SIZE**2, -1)
    number[inside] = np.arange(len(inside))
    grid = number.reshape(UV_SIZE, UV_SIZE)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    squares = np.stack([a, c, b, b, c, d], -1).reshape(-1, 2, 3)
    faces = squares[(squares >= 0).all((1, 2))].reshape(-1, 3)
    rows, columns = np.divmod(np.arange(UV_SIZE**2), UV_SIZE)
    stored = {
        "img_size": UV_SIZE,
        "f": faces,
        "x_coords": columns.astype(float),
        "y_coords": rows.astype(float),
        "valid_pixel_ids": inside,
        "valid_pixel_3d_faces": finder.simplices[simplex].astype(np.int64),
        "valid_pixel_b_coords": weights,
    }
    np.save(path, np.array(stored, dtype=object), allow_pickle=True)


def write_albedo_model(path: Path, rng: np.random.Generator, components: int = 60) -> None:
    """The albedo basis with the keys of FLAME_albedo_from_BFM.npz: 512², BGR, [0, 1].

    60 components instead of 199, in coarse patterns, so that the file stays small.
    """
    mean = np.full((512, 512, 3), 0.5, np.float32) + np.array([-0.1, 0.0, 0.1], np.float32)
    blocks = rng.normal(0, 0.02, (8, 8, 3, components)).astype(np.float16)
    basis = np.repeat(np.repeat(blocks, 64, 0), 64, 1)
    np.savez_compressed(path, MU=mean, PC=basis)
