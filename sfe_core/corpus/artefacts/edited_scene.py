"""A face's scene with changed shape, pose, expression or light, in the crop that it was in."""

from __future__ import annotations

from dataclasses import replace

from sfe_core.arrays import Floats
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.faces.changed_head import changed_head, maker_of
from sfe_core.faces.reconstruction import HeadChange

Angles = tuple[float, float, float]


def changed_scene(scene: FaceScene, change: HeadChange) -> FaceScene:
    """The scene with all of a change; light and colours stay the photo's unless they change.

    Args:
        scene: of a backend that can change its heads; itself stays as it is.
        change: its angles are those in the crop, see `upright_angles`.

    Returns:
        A scene of the same photo and crop. Its landmarks move as far as the head's; where the head
        turns they are the head's own, as what the photo's know beyond it does not turn with it.

    Raises:
        UserError: the backend cannot change its heads.
    """
    if change.angles is not None:
        yaw, pitch, roll = change.angles
        change = replace(change, angles=(yaw, pitch, wrapped_degrees(roll + scene.transform.angle)))
    head = changed_head(scene.head, change)
    moved = head.landmarks - scene.head.landmarks
    return replace(
        scene,
        head=head,
        landmarks=head.landmarks if change.angles is not None else scene.landmarks + moved,
        given_mesh=None,
        given_buffers={},
        given_codes={},
        depth=None,
    )


def scene_of_person(scene: FaceScene, shape: Floats) -> FaceScene:
    """The scene, of a person whose shape [K] is known: the head is found anew under it.

    Raises:
        UserError: the backend cannot change its heads.
    """
    head = maker_of(scene.head).refit(scene.head, shape, scene.landmarks)
    return replace(scene, head=head, given_mesh=None, given_buffers={}, given_codes={}, depth=None)


def upright_angles(scene: FaceScene) -> Angles:
    """Yaw, pitch and roll of the head as its crop shows it, degrees."""
    yaw, pitch, roll = scene.head.angles
    return yaw, pitch, wrapped_degrees(roll - scene.transform.angle)


def wrapped_degrees(degrees: float) -> float:
    """An angle between -180 and 180."""
    return (degrees + 180.0) % 360.0 - 180.0
