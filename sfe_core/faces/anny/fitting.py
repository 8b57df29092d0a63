"""The parametric head fitted to 68 landmarks: pose, identity and facial actions at once.

Maximum a posteriori under a scaled-orthographic camera: Gauss-Newton on rotation, scale and
translation together with the linear identity and action coefficients, ridge priors on both
(Blanz and Vetter, "A Morphable Model for the Synthesis of 3D Faces", SIGGRAPH 1999, section 4),
actions kept in [0, 1] by projection (Bertsekas, "Projected Newton Methods", SIAM J. Control
Optim. 20, 1982). Contour landmarks are not fixed points of the head: they may slide along the
jaw line, and those of the averted side count less the further the head is turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.head import ACTION_NAMES, HeadModel

# 300-W's normalisation: the outer corners of the eyes.
OUTER_EYE_CORNERS = (36, 45)
CONTOUR = 17  # the first 17 points

_POSE = 6  # rotation vector, log scale, translation
_NOISE_M = 0.003  # spread of a detector's landmark about the head's, metres on the face
_CONTOUR_ALONG = 0.25  # weight of a contour point's error along the jaw line ...
_CONTOUR_ACROSS = 0.5  # ... and across it; other points weigh 1
_AVERTED_DEG = 22.0  # yaw at which the averted contour's weight has fallen to exp(-1)
# Before anything is seen, an action is as likely to move its landmarks by this much as any other
# (a wide-open jaw moves its own by 38 mm, a raised brow by 4), within limits on its activation.
_ACTION_TRAVEL_M = 0.005
_ACTION_SPREAD = (0.1, 0.5)  # standard deviation, smallest and largest
_SIDES_SPREAD = 0.15  # of the difference between its left and right half
# Of these the left half opposes the right one instead of joining it.
_OPPOSED = frozenset({"jawLeft", "mouthLeft", "eyeLookInLeft", "eyeLookOutLeft"})
_ITERATIONS = 14


@dataclass(frozen=True)
class HeadFit:
    """N fitted heads; the camera is image = scale · (R X)_xy (y down) + translation."""

    identity: Floats  # [N, K] standard deviations
    actions: Floats  # [N, 52] in [0, 1], in the order of ACTION_NAMES
    rotation: Floats  # [N, 3, 3] head to camera (x right, y up, z to the viewer)
    scale: Floats  # [N] pixels per metre
    translation: Floats  # [N, 2] pixels, where the head's origin lands
    landmarks: Floats  # [N, 68, 2] the head's landmarks, pixels
    error: Floats  # [N] mean landmark distance over inter-ocular distance

    @property
    def angles(self) -> Floats:
        """[N, 3] yaw (to image right), pitch (up) and roll (clockwise), degrees."""
        return rotation_angles(self.rotation)


def rotation_angles(rotation: Floats) -> Floats:
    """Yaw, pitch, roll [N, 3] in degrees: the inverse of `rendering.rotation_matrix`."""
    # R = Rz(-roll) Rx(-pitch) Ry(yaw): its third row and second column hold the angles.
    pitch = -np.arcsin(np.clip(rotation[:, 2, 1], -1.0, 1.0))
    yaw = np.arctan2(-rotation[:, 2, 0], rotation[:, 2, 2])
    roll = -np.arctan2(-rotation[:, 0, 1], rotation[:, 1, 1])
    return np.rad2deg(np.stack([yaw, pitch, roll], axis=1))


def inter_ocular(landmarks: Floats) -> Floats:
    """Distance [N] between the outer eye corners of [N, 68, 2] landmarks, same unit."""
    left, right = OUTER_EYE_CORNERS
    return np.linalg.norm(landmarks[..., left, :] - landmarks[..., right, :], axis=-1)


def fit_heads(
    landmarks: Floats, head: HeadModel | None = None, identity: Floats | None = None
) -> HeadFit:
    """Fit the head to N faces at once.

    Args:
        landmarks: [N, 68, 2] pixels, x right, y down, iBUG order; N ≥ 0.
        head: the model; None means the one shipped with sfe.
        identity: [K] where it is known whose faces these are: only pose and actions are then
            fitted, and more of what landmarks show is taken for expression.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    landmarks = np.asarray(landmarks, dtype=np.float64)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2) or not np.isfinite(landmarks).all():
        raise ValueError(f"landmarks must be finite [N, 68, 2], not {landmarks.shape}")
    model = _point_model(head or HeadModel.load(), identity)
    target = landmarks * (1.0, -1.0)  # y up from here on
    state = _initial(model, target)
    for _ in range(_ITERATIONS):
        state = _step(model, target, state)
    fitted = _project(state, _points(model, state)) * (1.0, -1.0)
    distance = np.linalg.norm(fitted - landmarks, axis=2).mean(axis=1)
    free = state.coefficients[:, : model.identities]
    known = free if identity is None else np.tile(identity, (len(landmarks), 1))
    return HeadFit(
        identity=known.astype(np.float32),
        actions=state.coefficients[:, model.identities :].astype(np.float32),
        rotation=state.rotation.astype(np.float32),
        scale=state.scale.astype(np.float32),
        translation=(state.translation * (1.0, -1.0)).astype(np.float32),
        landmarks=fitted.astype(np.float32),
        error=(distance / np.maximum(inter_ocular(landmarks), 1e-9)).astype(np.float32),
    )


