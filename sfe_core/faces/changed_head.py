"""A reconstructed head with another shape, pose, expression or light, held in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.reconstruction import HeadChange, HeadMaker, Reconstruction
from sfe_core.faces.rendering import Camera

_EYES, _MOUTH = slice(36, 48), slice(48, 68)
_MOUTH_SHARE = 0.1  # how far towards the mouth a face's centre lies (Ding et al. 2023)


def maker_of(head: Reconstruction) -> HeadMaker:
    """Who can make a head anew.

    Raises:
        UserError: nobody.
    """
    if head.maker is None:
        raise UserError(
            "the reconstruction", "cannot change the heads that it finds", "choose another"
        )
    return head.maker


def face_centre(landmarks: Floats) -> Floats:
    """The point [2] of a face that stays when it turns: between the eyes, a tenth to the mouth.

    Args:
        landmarks: [68, 2].

    >>> points = np.zeros((68, 2))
    >>> points[48:] = (0, 10)
    >>> face_centre(points).tolist()
    [0.0, 1.0]
    """
    eyes, mouth = landmarks[_EYES].mean(axis=0), landmarks[_MOUTH].mean(axis=0)
    return eyes + _MOUTH_SHARE * (mouth - eyes)


def changed_head(head: Reconstruction, change: HeadChange) -> Reconstruction:
    """The head with all of a change; each part of it does the same alone and among the others.

    Another shape is laid on the landmarks of the old one (size and place, least squares); another
    pose keeps the face's centre where it was; an expression moves the face and nothing else.

    Raises:
        UserError: the backend cannot change its heads.
    """
    maker = maker_of(head)
    if change.identity is not None:
        shaped = maker.remake(head, HeadChange(identity=change.identity))
        head = _laid_on(shaped, head.landmarks)
    if change.angles is not None:
        turned = maker.remake(head, HeadChange(angles=change.angles))
        head = _seen_by(turned, 1.0, face_centre(head.landmarks) - face_centre(turned.landmarks))
    if change.expression is None and change.light is None:
        return head
    return maker.remake(head, HeadChange(expression=change.expression, light=change.light))


def _laid_on(head: Reconstruction, landmarks: Floats) -> Reconstruction:
    """A head enlarged and moved so that its landmarks come nearest to others [68, 2]."""
    own = np.asarray(head.landmarks, np.float64)
    middle, aim = own.mean(axis=0), np.asarray(landmarks, np.float64).mean(axis=0)
    factor = float(((own - middle) * (landmarks - aim)).sum() / ((own - middle) ** 2).sum())
    return _seen_by(head, factor, aim - factor * middle)


def _seen_by(head: Reconstruction, factor: float, shift: Floats) -> Reconstruction:
    """A head whose picture is enlarged by a factor and then moved by `shift` [2], pixels."""
    camera = head.camera
    return replace(
        head,
        camera=Camera(
            camera.rotation,
            float(camera.scale) * factor,
            np.asarray(camera.translation) * factor + shift,
        ),
        landmarks=np.asarray(head.landmarks) * factor + shift,
    )
