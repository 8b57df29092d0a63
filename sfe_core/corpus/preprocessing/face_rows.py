"""What the manifest says of a photo, of a face found in it, and of the head and its pictures."""

from __future__ import annotations

from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.buffer_faults import buffer_faults
from sfe_core.corpus.manifest import OK, Row
from sfe_core.corpus.people.face_hash import face_hash
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, WorkSettings
from sfe_core.corpus.quality import measure_pictures
from sfe_core.faces.crop_choice import invented_share
from sfe_core.faces.depth import DepthBackend
from sfe_core.faces.detection import Face


def photo_columns(photo: DecodedPhoto, settings: WorkSettings) -> Row:
    """What is known of a photo before anybody looks for faces; its key is the first face's."""
    return {
        "key": photo.job.key,
        "photo": photo.job.photo,
        "photo_sha256": photo.sha256,
        "config_hash": settings.hashes.whole,
        "photo_notes": photo.notes or None,
    }


def face_columns(face: Face) -> Row:
    """A face as it was found."""
    return {
        "detection_score": face.score,
        "confidence": face.confidence,
        "angle": face.angle,
        "box": [float(value) for value in face.box],
        "landmarks": face.landmarks.astype(float).ravel().tolist(),
    }


def buffer_column(scene: FaceScene) -> str:
    """What is wrong with the scene's buffers, for the manifest; empty where nothing is."""
    return "; ".join(buffer_faults(scene.normals, scene.albedo, scene.lambertian, scene.points))


def scene_columns(scene: FaceScene, depth: DepthBackend) -> Row:
    """Crop, head, and what its pictures measure; depth only where the scene has one."""
    stored = None if scene.depth is None else scene.depth.crop
    row: Row = measure_pictures(scene.crop, scene.drawn_landmarks, stored, scene.mesh, scene.points)
    row |= {"face_hash": face_hash(scene.crop, scene.points)}
    if scene.depth is not None:
        row |= {
            "depth_unit": depth.code.unit,
            "depth_low": depth.code.low,
            "depth_high": depth.code.high,
        }
    head, transform = scene.head, scene.transform
    height, width = scene.photo.shape[:2]
    yaw, pitch, roll = head.angles
    codes = {
        column: head.codes[name].astype(float).tolist() if name in head.codes else None
        for column, name in (("identity_fit", "identity"), ("actions", "actions"))
    }
    return (
        row
        | codes
        | {
            "status": OK,
            "reason": "",
            "crop_x": transform.center_x,
            "crop_y": transform.center_y,
            "crop_side": transform.side,
            "crop_rule": scene.crop_rule,
            "invented_border": invented_share(transform, width, height),
            "fit_error": head.error,
            "yaw": yaw,
            "pitch": pitch,
            "roll": roll if not transform.angle else (roll - transform.angle + 180) % 360 - 180,
        }
    )
