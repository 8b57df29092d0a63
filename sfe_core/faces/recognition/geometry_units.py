"""A reader of action units by where the points of the face mesh lie, for photos of real people.

Pixels of rendered and photographed faces differ much, places of points little. The points are laid
over a mean face by those that no expression moves (Procrustes: Umeyama 1991, IEEE TPAMI 13(4)).
What is read off are a few distances on each half of the face, such as FACS tells units by (Ekman,
Friesen & Hager 2002): how far the inner brow lies above the eyes, how far the lips stand apart. A
unit is a sum of piecewise linear functions of its own region's distances and of no others: fitted
on all points, units lean on what rendered people have in common and photographed ones have not.

It learns from rendered faces, whose units are known to the number, by `fit_geometry`; which units
hold on photos must be measured on photos. The card of `geometry-units` tells how they did.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sfe_core.errors import UserError
from sfe_core.faces.recognition.face_mesh import SIDE, FaceMesh, load_face_mesh
from sfe_core.files import atomic_path
from sfe_core.strict_loading import load_strictly

# Ridge of the nose, corners of the eyes, forehead and temples.
RIGID_POINTS = (
    168, 6, 197, 195, 33, 133, 362, 263,
    10, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 127, 356,
)  # fmt: skip
MESH_POINTS = 478
FILE = "geometry-units.safetensors"
# Points of the person's right half that are used below, to those that lie alike on the left. What
# stands in neither lies in the middle.
LEFT_OF = {
    33: 263, 37: 267, 46: 276, 49: 279, 52: 282, 53: 283, 55: 285, 61: 291, 63: 293, 65: 295,
    66: 296, 70: 300, 76: 306, 80: 310, 81: 311, 82: 312, 84: 314, 87: 317, 88: 318, 95: 324,
    98: 327, 105: 334, 107: 336, 129: 358, 133: 362, 144: 373, 145: 374, 148: 377, 153: 380,
    158: 385, 159: 386, 160: 387, 178: 402, 191: 415, 468: 473,
}  # fmt: skip
_RIGHT_OF = {left: right for right, left in LEFT_OF.items()}


@dataclass(frozen=True)
class Distance:
    """How far some points lie beyond others, on the mean of both, along one axis.

    Attributes:
        axis: down the face, or from its middle out to the side.
        ends: numbers of the points, on the person's right half or in the middle.
        starts: likewise.
    """

    axis: Literal["down", "out"]
    ends: tuple[int, ...]
    starts: tuple[int, ...]


_EYE_CORNERS = (33, 133, 263, 362)
_UPPER_LID, _LOWER_LID = (158, 159, 160), (144, 145, 153)
DISTANCES = {
    "inner brow to eyes": Distance("down", _EYE_CORNERS, (55, 107)),
    "inner brow to nose": Distance("down", (2, 98), (55, 107)),
    "middle brow to eyes": Distance("down", _EYE_CORNERS, (52, 65, 66, 105)),
    "outer brow to eyes": Distance("down", _EYE_CORNERS, (46, 53, 63, 70)),
    "slope of the brow": Distance("down", (46, 53, 63, 70), (55, 107)),
    "between the brows": Distance("out", (55, 107), (285, 336)),
    "opening of the eye": Distance("down", _LOWER_LID, _UPPER_LID),
    "iris to upper lid": Distance("down", (468,), _UPPER_LID),
    "lower lid to corners": Distance("down", (33, 133), _LOWER_LID),
    "length of the nose": Distance("down", (2, 49, 98), (6, 168)),
    "wing to eye": Distance("down", (49, 98), (33, 133)),
    "width of the nose": Distance("out", (49, 129), (279, 358)),
    "upper lip to nose": Distance("down", (0, 37), (2, 98)),
    "gap of the lips": Distance("down", (14, 87), (13, 82)),
    "gap towards the corner": Distance("down", (88, 95, 178), (80, 81, 191)),
    "thickness of the upper lip": Distance("down", (13, 82), (0, 37)),
    "thickness of the lower lip": Distance("down", (17, 84), (14, 87)),
    "corner of the mouth out": Distance("out", (61, 76), (2, 6, 168)),
    "corner of the mouth up": Distance("down", (13, 14), (61, 76)),
    "corner to lower lip": Distance("down", (17, 84), (61, 76)),
    "lower lip to nose": Distance("down", (14, 17, 84), (2,)),
    "chin to nose": Distance("down", (148, 152), (2,)),
}
_INNER_BROW = ("inner brow to eyes", "inner brow to nose")
_EYE = ("opening of the eye", "iris to upper lid")
_MOUTH = tuple(DISTANCES)[12:]
# What a unit may be read from. AU4 leaves the outer brow out: the rendered head lowers it far more
# than people do, and read from it, angry faces come out as calm.
DISTANCES_OF_UNIT = {
    "AU1": (*_INNER_BROW, "slope of the brow"),
    "AU2": ("middle brow to eyes", "outer brow to eyes", "slope of the brow"),
    "AU4": (*_INNER_BROW, "between the brows"),
    "AU5": _EYE,
    "AU6": ("lower lid to corners", "opening of the eye", "corner of the mouth up"),
    "AU7": ("lower lid to corners", "opening of the eye"),
    "AU9": (
        "inner brow to nose", "length of the nose", "wing to eye", "width of the nose",
        "upper lip to nose",
    ),
    **dict.fromkeys(
        ("AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU25", "AU26"), _MOUTH
    ),
    "AU43": _EYE,
}  # fmt: skip
# Where the piecewise linear functions bend, in standard deviations of the rendered faces, and how
# strongly large weights are held back; a photographed face lies further out than rendered ones.
_KNOTS = (-0.7, 0.0, 0.7, 1.5)
_RIDGE = 0.02


def align(points: Tensor, rigid: Tensor) -> Tensor:
    """Lay faces over a mean face: turned, moved and sized by their rigid points.

    Args:
        points: [B, 478, 3], in any unit.
        rigid: [R, 3], where `RIGID_POINTS` should come to lie.

    Returns:
        [B, 478, 3] in the unit of `rigid`; differentiable.
    """
    own = points[:, list(RIGID_POINTS)]
    middle = own.mean(dim=1, keepdim=True)
    centred, wanted = own - middle, rigid - rigid.mean(dim=0)
    u, stretch, vh = torch.linalg.svd(centred.transpose(1, 2) @ wanted)
    sign = torch.det(u @ vh).sign()
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=1)
    scale = (stretch * flip).sum(dim=1) / centred.square().sum(dim=(1, 2))
    turn = (u * flip[:, None]) @ vh
    return ((points - middle) @ turn) * scale[:, None, None] + rigid.mean(dim=0)


def mean_rigid(points: Tensor, rounds: int = 5) -> Tensor:
    """[R, 3]: the mean of the rigid points of [N, 478, 3], each face laid over it, size 1."""
    own = points[:, list(RIGID_POINTS)]
    own = own - own.mean(dim=1, keepdim=True)
    mean = (own / own.square().sum(dim=(1, 2), keepdim=True).sqrt()).mean(dim=0)
    for _ in range(rounds):
        mean = align(points, mean)[:, list(RIGID_POINTS)].mean(dim=0)
        mean = (mean - mean.mean(dim=0)) / (mean - mean.mean(dim=0)).norm()
    return mean


def distances(points: Tensor) -> Tensor:
    """`DISTANCES` of faces that `align` laid over the mean.

    Args:
        points: [B, 478, 3].

    Returns:
        [B, 2, D] of the person's left and right half, in the unit of the points.
    """
    halves = []
    for left in (True, False):
        found = []
        for distance in DISTANCES.values():
            axis = 1 if distance.axis == "down" else 0
            ends, starts = (
                points[:, [LEFT_OF.get(i, _RIGHT_OF.get(i, i)) if left else i for i in group], axis]
                for group in (distance.ends, distance.starts)
            )
            # The person's right lies on the left of the picture, so out to the side is down x.
            sign = -1.0 if axis == 0 and not left else 1.0
            found.append(sign * (ends.mean(dim=1) - starts.mean(dim=1)))
        halves.append(torch.stack(found, dim=1))
    return torch.stack(halves, dim=1)


def _bent(values: Tensor) -> Tensor:
    """[..., D] in standard deviations to [..., D x (1 + knots)], the pieces of each."""
    bends = [torch.relu(values - knot) for knot in _KNOTS]
    return torch.stack([values, *bends], dim=-1).flatten(-2)


class GeometryUnits(nn.Module):
    """[B, 478, 3] points of the face mesh to intensities [B, 2, U], about 0 to 5.

    Both halves of a face are read by the same weights.

    Attributes:
        units: FACS names of the U units, in their order.
    """

    rigid: Tensor
    mean: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, units: tuple[str, ...]) -> None:
        super().__init__()
        self.units = units
        count = len(DISTANCES)
        self.register_buffer("rigid", torch.zeros(len(RIGID_POINTS), 3))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("weight", torch.zeros(len(units), count * (1 + len(_KNOTS))))
        self.register_buffer("bias", torch.zeros(len(units)))

    def pieces(self, points: Tensor) -> Tensor:
        """[B, 478, 3] to [B, 2, P]: what the units are weighted sums of."""
        found = distances(align(points.to(self.mean), self.rigid))
        return _bent((found - self.mean) / self.spread)

    def forward(self, points: Tensor) -> Tensor:
        """Intensities of the person's left and right half; without limits at 0 and 5."""
        return self.pieces(points) @ self.weight.T + self.bias

    def only(self, units: tuple[str, ...]) -> GeometryUnits:
        """The reader of some of its units."""
        found = GeometryUnits(units)
        rows = [self.units.index(unit) for unit in units]
        found.rigid, found.mean, found.spread = self.rigid, self.mean, self.spread
        found.weight, found.bias = self.weight[rows], self.bias[rows]
        return found


