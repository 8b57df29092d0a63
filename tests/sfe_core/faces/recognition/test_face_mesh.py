"""The face mesh: its contract, how it cuts regions, and its numbers beside TensorFlow.js."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from sfe_core.assets.registry import registry
from sfe_core.assets.store import folder_of
from sfe_core.errors import UserError
from sfe_core.faces.recognition import face_mesh
from sfe_core.faces.recognition.face_mesh import FaceMesh, load_face_mesh, read_mesh
from tests.outside_weights import randomised

FETCHED = folder_of(registry()["face-mesh"]) / "face-mesh.safetensors"  # of this machine
# TensorFlow.js on the same pixels, but for 2 / 47, which its file rounds to half precision: that
# moves refined points by up to 0.07 px. With it whole they agree to 6e-3 px, the others to 1e-4.
PRESENCE = 0.23631
POINTS = {
    1: (94.047, 98.191, -17.929),
    152: (90.707, 142.391, 13.976),
    61: (74.372, 107.819, 8.382),
    291: (109.65, 109.498, 8.701),
    13: (92.418, 112.902, -0.065),
    33: (69.905, 63.696, 0.508),
    263: (122.016, 66.965, 0.053),
    105: (69.85, 47.435, -10.319),
    334: (123.313, 50.411, -10.765),
    468: (78.158, 64.253, -2.437),
    473: (113.334, 66.48, -2.767),
}


@pytest.fixture(scope="module")
def network() -> FaceMesh:
    """With random weights, so small that its points lie about the picture."""
    found = randomised(FaceMesh())
    with torch.no_grad():
        for name, value in found.state_dict().items():
            if "slope" in name or "pointwise" in name:
                value.mul_(0.2)
        found.mesh.weight.mul_(0.1)
        found.mesh.bias.copy_(torch.rand(1404, generator=torch.manual_seed(1)) * 120 + 36)
    return found


@pytest.mark.skipif(not FETCHED.is_file(), reason="sfe assets fetch face-mesh")
def test_it_finds_the_points_that_the_published_graph_finds():
    face = Image.fromarray(data.astronaut()[20:260, 105:345])
    face = face.resize((192, 192), Image.Resampling.BOX)
    image = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].float() / 127.5 - 1
    found = load_face_mesh(FETCHED)(image)
    assert found.presence.item() == pytest.approx(PRESENCE, abs=1e-4)
    for number, wanted in POINTS.items():
        assert found.points[0, number].tolist() == pytest.approx(wanted, abs=0.02), number


def test_points_are_in_pixels_of_any_size_and_pass_gradient(network):
    images = (torch.rand(2, 3, 192, 192) * 2 - 1).requires_grad_()
    found = network(images)
    assert found.points.shape == (2, 478, 3) and found.presence.shape == (2,)
    found.points.sum().backward()
    assert images.grad.abs().sum() > 0 and torch.isfinite(images.grad).all()
    # The same face at half the size lies at half the numbers.
    small = network(torch.zeros(1, 3, 96, 96)).points * 2
    assert torch.allclose(small, network(torch.zeros(1, 3, 192, 192)).points, atol=1e-3)


def test_refined_points_replace_the_meshs_and_keep_its_depth(network):
    images = torch.rand(1, 3, 192, 192) * 2 - 1
    points = network(images).points[0]
    early = network.early(network.slope(network.stem(images.add(1).div(2))))
    mesh = network.mesh(network.narrow(network.late(early))).view(468, 3)
    assert torch.allclose(points[:468, 2], mesh[:, 2], atol=1e-4)
    moved = (points[:468, :2] - mesh[:, :2]).abs().amax(dim=1) > 1e-3
    refined = {*face_mesh.LIPS, *face_mesh.RIGHT_EYE, *face_mesh.LEFT_EYE}
    assert set(moved.nonzero().flatten().tolist()) == refined
    lids = mesh[list(face_mesh.RIGHT_EYE[:16]), 2].mean()
    assert torch.allclose(points[468:473, 2], lids.expand(5), atol=1e-4)


def test_a_region_is_cut_upright_with_half_its_size_more(network):
    # A layer that holds its own cells' places: what is cut out tells where it was cut.
    side = torch.arange(48) + 0.5
    places = torch.stack(torch.meshgrid(side, side, indexing="xy"))[None]
    angle = torch.tensor(0.4)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    upright = torch.zeros(1, 468, 2)
    lips = torch.tensor(face_mesh.LIPS)
    upright[0, lips] = torch.rand(80, 2) * torch.tensor([12.0, 6.0]) - torch.tensor([6.0, 3.0])
    corners = {61: (-6, 0), 291: (6, 0), 146: (-6, -3), 91: (6, 3)}
    for point, place in corners.items():
        upright[0, point] = torch.tensor(place, dtype=torch.float32)
    mesh = upright @ turn.T + torch.tensor([25.0, 22.0])
    linear, middle = network.lips._placing(mesh)
    cut = face_mesh._cut(places, linear, middle)[0]
    # The middles of a crop's 16 cells, of a box of 18 by 9 cells of the layer.
    across, down = (torch.arange(16) + 0.5 - 8) * 18 / 16, (torch.arange(16) + 0.5 - 8) * 9 / 16
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    wanted = grid @ turn.T + torch.tensor([25.0, 22.0])
    assert torch.allclose(cut.permute(1, 2, 0), wanted, atol=1e-3)


def test_a_face_elsewhere_in_a_picture_has_its_points_there(network):
    torch.manual_seed(3)
    picture = torch.rand(1, 3, 160, 200) * 2 - 1
    landmarks = torch.rand(1, 68, 2) * 60 + 50
    moved = torch.roll(picture, (8, 16), dims=(2, 3))
    shift = torch.tensor([16.0, 8.0])
    found = read_mesh(network, picture, landmarks).points
    there = read_mesh(network, moved, landmarks + shift).points
    assert torch.allclose(there[..., :2], found[..., :2] + shift, atol=0.02)
    assert torch.allclose(there[..., 2], found[..., 2], atol=0.02)


def test_a_file_of_another_network_is_told(tmp_path):
    save_file({"stem.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "one.safetensors")
    with pytest.raises(UserError, match="does not fit: no stem.bias"):
        load_face_mesh(tmp_path / "one.safetensors")
    with pytest.raises(UserError, match="sfe assets fetch face-mesh"):
        load_face_mesh()
