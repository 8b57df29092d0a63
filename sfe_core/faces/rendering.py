"""Mesh rendering on the CPU: one embree ray per pixel, then shading from what the ray hit.

The camera is scaled orthographic (x_image = s · R · X + t), the same model the landmark fit
solves for, so that a fitted head and its rendering agree to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sfe_core.arrays import Floats, Mask, Pixels

# Depth maps span this many metres either side of the eyes, so that equal grey means equal distance.
DEPTH_RANGE_M = 0.12


@dataclass(frozen=True)
class Camera:
    """Scaled-orthographic camera; image x to the right, y down, pixel centres at .5."""

    rotation: Floats  # [3, 3] head to camera
    scale: float  # pixels per metre
    translation: Floats  # [2] pixels, where the head's origin lands

    def project(self, points: Floats) -> Floats:
        """Image coordinates [..., 3] of head points [..., 3]: x, y, nearness z, all in pixels."""
        rotated = np.asarray(points, np.float32) @ np.asarray(self.rotation, np.float32).T
        flip = np.array([self.scale, -self.scale, self.scale], np.float32)
        offset = np.array([*self.translation, 0.0], np.float32)
        return rotated * flip + offset


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Floats:
    """Head rotation [3, 3] from degrees: yaw to image right, pitch up, roll clockwise positive.

    >>> nose = np.array([0, 0, 1])  # x right, y up, z to the viewer
    >>> (rotation_matrix(30, 0, 0) @ nose).round(3).tolist()
    [0.5, 0.0, 0.866]
    """
    turn = Rotation.from_euler("yxz", [yaw, -pitch, -roll], degrees=True)
    return turn.as_matrix().astype(np.float32)


@dataclass(frozen=True)
class Raster:
    """What each pixel's ray met first."""

    face_index: NDArray[np.int32]  # [H, W], -1 where nothing
    barycentric: Floats  # [H, W, 3] weights of the face's corners
    depth: Floats  # [H, W] image-space z in pixels, larger is nearer, -inf where nothing
    normals: Floats  # [H, W, 3] unit, smooth, camera frame: x right, y up, z to the viewer

    @property
    def hit(self) -> Mask:
        """[H, W] True where the mesh covers the pixel's centre."""
        return self.face_index >= 0

    def interpolate(self, values: Floats, faces: NDArray[np.int32]) -> Floats:
        """Vertex values [V, C] at the hit pixels, [hits, C], in row-major pixel order."""
        hit = self.hit
        return _weigh(values, faces[self.face_index[hit]], self.barycentric[hit])


def _weigh(values: Floats, corners: NDArray[np.int32], weights: Floats) -> Floats:
    """Vertex values [V, C] at points with corner vertices [P, 3] and weights [P, 3]: [P, C]."""
    # One corner at a time, without a [P, 3, C] array, is more than twice as fast.
    a, b, c = (np.take(values, corners[:, k], axis=0) * weights[:, k, None] for k in range(3))
    return a + b + c


def vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Unit normals [V, 3], the area-weighted mean of the faces round each vertex [V, 3]."""
    a, b, c = (np.take(vertices, corner, axis=0) for corner in np.ascontiguousarray(faces.T))
    across = np.cross(b - a, c - a)
    sums = np.stack(
        [np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(vertices)) for k in range(3)],
        axis=1,
    )
    lengths = np.sqrt(np.einsum("vc,vc->v", sums, sums))
    return (sums / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)


def raycast(vertices: Floats, faces: NDArray[np.int32], height: int, width: int) -> Raster:
    """Cast one ray per pixel along -z.

    Args:
        vertices: [V, 3] image space (pixels, y down, z towards the viewer), as `Camera.project`.
        faces: [F, 3].
        height, width: raster size in pixels.
    """
    vertices = np.ascontiguousarray(vertices, np.float32)
    face_index = np.full((height, width), -1, np.int32)
    barycentric = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), -np.inf, np.float32)
    normals = np.zeros((height, width, 3), np.float32)
    x, y, z = _used(vertices, faces)
    limit = [width, height]
    low = np.clip(np.floor([x.min(), y.min()]).astype(int), 0, limit)
    high = np.clip(np.ceil([x.max(), y.max()]).astype(int), 0, limit)
    if (high > low).all():
        top = float(z.max()) + 1.0
        met, second, third, way = _cast_down(vertices, faces, low, high, top)
        hits = np.flatnonzero(met >= 0)
        rows, columns = np.divmod(hits, high[0] - low[0])
        pixels = (rows + low[1]) * width + columns + low[0]
        met, second, third = met[hits], second[hits], third[hits]
        weights = np.stack([1.0 - second - third, second, third], -1)
        face_index.reshape(-1)[pixels] = met
        depth.reshape(-1)[pixels] = top - way[hits]
        barycentric.reshape(-1, 3)[pixels] = weights
        normals.reshape(-1, 3)[pixels] = _smooth_normals(vertices, faces, met, weights)
    return Raster(face_index, barycentric, depth, normals)


def shadow(
    raster: Raster,
    vertices: Floats,
    faces: NDArray[np.int32],
    lamps: Floats,
    offset: float,
    step: int = 1,
) -> Floats:
    """Share of the lamps that each pixel's point sees, [H, W] in [0, 1], 1 where no mesh.

    Args:
        raster: from `raycast` of the same mesh.
        vertices: [V, 3] image space, as cast.
        faces: [F, 3].
        lamps: [L, 3] unit directions towards the light, camera frame (x right, y up, z near).
        offset: pixels by which rays start outside the surface, so that it does not shade itself.
        step: every how many pixels along each axis rays are cast; the rest takes its neighbour's.
    """
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    coarse = raster.hit[::step, ::step]
    rows, columns = np.nonzero(coarse)
    seen = np.ones(coarse.shape, np.float32)
    if len(rows):
        rows, columns = rows * step, columns * step
        flip = np.array([1.0, -1.0, 1.0], np.float32)
        depth = raster.depth[rows, columns]
        points = np.stack([columns + 0.5, rows + 0.5, depth], 1).astype(np.float32)
        points += raster.normals[rows, columns] * flip * np.float32(offset)
        scene = rtcore_scene.EmbreeScene()
        geometry = TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), faces)
        open_to = np.zeros(len(points), np.float32)
        for lamp in lamps:
            way = np.ascontiguousarray(np.broadcast_to(lamp * flip, points.shape), np.float32)
            open_to += scene.run(points, way, query="INTERSECT") < 0
        del geometry
        seen[coarse] = open_to / len(lamps)
    return seen.repeat(step, 0).repeat(step, 1)[: len(raster.depth), : raster.depth.shape[1]]


def _used(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Coordinates [3, N] of the vertices that belong to a face."""
    belongs = np.zeros(len(vertices), bool)
    belongs[faces.ravel()] = True
    return vertices.T.compress(belongs, axis=1)