class GeometryUnitsReader(nn.Module):
    """A reader of units as `unit_readers` wants it: the face mesh, and the units by its points.

    Args:
        mesh: with its weights.
        geometry: fitted.
    """

    input_px = SIDE

    def __init__(self, mesh: FaceMesh, geometry: GeometryUnits) -> None:
        super().__init__()
        self.mesh, self.geometry = mesh, geometry

    @property
    def units(self) -> tuple[str, ...]:
        """FACS names of the U units it reads, in their order."""
        return self.geometry.units

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [-1, 1], square, cropped as `preprocess` crops, to [B, 2, U]."""
        return self.geometry(self.mesh(images.to(self.geometry.mean)).points)


def fit_geometry(points: Tensor, intensities: Tensor, units: tuple[str, ...]) -> GeometryUnits:
    """Fit the reader: ridge regression of each unit on its own distances, in closed form.

    Args:
        points: [N, 478, 3] of faces, upright.
        intensities: [N, 2, U] of the person's left and right half, 0 to 5.
        units: FACS names of the U units, of `DISTANCES_OF_UNIT`.

    Raises:
        UserError: fewer faces than numbers to find, or a unit that no distance tells.
    """
    fewest = len(DISTANCES) * (1 + len(_KNOTS))
    if len(points) < fewest:
        raise UserError("faces", f"are {len(points)}", f"give at least {fewest}")
    unknown = [unit for unit in units if unit not in DISTANCES_OF_UNIT]
    if unknown:
        raise UserError(unknown[0], "is told by no distance", f"choose of {[*DISTANCES_OF_UNIT]}")
    reader = GeometryUnits(units).double()
    reader.rigid = mean_rigid(points.double())
    found = distances(align(points.double(), reader.rigid)).flatten(0, 1)
    reader.mean, reader.spread = found.mean(dim=0), found.std(dim=0).clamp_min(1e-9)
    pieces = reader.pieces(points.double()).flatten(0, 1)
    targets = intensities.double().flatten(0, 1)
    for row, unit in enumerate(units):
        chosen = torch.tensor([name in DISTANCES_OF_UNIT[unit] for name in DISTANCES])
        columns = chosen.repeat_interleave(1 + len(_KNOTS))
        reader.weight[row, columns], reader.bias[row] = _ridge(pieces[:, columns], targets[:, row])
    return reader.float().eval()


def _ridge(inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [K] and the offset."""
    mean, offset = inputs.mean(dim=0), target.mean()
    centred = inputs - mean
    held_back = _RIDGE * len(inputs) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    weight = torch.linalg.solve(centred.T @ centred + held_back, centred.T @ (target - offset))
    return weight, offset - mean @ weight


