"""Heads from photos by EMOCA or DECA, as a `reconstruction.Reconstructor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from sfe_core.arrays import Floats, Pixels
from sfe_core.assets.store import locate
from sfe_core.faces.anny.fitting import OUTER_EYE_CORNERS, rotation_angles
from sfe_core.faces.changed_head import changed_head
from sfe_core.faces.emoca.checkpoint import EmocaNetworks, check_flame, load_networks
from sfe_core.faces.emoca.crops import InputSquare, cut_input, input_square
from sfe_core.faces.emoca.detail import detail_condition
from sfe_core.faces.emoca.encoders import INPUT_PX, FaceCodes
from sfe_core.faces.emoca.flame_head import FLAME_ASSET, FlameHead, load_flame_head
from sfe_core.faces.flame.skinning import rotation_matrices
from sfe_core.faces.flame.surface import FlameSurface
from sfe_core.faces.reconstruction import HeadChange, Reconstruction
from sfe_core.faces.rendering import Camera, rotation_matrix

MODEL_ASSETS = {"emoca": "emoca-v2", "deca": "deca"}
# Faces per forward pass. Always exactly as many, the rest blank: the numbers of a face must not
# hang on how many others came with it, and kernels differ between batch sizes.
_GPU_BATCH, _CPU_BATCH = 32, 1


@dataclass(frozen=True)
class DecodedFaces:
    """B heads as decoded; all tensors on the model's device."""

    codes: FaceCodes
    vertices: Tensor  # [B, V, 3] metres, posed; x to image right, y up, z to the viewer
    landmarks: Tensor  # [B, 68, 3] metres; the jaw line follows the yaw
    displacement: Tensor  # [B, 1, 256, 256] metres along the normals, without the fixed part
    normals: Tensor  # [B, V, 3] of the mesh
    uv_normals: Tensor  # [B, 3, 256, 256] of the detailed surface
    uv_albedo: Tensor | None  # [B, 3, 256, 256] RGB about [0, 1]
    eye_centre: Tensor  # [B, 3] metres