def _cast_down(
    vertices: Floats, faces: NDArray[np.int32], low: Floats, high: Floats, top: float
) -> tuple[NDArray[np.int32], Floats, Floats, Floats]:
    """Embree's answer for one ray per pixel of the box from `low` to `high` (x, y), from z = top.

    Returns:
        Face number (-1: none), weights of the second and third corner, way to the hit; each
        [h w], row by row.
    """
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    columns, rows = np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5
    origins = np.empty((len(rows), len(columns), 3), np.float32)
    origins[..., 0], origins[..., 1], origins[..., 2] = columns, rows[:, None], top
    directions = np.zeros_like(origins)
    directions[..., 2] = -1.0
    scene = rtcore_scene.EmbreeScene()
    # The scene holds the geometry only as long as the Python object lives.
    geometry = TriangleMesh(scene, vertices, faces)
    found = scene.run(origins.reshape(-1, 3), directions.reshape(-1, 3), output=1)
    del geometry
    return found["primID"], found["u"], found["v"], found["tfar"]


def _smooth_normals(
    vertices: Floats, faces: NDArray[np.int32], met: NDArray[np.int32], weights: Floats
) -> Floats:
    """Interpolated unit normals [hits, 3] in the camera frame, turned towards the viewer.

    Args:
        vertices: [V, 3] image space.
        faces: [F, 3].
        met: [hits] face numbers.
        weights: [hits, 3] barycentric.
    """
    # Image y points down: flipping it gives the camera frame.
    upright = vertices * np.array([1.0, -1.0, 1.0], np.float32)
    result = _weigh(vertex_normals(upright, faces), faces[met], weights)
    result /= np.maximum(np.sqrt(np.einsum("pc,pc->p", result, result)), 1e-9)[:, None]
    return np.where(result[:, 2:] < 0, -result, result)


def shade_grey(raster: Raster) -> Pixels:
    """Grey Lambertian geometry picture [H, W, 3] uint8 RGB, black where no mesh."""
    toward = np.array([-0.3, 0.45, 0.84], np.float32)
    diffuse = np.clip(raster.normals @ (toward / np.linalg.norm(toward)), 0.0, 1.0)
    grey = np.where(raster.hit, 40.0 + 200.0 * diffuse, 0.0)
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)


def shade_normals(raster: Raster) -> Pixels:
    """Normal map [H, W, 3] uint8: (n + 1) / 2 per axis, black where no mesh."""
    colours = (raster.normals + 1.0) * 127.5
    return np.where(raster.hit[:, :, None], colours, 0.0).round().astype(np.uint8)


def depth_map(raster: Raster, scale: float) -> Floats:
    """Metric depth picture [H, W] float32 in [0, 1]: nearer is brighter, 0.5 is the eyes' plane.

    Args:
        raster: from `raycast`.
        scale: the camera's pixels per metre; ±DEPTH_RANGE_M fills the range, whatever the face.
    """
    metres = np.where(raster.hit, raster.depth, 0.0) / scale
    grey = np.clip(0.5 + metres / (2.0 * DEPTH_RANGE_M), 0.0, 1.0)
    return np.where(raster.hit, grey, 0.0).astype(np.float32)