def save_geometry(reader: GeometryUnits, path: Path) -> None:
    """Write the reader."""
    state = {name: tensor.contiguous() for name, tensor in reader.state_dict().items()}
    with atomic_path(path) as partial:
        partial.write_bytes(save(state, {"units": json.dumps(reader.units)}))


def load_geometry(path: Path) -> GeometryUnits:
    """Read what `save_geometry` wrote.

    Raises:
        UserError: it is no such file.
    """
    remedy = "fit it anew: python -m sfe_core.synthesis.tiny.geometry"
    try:
        with safe_open(path, framework="pt") as stored:
            units = tuple(json.loads((stored.metadata() or {})["units"]))
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(path, f"is no reader of units ({error})", remedy) from error
    reader = GeometryUnits(units)
    load_strictly(reader, state, path, remedy)
    return reader.eval()


def load_geometry_reader(folder: Path) -> GeometryUnitsReader:
    """A frozen reader by the face mesh, whose weights must be fetched.

    Args:
        folder: holds `FILE`.

    Raises:
        UserError: the asset `face-mesh` is not fetched, or what lies there is no such reader.
    """
    geometry = load_geometry(folder / FILE)
    mesh = load_face_mesh()
    return GeometryUnitsReader(mesh, geometry).eval().requires_grad_(False)
