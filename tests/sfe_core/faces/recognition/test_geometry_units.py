"""Units by the points of the face mesh: how faces are laid out, what is read off and fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from sfe_core.assets import locate
from sfe_core.assets.needs import needed_assets
from sfe_core.assets.registry import registry
from sfe_core.assets.store import folder_of
from sfe_core.config.model import Config
from sfe_core.errors import UserError
from sfe_core.faces.recognition import geometry_units
from sfe_core.faces.recognition.face_mesh import FaceMesh, load_face_mesh
from sfe_core.faces.recognition.geometry_units import (
    DISTANCES,
    FILE,
    LEFT_OF,
    MESH_POINTS,
    RIGID_POINTS,
    align,
    distances,
    fit_geometry,
    load_geometry,
    mean_rigid,
    save_geometry,
)
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.synthesis.tiny.faces import Faces
from sfe_core.synthesis.tiny.geometry import NAME, SCORES, correlations, mesh_points, ship

UNITS = ("AU4", "AU12", "AU26")
FETCHED = folder_of(registry()["face-mesh"]) / "face-mesh.safetensors"  # of this machine
# What a unit moves on the right half, and which way: x, y.
MOVES = {
    "AU4": ((55, 107), (0.3, 1.0)),
    "AU12": ((61, 76), (-1.0, -1.0)),
    "AU26": ((14, 17, 84, 87, 88, 95, 178, 148, 152), (0.0, 1.5)),
}


def turned(points: Tensor, seed: int, most: float = 3.2) -> Tensor:
    """Each face turned by about `most` at most, sized and moved in its own way."""
    generator = torch.Generator().manual_seed(seed)
    skew = torch.randn(len(points), 3, 3, generator=generator, dtype=torch.float64)
    turn = torch.matrix_exp(most / 2 * (skew - skew.transpose(1, 2))).to(points)
    size = torch.rand(len(points), 1, 1, generator=generator) * 3 + 0.5
    return (points @ turn) * size + torch.randn(len(points), 1, 3, generator=generator) * 50


def mirrored(points: Tensor) -> Tensor:
    """Of faces whose middle is x = 0, as far as their pairs of points are known."""
    index = torch.arange(MESH_POINTS)
    for right, left in LEFT_OF.items():
        index[[right, left]] = index[[left, right]]
    return points[:, index] * points.new_tensor([-1.0, 1.0, 1.0])


def made_faces(people: int, each: int, seed: int) -> tuple[Tensor, Tensor]:
    """Faces whose points move with their units, each half by its own, and the units."""
    fixed = torch.Generator().manual_seed(99)
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(1, MESH_POINTS, 3, generator=fixed).double() * 40
    base = (base + mirrored(base)) / 2
    looks = torch.randn(5, MESH_POINTS, 3, generator=fixed).double()
    who = torch.arange(people).repeat_interleave(each)
    own = torch.einsum("nk,kpc->npc", torch.randn(people, 5, generator=generator).double(), looks)
    points = base + 0.05 * own[who]
    units = torch.rand(people * each, 2, len(UNITS), generator=generator).double() * 5
    for column, unit in enumerate(UNITS):
        right, (x, y) = MOVES[unit]
        for half, numbers, sign in ((0, [LEFT_OF.get(i, i) for i in right], -1.0), (1, right, 1.0)):
            strength = units[:, half, column, None]
            points[:, list(numbers), 0] += sign * x * strength
            points[:, list(numbers), 1] += y * strength
    return turned(points, seed, most=0.1), units


@pytest.fixture(scope="module")
def reader():
    return fit_geometry(*made_faces(40, 10, seed=1), UNITS)


def test_a_face_is_laid_over_the_mean_however_it_was_turned():
    torch.manual_seed(0)
    faces = torch.randn(6, MESH_POINTS, 3).double()
    mean = mean_rigid(faces)
    laid = align(faces, mean)
    assert torch.allclose(align(turned(faces, 1), mean), laid, atol=1e-9)
    # No turning and sizing brings the rigid points nearer.
    rest = (laid[:, list(RIGID_POINTS)] - mean).square().sum(dim=(1, 2))
    for seed in range(5):
        other = turned(laid, seed) * 0.02 + laid * 0.98
        assert (((other[:, list(RIGID_POINTS)] - mean).square().sum(dim=(1, 2))) > rest).all()


def test_a_mirror_image_stays_one():
    torch.manual_seed(0)
    face = torch.randn(1, MESH_POINTS, 3).double()
    image = face * torch.tensor([-1.0, 1.0, 1.0]).double()
    mean = mean_rigid(face)
    assert not torch.allclose(align(image, mean), align(face, mean), atol=0.01)


def test_the_mirror_image_has_the_other_half_s_distances():
    torch.manual_seed(0)
    faces = torch.randn(3, MESH_POINTS, 3)
    found = distances(faces)
    assert found.shape == (3, 2, len(DISTANCES))
    assert torch.allclose(distances(mirrored(faces)), found.flip(1), atol=1e-5)


def test_a_corner_of_the_mouth_goes_up_and_out_on_its_own_half():
    torch.manual_seed(0)
    face = torch.randn(1, MESH_POINTS, 3)
    smiling = face.clone()
    smiling[:, [61, 76]] += torch.tensor([-2.0, -3.0, 0.0])  # the person's right, up and aside
    change = (distances(smiling) - distances(face))[0]
    left, right = (dict(zip(DISTANCES, half.tolist(), strict=True)) for half in change)
    assert right["corner of the mouth up"] == pytest.approx(3.0, abs=1e-4)
    assert right["corner of the mouth out"] == pytest.approx(2.0, abs=1e-4)
    assert right["inner brow to eyes"] == 0.0
    assert all(value == 0.0 for value in left.values())


def test_units_are_read_on_people_it_was_not_fitted_on(reader):
    points, units = made_faces(10, 10, seed=2)
    read = reader(points.float()).double()
    assert read.shape == (100, 2, 3)
    found = correlations(reader, points.float(), units)
    assert min(r for of_unit in found.values() for r in of_unit.values()) > 0.9
    # Each half apart: the other half's unit tells little of it.
    both = torch.stack([read[:, 0, 1], units[:, 1, 1]])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.35


def test_a_unit_reads_its_own_region_alone(reader):
    points = made_faces(2, 2, seed=3)[0].float()
    brows = points.clone()
    moved = [55, 107, 285, 336]
    brows[:, moved, 1] += 0.2 * (points[:, 152, 1] - points[:, 168, 1])[:, None]
    change = (reader(brows) - reader(points)).abs().amax(dim=(0, 1))
    assert change[0] > 0.1 and change[1] == 0.0 and change[2] == 0.0


def test_gradient_flows_back_into_the_points(reader):
    points = made_faces(2, 1, seed=3)[0].float().requires_grad_()
    reader(points)[:, 0, 2].sum().backward()
    assert torch.isfinite(points.grad).all() and points.grad.abs().sum() > 0


def test_a_file_tells_the_units_that_were_chosen_and_no_others(reader, tmp_path):
    save_geometry(reader.only(("AU4", "AU26")), tmp_path / FILE)
    points = made_faces(2, 2, seed=3)[0].float()
    some = load_geometry(tmp_path / FILE)
    assert some.units == ("AU4", "AU26")
    assert torch.equal(some(points), reader(points)[:, :, [0, 2]])


def test_other_files_unknown_units_and_too_few_faces_are_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"no")
    with pytest.raises(UserError, match="is no reader of units"):
        load_geometry(tmp_path / FILE)
    with pytest.raises(UserError, match="are 30"):
        fit_geometry(*made_faces(3, 10, seed=1), UNITS)
    with pytest.raises(UserError, match="AU99: is told by no distance"):
        fit_geometry(*made_faces(12, 10, seed=1), ("AU4", "AU12", "AU99"))


@pytest.fixture
def folder(reader, tmp_path):
    """A reader of two units, in a folder of its own."""
    save_geometry(reader.only(("AU4", "AU12")), tmp_path / FILE)
    return tmp_path


def test_it_is_loaded_as_any_reader_of_units(folder, monkeypatch):
    torch.manual_seed(0)
    mesh = FaceMesh().eval()
    monkeypatch.setattr(geometry_units, "load_face_mesh", lambda: mesh)
    reader = load_unit_reader(folder)
    assert reader.units == ("AU4", "AU12") and reader.input_px == 192
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = load_geometry(folder / FILE)(mesh(images).points)
    assert reader(images).shape == (2, 2, 2)
    assert torch.allclose(reader(images), expected, rtol=1e-3, atol=1e-3)
    assert not reader.training and not any(p.requires_grad for p in reader.parameters())


def test_without_the_mesh_one_line_says_how_to_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SFE_ASSETS", str(tmp_path / "none"))
    with pytest.raises(UserError, match="sfe assets fetch face-mesh") as caught:
        load_unit_reader("geometry-units")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not FETCHED.is_file(), reason="sfe assets fetch face-mesh")
def test_a_smile_on_a_real_photo_reads_as_one_and_its_mirror_image_as_the_other_half(
    monkeypatch,
):
    face = torch.from_numpy(data.astronaut()[20:260, 105:345].copy()).permute(2, 0, 1)[None]
    images = torch.cat([face, face.flip(-1)]) / 127.5 - 1
    monkeypatch.setattr(geometry_units, "load_face_mesh", lambda: load_face_mesh(FETCHED))
    reader = load_unit_reader("geometry-units")
    found = reader(images)
    smile = reader.units.index("AU12")
    others = [index for index in range(len(reader.units)) if index != smile]
    assert found[:, :, smile].min() > 1.0 and found[:, :, smile].min() > found[:, :, others].max()
    assert torch.allclose(found[0], found[1].flip(0), atol=0.6)


def test_a_judge_by_geometry_needs_the_mesh_beside_it():
    config = Config.model_validate({"evaluate": {"units_judge": "geometry-units"}})
    names = [asset.name for asset in needed_assets(config)["evaluate"]]
    assert {"geometry-units", "face-mesh"} <= set(names)


def test_what_is_shipped_reads_the_units_that_its_card_says_hold():
    shipped = locate("geometry-units")
    card = (shipped / "README.md").read_text(encoding="utf-8")
    told = [line.split(" | ")[0].strip("| ") for line in card.splitlines() if "| yes |" in line]
    assert list(load_geometry(shipped / FILE).units) == told and len(told) >= 3


def test_the_card_tells_what_was_measured_and_the_file_holds_those_units_alone(reader, tmp_path):
    (tmp_path / NAME).mkdir()
    save_geometry(reader, tmp_path / NAME / FILE)
    r = {unit: {"halves": 0.61, "faces": 0.62} for unit in UNITS}
    scores = {"learnt_from": 400, "faces": 100, "correlation": r}
    (tmp_path / SCORES).write_text(json.dumps(scores), encoding="utf-8")
    units = {unit: {"neutral_mean": 1.5} for unit in UNITS}
    units["AU12"] |= {"emotion": "happiness", "auc": 0.913, "interval": [0.872, 0.951]}
    half = {"people": 77, "photos": {"neutral": 12, "happiness": 34}, "units": units}
    measured = {"photos": "some photos", "halves": [half, half], "holding": ["AU12"]}
    ship(tmp_path, measured, tmp_path / "embedded")
    assert load_geometry(tmp_path / "embedded" / NAME / FILE).units == ("AU12",)
    card = (tmp_path / "embedded" / NAME / "README.md").read_text(encoding="utf-8")
    assert "| AU12 | 0.61 | 0.62 | happiness | 0.91 | 0.87 to 0.95 | 0.91 | 1.5 | yes |" in card
    assert "| AU4 | 0.61 | 0.62 |  |  |  |  | 1.5 |  |" in card
    assert "some photos" in card and "34 happiness" in card


def test_points_are_read_once_and_kept(tmp_path, monkeypatch):
    torch.manual_seed(0)
    images = np.zeros((3, 32, 32, 3), np.uint8)
    images[1:, 8:24] = 200
    column = np.arange(3)
    faces = Faces(images, *[column] * 8)
    network = FaceMesh().eval()
    found = mesh_points(network, faces, tmp_path, "some")
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert torch.allclose(found, network(pictures).points, atol=1e-3)
    monkeypatch.setattr(network, "forward", None)  # it is not asked again
    assert torch.equal(mesh_points(network, faces, tmp_path, "some"), found)
