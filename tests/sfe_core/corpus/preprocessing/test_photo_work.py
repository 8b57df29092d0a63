"""What a worker makes of decoded photos: every artefact, every face, and one's fault alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.sections import Meaning
from sfe_core.corpus.artefacts.hashes import ArtefactHashes
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, artefacts_of, shaping_settings
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.manifest import COLUMNS
from sfe_core.corpus.preprocessing import photo_work
from sfe_core.corpus.preprocessing.photo_jobs import (
    DecodedPhoto,
    PhotoJob,
    WorkSettings,
    decode_job,
    faces_of_rows,
)
from sfe_core.corpus.preprocessing.photo_work import take_in
from sfe_core.errors import RunError, UserError
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.backends import load_detector
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.depth import DepthCode, DepthMaps, DepthView, MeshDepth
from sfe_core.faces.detection import Face
from sfe_core.faces.head import HeadModel
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Raster

EVERYTHING = {"full_canvas": True, "overlay": True, "save_meshes": True, "save_buffers": True}


def settings(**changes: object) -> PreprocessConfig:
    return PreprocessConfig(**({"crop_size": 64, "min_face_px": 24} | changes))


@dataclass(frozen=True)
class Order(WorkSettings):
    """Photos, and what they are taken in with."""

    jobs: tuple[PhotoJob, ...] = ()


def order_of(folder: Path, config: PreprocessConfig, **pictures: Image.Image) -> Order:
    """Photos on disk and the order to take them in."""
    jobs = []
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for key, picture in pictures.items():
        path = folder / "photos" / f"{key}.png"
        picture.save(path)
        jobs.append(PhotoJob(path, path.name, key, ""))
    return Order(folder / "corpus", config, ArtefactHashes({}), 1, tuple(jobs))


def decoded(order: Order) -> list[DecodedPhoto]:
    return [decode_job(job, order.config) for job in order.jobs]


@pytest.fixture(scope="module")
def pair(portrait: Image.Image) -> Image.Image:
    """Two faces, the right one smaller."""
    both = Image.new("RGB", (300, 160))
    both.paste(portrait, (0, 0))
    both.paste(portrait.resize((130, 130)), (165, 20))
    return both


@pytest.fixture(scope="module")
def complete(
    tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image, pair: Image.Image
) -> tuple[Order, list[dict]]:
    """One and two faces with every artefact there is."""
    folder = tmp_path_factory.mktemp("complete")
    config = settings(face_choice="all", **EVERYTHING)
    order = order_of(folder, config, one=portrait, two=pair)
    return order, take_in(decoded(order), order)


def test_all_faces_are_rows_with_keys_of_their_own(complete: tuple[Order, list[dict]]) -> None:
    _, rows = complete
    assert [(row["key"], row["photo"], row["face_number"]) for row in rows] == [
        ("one", "one.png", 1), ("two", "two.png", 1), ("two#2", "two.png", 2),
    ]  # fmt: skip
    assert rows[1]["crop_side"] > rows[2]["crop_side"] and rows[1]["crop_x"] < rows[2]["crop_x"]
    assert rows[1]["face_scores"] == [row["detection_score"] for row in rows[1:]]
    assert rows[1]["face_count"] == rows[2]["face_count"] == 2
    assert all(row["status"] == "ok" and set(row) <= COLUMNS.keys() for row in rows)


def test_every_artefact_is_there_and_aligned(complete: tuple[Order, list[dict]]) -> None:
    order, rows = complete
    wanted = {kind.name for kind in artefacts_of(order.config)}
    only_with_detail = {"geometry_coarse", "full_geometry_coarse", "detailed_meshes"}
    of_albums = {kind.name for kind in ARTEFACTS.values() if kind.of_album}
    assert wanted == ARTEFACTS.keys() - only_with_detail - of_albums
    corpus, row = order.corpus, rows[2]
    for name in wanted:
        assert len(row[ARTEFACTS[name].column]) == 64
        assert ARTEFACTS[name].path(corpus, "two#2").is_file()

    def read(name: str) -> np.ndarray:
        return np.asarray(Image.open(ARTEFACTS[name].path(corpus, "two#2")))

    transform = CropTransform(row["crop_x"], row["crop_y"], row["crop_side"])
    for name in ("mesh", "depth", "normals", "albedo", "lambertian"):
        inner, whole = read(name), read(f"full_{name}")
        assert inner.shape[:2] == (64, 64) and whole.shape[:2] == (160, 300)
        covered = inner.reshape(64, 64, -1).any(axis=2)
        y, x = (np.argwhere(whole.reshape(160, 300, -1).any(axis=2)) + 0.5).T
        places = transform.to_crop(np.stack([x, y], axis=1), 64)
        inside = ((places >= 0) & (places < 64)).all(axis=1)
        columns, lines = places[inside].astype(int).T
        assert covered[lines, columns].mean() > 0.97, name
        assert inside.sum() * (64 / transform.side) ** 2 == pytest.approx(covered.sum(), rel=0.03)
    assert read("full_depth").dtype == np.uint16 and read("overlay").shape == (160, 900, 3)


def test_codes_and_meshes_can_be_read_back(complete: tuple[Order, list[dict]]) -> None:
    order, rows = complete
    with np.load(ARTEFACTS["codes"].path(order.corpus, "one")) as codes:
        assert np.allclose(codes["actions"], rows[0]["actions"])
        assert codes["identity"].shape == (len(rows[0]["identity_fit"]),)
        assert codes["camera_rotation"].shape == (3, 3) and codes["camera_scale"] > 100
    import trimesh

    mesh = trimesh.load(ARTEFACTS["meshes"].path(order.corpus, "one"), process=False)
    head = HeadModel.load()
    assert mesh.triangles.shape == (len(head.faces), 3, 3)
    assert np.abs(mesh.triangles - head.mean[head.faces]).max() < 0.05  # metres
    assert mesh.triangles.std() > 0.04


@pytest.mark.slow
def test_company_changes_no_byte(complete: tuple[Order, list[dict]], tmp_path: Path) -> None:
    order, rows = complete
    single = replace(order, jobs=order.jobs[1:], corpus=tmp_path)
    assert take_in(decoded(single), single) == rows[1:]


def test_only_what_is_wanted_is_written_for_known_faces(
    complete: tuple[Order, list[dict]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, rows = complete
    known = faces_of_rows(list(reversed(rows[1:])))
    job = replace(order.jobs[1], wanted=frozenset({"overlay", "codes"}), known=known)
    single = replace(order, jobs=(job,), corpus=tmp_path)
    detector = load_detector("dlib")
    monkeypatch.setattr(detector, "detect_many", lambda images: [] if not images else 1 / 0)
    tools = (detector, AnnyReconstructor(), MeshDepth())
    monkeypatch.setattr(photo_work, "_tools", lambda config: tools)
    again = take_in(decoded(single), single)
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert written == ["codes/two#2.npz", "codes/two.npz", "overlay/two#2.png", "overlay/two.png"]
    for row, before in zip(again, rows[1:], strict=True):
        assert not {"inputs_sha256", "depth_sha256", "face_count", "face_scores"} & row.keys()
        assert {name: before[name] for name in row} == row
    assert faces_of_rows([{"status": "no_face"}]) is None and faces_of_rows([]) is None


class OddReconstructor(AnnyReconstructor):
    """Fails whenever a grey photo is among the faces."""

    def reconstruct(
        self, photos: Sequence[np.ndarray], landmarks: np.ndarray, boxes: np.ndarray
    ) -> list[Reconstruction]:
        if any(np.ptp(photo, axis=2).max() == 0 for photo in photos):
            raise ValueError("no colour")
        return super().reconstruct(photos, landmarks, boxes)


class ConstantDepth:
    """Depth of the photo's own width; fails for photos 160 wide."""

    code = DepthCode("1/m", 0.0, 4.0)
    of_mesh = False

    def depth_many(self, views: Sequence[DepthView]) -> list[DepthMaps]:
        if any(view.photo.shape[1] == 160 for view in views):
            raise ValueError("no depth")
        return [
            DepthMaps(np.full((64, 64), 7, np.uint16), np.full(view.photo.shape[:2], 9, np.uint16))
            for view in views
        ]


