"""Heads from photos by EMOCA or DECA, as a `reconstruction.Reconstructor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfe_core.arrays import Floats, Pixels
from sfe_core.assets.store import locate
from sfe_core.faces.anny.fitting import OUTER_EYE_CORNERS, rotation_angles
from sfe_core.faces.emoca.checkpoint import EmocaNetworks, check_flame, load_networks
from sfe_core.faces.emoca.crops import InputSquare, cut_input, input_square
from sfe_core.faces.emoca.detail import detail_condition
from sfe_core.faces.emoca.encoders import INPUT_PX, FaceCodes
from sfe_core.faces.emoca.flame_head import FLAME_ASSET, FlameHead, load_flame_head
from sfe_core.faces.flame.skinning import rotation_matrices
from sfe_core.faces.flame.surface import FlameSurface
from sfe_core.faces.reconstruction import Reconstruction

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
    angles: Floats  # [B, 3] yaw, pitch, roll, degrees


class EmocaReconstructor:
    """EMOCA or DECA, all networks in float32 whatever the device.

    Args:
        networks: from `load_networks`.
        head: from `load_flame_head`.
        device: torch device; None means CUDA where there is one.
    """

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
            displacement = self._decoder(detail_condition(codes, self._settings))
        flame = self._head.flame
        vertices = flame(codes.shape, codes.exp, codes.pose)
        turns = rotation_matrices(codes.pose[:, :3]).cpu().numpy()
        return DecodedFaces(
            codes=codes,
            vertices=vertices,
            landmarks=flame.landmarks_2d(vertices, codes.pose),
            displacement=displacement,
            normals=self._head.detail.mesh_normals(vertices),
            uv_normals=self._head.detail.normals(vertices, displacement),
            uv_albedo=None if self._head.albedo is None else self._head.albedo(codes.tex),
            eye_centre=self._head.eye_centre(vertices),
            angles=rotation_angles(turns),
        )

    def _reconstruction(
        self, decoded: DecodedFaces, place: int, square: InputSquare, seen: Floats
    ) -> Reconstruction:
        """One head in its photo; `seen` are the detector's landmarks."""
        codes = {name: code.cpu().numpy() for name, code in decoded.codes.row(place).items()}
        origin = decoded.eye_centre[place]
        camera = square.camera(codes["cam"], origin.cpu().numpy())
        points = (decoded.vertices[place] - origin).cpu().numpy()
        landmarks = camera.project((decoded.landmarks[place] - origin).cpu().numpy())[:, :2]
        right, left = OUTER_EYE_CORNERS
        apart = max(float(np.linalg.norm(seen[right] - seen[left])), 1e-6)
        albedo = None if decoded.uv_albedo is None else decoded.uv_albedo[place].cpu()
        displacement = decoded.displacement[place, 0] + self._head.detail.fixed_displacement
        yaw, pitch, roll = decoded.angles[place].tolist()
        return Reconstruction(
            points=points,
            faces=self._head.template.faces,
            camera=camera,
            angles=(yaw, pitch, roll),
            error=float(np.linalg.norm(landmarks - seen, axis=1).mean()) / apart,
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