class EmocaReconstructor:
    """EMOCA or DECA, all networks in float32 whatever the device.

    Also a `reconstruction.HeadMaker`: codes are those of `FaceCodes`; an expression is FLAME's with
    the jaw behind it, [n_exp + 3]. Changed heads get the detail that the networks decode for them.

    Args:
        networks: from `load_networks`.
        head: from `load_flame_head`.
        device: torch device; None means CUDA where there is one.
    """

    terms: Literal["anny", "flame"] = "flame"

    def __init__(self, networks: EmocaNetworks, head: FlameHead, device: str | None = None) -> None:
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.device(chosen)
        self.batch_size = _CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH
        self._settings = networks.settings
        self._encoder = networks.encoder.to(self.device)
        self._decoder = networks.decoder.to(self.device)
        self._head = head.to(self.device)

    def reconstruct(
        self, photos: Sequence[Pixels], landmarks: Floats, boxes: Floats
    ) -> list[Reconstruction]:
        """See `Reconstructor.reconstruct`; the square is cut round the landmarks, not the box."""
        del boxes
        points = np.asarray(landmarks, np.float64).reshape(-1, 68, 2)
        found: list[Reconstruction] = []
        for start in range(0, len(photos), self.batch_size):
            part = slice(start, start + self.batch_size)
            squares = [input_square(face) for face in points[part]]
            images = [cut_input(*pair) for pair in zip(photos[part], squares, strict=True)]
            decoded = self.decode(self._padded(images))
            found += [
                self._reconstruction(decoded, place, square, points[start + place])
                for place, square in enumerate(squares)
            ]
        return found

    def _padded(self, images: list[Floats]) -> Tensor:
        batch = torch.zeros(self.batch_size, 3, INPUT_PX, INPUT_PX)
        batch[: len(images)] = torch.from_numpy(np.stack(images))
        return batch.to(self.device)

    @torch.inference_mode()
    def decode(self, images: Tensor) -> DecodedFaces:
        """Encode face crops [B, 3, 224, 224] in [0, 1] and decode them into heads."""
        # TF32 has ten bits; the published weights' results are to hold to 1e-4.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            codes = self._encoder(images)
        return self.decode_codes(codes)

    @torch.inference_mode()
    def decode_codes(self, codes: FaceCodes) -> DecodedFaces:
        """Decode the heads of B faces' codes."""
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            displacement = self._decoder(detail_condition(codes, self._settings))
        flame = self._head.flame
        vertices = flame(codes.shape, codes.exp, codes.pose)
        return DecodedFaces(
            codes=codes,
            vertices=vertices,
            landmarks=flame.landmarks_2d(vertices, codes.pose),
            displacement=displacement,
            normals=self._head.detail.mesh_normals(vertices),
            uv_normals=self._head.detail.normals(vertices, displacement),
            uv_albedo=None if self._head.albedo is None else self._head.albedo(codes.tex),
            eye_centre=self._head.eye_centre(vertices),
        )

    def identity(self, codes: Mapping[str, Floats]) -> Floats:
        """[100] FLAME's shape."""
        return codes["shape"]

    def expression(self, codes: Mapping[str, Floats]) -> Floats:
        """[n_exp + 3] FLAME's expression, and the jaw's axis-angle in radians."""
        return np.concatenate([codes["exp"], codes["pose"][3:]])

    def remake(self, head: Reconstruction, change: HeadChange) -> Reconstruction:
        """See `HeadMaker.remake`."""
        codes = {name: np.asarray(code) for name, code in head.codes.items()}
        if change.identity is not None:
            codes["shape"] = np.asarray(change.identity)
        pose = codes["pose"].copy()
        if change.expression is not None:
            codes["exp"], pose[3:] = np.split(np.asarray(change.expression), [-3])
        if change.angles is not None:
            # A turned photo's camera turns the head as well.
            turn = np.asarray(head.camera.rotation).T @ rotation_matrix(*change.angles)
            pose[:3] = Rotation.from_matrix(turn).as_rotvec()
        codes["pose"] = pose
        if change.light is not None:
            codes["light"] = np.asarray(change.light)
        before = self._decoded(head.codes).eye_centre[0].cpu().numpy()
        decoded = self._decoded(codes)
        # The camera looks at the eyes, whose place in FLAME's own frame moves with the pose.
        moved = (decoded.eye_centre[0].cpu().numpy() - before) @ head.camera.rotation.T
        shift = head.camera.scale * moved[:2] * np.array([1.0, -1.0])
        camera = Camera(head.camera.rotation, head.camera.scale, head.camera.translation + shift)
        return self._head_of(decoded, 0, camera, head.error)

    def refit(self, head: Reconstruction, identity: Floats, landmarks: Floats) -> Reconstruction:
        """See `HeadMaker.refit`: pose and expression stay as the networks said."""
        del landmarks
        return changed_head(head, HeadChange(identity=identity))

    def restore(self, codes: Mapping[str, Floats], surface: Mapping[str, Floats]) -> Reconstruction:
        """See `HeadMaker.restore`."""
        del surface  # the light is one of the codes
        camera = Camera(
            codes["camera_rotation"],
            float(codes["camera_scale"]),
            codes["camera_translation"],
        )
        return self._head_of(self._decoded(codes), 0, camera, 0.0)

    def _decoded(self, codes: Mapping[str, Floats]) -> DecodedFaces:
        """One head, in a batch as large as every other."""
        batch = {}
        for field in fields(FaceCodes):
            code = torch.from_numpy(np.asarray(codes[field.name], np.float32))
            batch[field.name] = torch.zeros(self.batch_size, *code.shape, device=self.device)
            batch[field.name][0] = code.to(self.device)
        return self.decode_codes(FaceCodes(**batch))

    def _reconstruction(
        self, decoded: DecodedFaces, place: int, square: InputSquare, seen: Floats
    ) -> Reconstruction:
        """One head in its photo; `seen` are the detector's landmarks."""
        origin = decoded.eye_centre[place].cpu().numpy()
        camera = square.camera(decoded.codes.cam[place].cpu().numpy(), origin)
        head = self._head_of(decoded, place, camera, 0.0)
        right, left = OUTER_EYE_CORNERS
        apart = max(float(np.linalg.norm(seen[right] - seen[left])), 1e-6)
        error = float(np.linalg.norm(head.landmarks - seen, axis=1).mean()) / apart
        return replace(head, error=error)

    def _head_of(
        self, decoded: DecodedFaces, place: int, camera: Camera, error: float
    ) -> Reconstruction:
        """One head under a camera whose origin lies between its eyes."""
        codes = {name: code.cpu().numpy() for name, code in decoded.codes.row(place).items()}
        origin = decoded.eye_centre[place]
        points = (decoded.vertices[place] - origin).cpu().numpy()
        landmarks = camera.project((decoded.landmarks[place] - origin).cpu().numpy())[:, :2]
        albedo = None if decoded.uv_albedo is None else decoded.uv_albedo[place].cpu()
        displacement = decoded.displacement[place, 0] + self._head.detail.fixed_displacement
        turn = rotation_matrices(decoded.codes.pose[place : place + 1, :3]).cpu().numpy()
        yaw, pitch, roll = rotation_angles(np.asarray(camera.rotation) @ turn)[0].tolist()
        return Reconstruction(
            points=points,
            faces=self._head.template.faces,
            camera=camera,
            angles=(yaw, pitch, roll),
            error=error,
            landmarks=landmarks,
            codes=codes,
            surface=FlameSurface(
                self._head.detail.atlas,
                decoded.uv_normals[place].cpu(),
                albedo,
                codes["light"],
                decoded.normals[place].cpu().numpy(),
                self._head.template.faces,
                points,
                displacement.cpu().numpy(),
                self._head.dense,
            ),
            maker=self,
        )


def load_emoca(
    name: str,
    device: str | None = None,
    model: str | Path | None = None,
    flame: str | Path = FLAME_ASSET,
) -> EmocaReconstructor:
    """Load EMOCA or DECA.

    Args:
        name: `emoca` or `deca`.
        device: torch device; None means CUDA where there is one.
        model: asset name or path of the networks (`load_networks`); None: EMOCA v2's default
            model, or DECA's own.
        flame: asset name or path of FLAME (`load_flame_head`).

    Raises:
        UserError: model files are missing, or are not what they should be.
    """
    networks = load_networks(locate(model or MODEL_ASSETS[name]))
    head = load_flame_head(flame, networks.settings)
    check_flame(networks, head.flame.v_template, str(flame))
    return EmocaReconstructor(networks, head, device)