@dataclass(frozen=True)
class _PointModel:
    """The 68-point rows of the head as one linear basis, and the prior over its coefficients.

    Of a head of known shape the shape is in the mean, and K is 0.
    """

    mean: Floats  # [68, 3]
    basis: Floats  # [K + 52, 68, 3]
    identities: int  # K
    precision: Floats  # [K + 52, K + 52]


@dataclass(frozen=True)
class _State:
    rotation: Floats  # [N, 3, 3]
    scale: Floats  # [N]
    translation: Floats  # [N, 2], y up
    coefficients: Floats  # [N, K + 52]


def _point_model(head: HeadModel, known: Floats | None) -> _PointModel:
    mean, identity, actions = (np.asarray(part, np.float64) for part in head.landmark_basis())
    if known is not None:
        mean = mean + np.tensordot(np.asarray(known, np.float64), identity, axes=1)
        return _PointModel(mean, actions, 0, _action_precision(actions))
    count = len(identity)
    precision = np.eye(count + len(actions))
    precision[count:, count:] = _action_precision(actions)
    return _PointModel(mean, np.concatenate([identity, actions]), count, precision)


def _action_precision(actions: Floats) -> Floats:
    """Inverse covariance [52, 52] of the actions [52, 68, 3]: each small, left and right alike."""
    travel = np.linalg.norm(actions, axis=2).max(axis=1)
    spread = np.clip(_ACTION_TRAVEL_M / np.maximum(travel, 1e-6), *_ACTION_SPREAD)
    precision = np.diag(1 / spread**2)
    place = {name: number for number, name in enumerate(ACTION_NAMES)}
    for name, left in place.items():
        right = place.get(name.removesuffix("Left") + "Right") if name.endswith("Left") else None
        if right is None or name in _OPPOSED:
            continue
        precision[[left, right], [left, right]] += 1 / _SIDES_SPREAD**2
        precision[[left, right], [right, left]] -= 1 / _SIDES_SPREAD**2
    return precision


def _points(model: _PointModel, state: _State) -> Floats:
    """The head's landmarks [N, 68, 3] in its own frame, metres."""
    flat = model.basis.reshape(1, len(model.basis), -1)
    return model.mean + _rows_times(state.coefficients, flat).reshape(-1, 68, 3)


def _rows_times(rows: Floats, matrix: Floats) -> Floats:
    """rows [N, A] times matrix [1, A, B], one product per row.

    One product over all rows would round differently from batch to batch, and the same photo
    must give the same pictures whatever it is fitted together with.
    """
    return (rows[:, None] @ matrix)[:, 0]


def _project(state: _State, points: Floats) -> Floats:
    """Image positions [N, 68, 2], y up."""
    flat = points @ state.rotation[:, :2].transpose(0, 2, 1)
    return state.scale[:, None, None] * flat + state.translation[:, None]


def _initial(model: _PointModel, target: Floats) -> _State:
    """The mean head under the best affine camera, made scaled-orthographic."""
    count = len(target)
    inner = slice(CONTOUR, None)
    centre = model.mean[inner].mean(axis=0)
    middle = target[:, inner].mean(axis=1)
    affine = np.linalg.pinv(model.mean[inner] - centre) @ (target[:, inner] - middle[:, None])
    u, strengths, vt = np.linalg.svd(affine.transpose(0, 2, 1), full_matrices=False)
    rows = u @ vt
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    scale = np.maximum(strengths.mean(axis=1), 1e-6)
    translation = middle - scale[:, None] * (rows @ centre)
    return _State(rotation, scale, translation, np.zeros((count, len(model.basis))))