def test_ones_fault_is_ones_own(
    tmp_path: Path, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = portrait.resize((200, 200))
    order = order_of(
        tmp_path, settings(depth="zoedepth", full_canvas=True), good=large,
        grey=large.convert("L").convert("RGB"), deep=portrait, lawn=Image.new("RGB", (90, 90)),
    )  # fmt: skip
    tools = (load_detector("dlib"), OddReconstructor(), ConstantDepth())
    monkeypatch.setattr(photo_work, "_tools", lambda config: tools)
    rows = {row["key"]: row for row in take_in(decoded(order), order)}
    assert {key: row["status"] for key, row in rows.items()} == {
        "good": "ok", "grey": "failed", "deep": "failed", "lawn": "no_face",
    }  # fmt: skip
    assert "no colour" in rows["grey"]["reason"] and "no depth" in rows["deep"]["reason"]
    assert rows["grey"]["face_count"] == 1 and rows["good"]["depth_unit"] == "1/m"
    full = np.asarray(Image.open(ARTEFACTS["full_depth"].path(order.corpus, "good")))
    assert (full == 9).all() and full.shape == (200, 200)


class DetailedSurface:
    """A surface whose normals all look at the viewer; no texture."""

    light = None

    def normals(self, raster: Raster) -> np.ndarray:
        return np.where(raster.hit[..., None], np.array([0.0, 0.0, 1.0]), 0.0)

    def coarse_normals(self, raster: Raster) -> np.ndarray:
        return raster.normals

    def albedo(self, raster: Raster) -> None:
        return None


class DetailedReconstructor(AnnyReconstructor):
    surface: DetailedSurface = DetailedSurface()

    def reconstruct(self, *faces: object) -> list[Reconstruction]:
        heads = super().reconstruct(*faces)
        return [replace(head, surface=self.surface) for head in heads]


def test_a_backend_with_detail_has_two_geometries(
    tmp_path: Path, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = (load_detector("dlib"), DetailedReconstructor(), MeshDepth())
    monkeypatch.setattr(photo_work, "_tools", lambda config: tools)
    order = order_of(tmp_path, settings(reconstruction="emoca", full_canvas=True), a=portrait)
    (row,) = take_in(decoded(order), order)
    assert row["status"] == "ok" and len(row["full_geometry_coarse_sha256"]) == 64
    detail, coarse = (
        np.asarray(Image.open(ARTEFACTS[name].path(order.corpus, "a")))
        for name in ("mesh", "geometry_coarse")
    )
    hit = detail.any(axis=2)
    assert len(np.unique(detail[hit])) == 1 and len(np.unique(coarse[hit])) > 30
    textured = replace(order, config=settings(reconstruction="emoca", save_buffers=True))
    with pytest.raises(UserError, match="no texture model.*save_buffers"):
        take_in(decoded(textured), textured)


class TexturedSurface(DetailedSurface):
    """The same in one colour under a light from above."""

    light = np.array([[1.0] * 3, [0.0] * 3, [0.5] * 3, *[[0.0] * 3] * 6])

    def albedo(self, raster: Raster) -> np.ndarray:
        return np.where(raster.hit[..., None], 0.5, 0.0) * np.ones(3)


@pytest.mark.parametrize("detail", ["fine", "coarse"])
def test_normals_and_shading_are_of_the_surface_asked_for(
    tmp_path: Path, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch, detail: str
) -> None:
    monkeypatch.setattr(DetailedReconstructor, "surface", TexturedSurface())
    tools = (load_detector("dlib"), DetailedReconstructor(), MeshDepth())
    monkeypatch.setattr(photo_work, "_tools", lambda config: tools)
    asked = settings(reconstruction="emoca", save_buffers=True, buffer_normals=detail)
    order = order_of(tmp_path, asked, a=portrait)
    take_in(decoded(order), order)
    for name in ("normals", "lambertian"):
        drawn = np.asarray(Image.open(ARTEFACTS[name].path(order.corpus, "a")))
        colours = len(np.unique(drawn[drawn.any(axis=2)], axis=0))
        assert colours == 1 if detail == "fine" else colours > 30, name
    mesh = np.asarray(Image.open(ARTEFACTS["mesh"].path(order.corpus, "a")))
    assert len(np.unique(mesh[mesh.any(axis=2)])) == 1, "the geometry's picture keeps its detail"


def test_a_render_that_came_with_the_photo_takes_the_meshs_place(
    tmp_path: Path, portrait: Image.Image
) -> None:
    given = np.zeros((160, 160, 3), np.uint8)
    given[40:120, 50:110] = (10, 200, 30)
    folder = tmp_path / "maps" / "geometry_detail"
    folder.mkdir(parents=True)
    Image.fromarray(given).save(folder / "a.png")
    order = order_of(tmp_path, settings(full_canvas=True), a=portrait)
    (row,) = take_in(decoded(order), order)
    full = np.asarray(Image.open(ARTEFACTS["full_mesh"].path(order.corpus, "a")))
    canvas = np.asarray(Image.open(ARTEFACTS["canvas"].path(order.corpus, "a")))
    assert np.array_equal(full, given)
    assert np.abs(canvas[80, 80].astype(int) - (10, 200, 30)).max() < 4
    assert row["mesh_coverage"] == pytest.approx(60 * 80 / row["crop_side"] ** 2, rel=0.05)


def test_photos_are_decoded_into_a_status(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    gone = decode_job(PhotoJob(path, "a.png", "a", "x"), settings())
    assert (gone.pixels, gone.status, gone.sha256) == (None, "unreadable", "")
    path.write_bytes(b"text")
    torn = decode_job(PhotoJob(path, "a.png", "a", "x"), settings())
    assert torn.status == "unreadable" and len(torn.sha256) == 64


def test_an_artefact_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "codes").write_text("a file where a folder must be")
    with pytest.raises(RunError, match="codes"):
        write_artefact(tmp_path / "codes" / "a.npz", {"x": np.zeros(3)})


def test_same_content_gives_same_bytes(tmp_path: Path) -> None:
    mesh = (np.random.default_rng(0).random((5, 3)), np.array([[0, 1, 2], [2, 3, 4]]))
    contents = {"a.npz": {"x": np.arange(3.0), "y": np.eye(2)}, "a.obj": mesh}
    for name, content in contents.items():
        assert write_artefact(tmp_path / name, content) == write_artefact(
            tmp_path / "again" / name, content
        )


def test_settings_shape_only_what_they_concern() -> None:
    plain, zoe = settings(), settings(depth="zoedepth", overlay=True)
    changed = {
        kind.name for kind in ARTEFACTS.values() if kind.settings(plain) != kind.settings(zoe)
    }
    assert changed == {"depth", "full_depth", "overlay"}
    assert shaping_settings(plain, Meaning.FACE) == shaping_settings(zoe, Meaning.FACE)
    wider = settings(crop_scale=2.0)
    same = {
        kind.name for kind in ARTEFACTS.values() if kind.settings(plain) == kind.settings(wider)
    }
    assert {"codes", "meshes", "full_mesh"} <= same and "inputs" not in same


def test_faces_are_what_rows_say() -> None:
    face = Face((1.0, 2.0, 30.0, 40.0), np.arange(136, dtype=np.float32).reshape(68, 2), 0.7)
    row = {
        "box": list(face.box), "landmarks": face.landmarks.ravel().tolist(),
        "detection_score": 0.7, "face_number": 1,
    }  # fmt: skip
    (again,) = faces_of_rows([row])
    assert again.box == face.box and again.score == face.score
    assert np.array_equal(again.landmarks, face.landmarks)
    assert again.landmarks.dtype == np.float32