def _weights(state: _State, projected: Floats) -> Floats:
    """Square roots of the precision of each landmark error, [N, 68, 2, 2], unit 1 / spread.

    For the contour the first row looks across the jaw line, the second along it.
    """
    count = len(projected)
    weights = np.tile(np.eye(2), (count, 68, 1, 1))
    line = projected[:, :CONTOUR]
    along = np.gradient(line, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    yaw = np.deg2rad(rotation_angles(state.rotation)[:, 0])[:, None]
    # Turned to image right (yaw > 0) the right half, points 9-16, is averted; the chin never is.
    side = (np.arange(CONTOUR) - CONTOUR // 2) / (CONTOUR // 2)
    averted = np.maximum(side * yaw, 0.0) / np.deg2rad(_AVERTED_DEG)
    fade = np.exp(-averted)[..., None, None]
    weights[:, :CONTOUR] = np.sqrt(fade) * np.stack(
        [np.sqrt(_CONTOUR_ACROSS) * across, np.sqrt(_CONTOUR_ALONG) * along], axis=2
    )
    return weights


def _jacobian(model: _PointModel, state: _State, points: Floats) -> Floats:
    """Derivative [N, 68, 2, 6 + K + 52] of the projection over scale, y up.

    Columns: a rotation vector applied after the rotation, log scale, translation over scale, then
    the coefficients.
    """
    count = len(points)
    turned = points @ state.rotation.transpose(0, 2, 1)
    jacobian = np.zeros((count, 68, 2, _POSE + len(model.basis)))
    x, y, z = np.moveaxis(turned, 2, 0)
    jacobian[:, :, 0, 1], jacobian[:, :, 0, 2] = z, -y
    jacobian[:, :, 1, 0], jacobian[:, :, 1, 2] = -z, x
    jacobian[:, :, :, 3] = turned[..., :2]
    jacobian[:, :, 0, 4] = jacobian[:, :, 1, 5] = 1.0
    basis = model.basis.transpose(1, 2, 0).reshape(1, 68, 3, -1)
    jacobian[..., _POSE:] = state.rotation[:, None, :2] @ basis
    return jacobian


def _step(model: _PointModel, target: Floats, state: _State) -> _State:
    """One projected Gauss-Newton step."""
    points = _points(model, state)
    projected = _project(state, points)
    weights = _weights(state, projected) / _NOISE_M
    scale = state.scale[:, None, None]
    count, size = len(target), _POSE + len(model.basis)
    error = (weights @ ((target - projected) / scale)[..., None]).reshape(count, 136, 1)
    jacobian = (weights @ _jacobian(model, state, points)).reshape(count, 136, size)
    transposed = jacobian.transpose(0, 2, 1)
    normal = transposed @ jacobian
    normal[:, _POSE:, _POSE:] += model.precision
    normal[:, range(_POSE), range(_POSE)] += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None]
    descent = (transposed @ error)[..., 0]
    descent[:, _POSE:] -= _rows_times(state.coefficients, model.precision[None])
    change = _solve_free(normal, descent, state.coefficients, model.identities)
    coefficients = state.coefficients + change[:, _POSE:]
    actions = coefficients[:, model.identities :]
    np.clip(actions, 0.0, 1.0, out=actions)
    return _State(
        rotation=_rotation_of(change[:, :3]) @ state.rotation,
        scale=state.scale * np.exp(np.clip(change[:, 3], -0.5, 0.5)),
        translation=state.translation + state.scale[:, None] * change[:, 4:6],
        coefficients=coefficients,
    )


def _solve_free(normal: Floats, descent: Floats, coefficients: Floats, identities: int) -> Floats:
    """Newton change [N, P]; actions at a bound that would leave it are held there."""
    actions = coefficients[:, identities:]
    pull = descent[:, _POSE + identities :]
    held = np.zeros(descent.shape, dtype=bool)
    held[:, _POSE + identities :] = ((actions <= 0) & (pull <= 0)) | ((actions >= 1) & (pull >= 0))
    free = ~held
    system = normal * (free[:, :, None] & free[:, None, :])
    diagonal = np.einsum("npp->np", system)
    diagonal[held] = 1.0
    return np.linalg.solve(system, np.where(free, descent, 0.0)[..., None])[..., 0]


def _rotation_of(vectors: Floats) -> Floats:
    """Rotation matrices [N, 3, 3] of rotation vectors [N, 3] (Rodrigues)."""
    angle = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)[:, None, None]
    x, y, z = (vectors / angle[:, 0]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
