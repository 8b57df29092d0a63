"""Photos to meshes, codes, landmarks and renders: what is written, what stands, what fails."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.preprocessing import plan
from sfe_core.corpus.preprocessing.pool import answers_of_batches, end_with_parent
from sfe_core.corpus.preprocessing.single_photo import scene_of_photo
from sfe_core.corpus.reconstruction import reconstruct as reconstruct_module
from sfe_core.corpus.reconstruction import saving as module
from sfe_core.corpus.reconstruction.reconstruct import reconstruct
from sfe_core.errors import RunError, UserError
from sfe_core.faces.flame.parameters import load_flame
from sfe_core.faces.rendering import Camera
from tests.emoca_files import write_emoca_model
from tests.flame_files import write_flame_model
from tests.listening import Listener

CONFIG = PreprocessConfig(crop_size=64, face_choice="all")
RENDERS = ("albedo", "geometry", "inputs", "lambertian", "normals", "overlay")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image) -> Path:
    """A face, two faces in one photo, a landscape and a torn file."""
    folder = tmp_path_factory.mktemp("photos")
    portrait.save(folder / "a.b.png")
    (folder / "sub").mkdir()
    two = Image.new("RGB", (360, 200), "white")
    two.paste(portrait, (10, 20))
    two.paste(portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (190, 20))
    two.save(folder / "sub" / "two.png")
    Image.new("RGB", (100, 100), "green").save(folder / "lawn.png")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0torn")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> tuple[Path, Listener]:
    out, listener = tmp_path_factory.mktemp("out") / "heads", Listener()
    summary = reconstruct(photos, out, CONFIG, reporter=listener)
    assert (summary.photos, summary.done, summary.faces, summary.kept) == (4, 2, 3, 0)
    with pytest.raises(RunError, match="2 of 4 photos failed"):
        summary.check()
    return out, listener


def test_every_face_has_every_file_and_a_row(done: tuple[Path, Listener]) -> None:
    out, listener = done
    for key in ("a.b", "sub/two", "sub/two#2"):
        for name in ("meshes/{}.obj", "meshes/{}.glb", "codes/{}.npz", "codes/{}.json",
                     "landmarks/{}.npy", "landmarks/{}.json"):  # fmt: skip
            assert (out / name.format(key)).is_file(), name
        for name in RENDERS:
            assert Image.open(out / "renders" / name / f"{key}.png").getbbox() is not None
    assert Image.open(out / "renders/albedo/a.b.png").size == (64, 64)
    with (out / "faces.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["key"], row["status"]) for row in rows] == [
        ("a.b", "ok"), ("lawn", "no_face"), ("sub/two", "ok"), ("sub/two#2", "ok"),
        ("torn", "unreadable"),
    ]  # fmt: skip
    told = [line for line in listener.warnings if "no_face" in line or "unreadable" in line]
    assert sorted(line.split(":")[0] for line in told) == ["lawn.png", "torn.jpg"]
    assert not list(out.rglob(".sfe-partial-*"))


def test_mesh_codes_and_landmarks_are_those_of_the_scene(
    done: tuple[Path, Listener], photos: Path
) -> None:
    out, _ = done
    scene = scene_of_photo(photos / "a.b.png", CONFIG)
    used = np.unique(scene.head.faces)
    for suffix in (".glb", ".obj"):
        mesh = trimesh.load_mesh(out / f"meshes/a.b{suffix}", process=False)
        assert np.abs(mesh.vertices - scene.head.points[used]).max() < 1e-6
        assert np.array_equal(used[mesh.faces], scene.head.faces)
        assert len(np.unique(mesh.visual.vertex_colors, axis=0)) > 3
    told = json.loads((out / "codes/a.b.json").read_text())
    with np.load(out / "codes/a.b.npz") as codes:
        assert sorted(codes) == sorted(told)
        for name, values in codes.items():
            assert np.array_equal(np.asarray(told[name], values.dtype), values), name
        camera = Camera(
            codes["camera_rotation"], float(codes["camera_scale"]), codes["camera_translation"]
        )
    # The file's camera leads from the file's mesh to where the head lies in the photo.
    assert np.allclose(camera.project(mesh.vertices), scene.head.vertices[used], atol=1e-2)
    points = np.load(out / "landmarks/a.b.npy")
    assert np.allclose(points, scene.landmarks)
    assert np.allclose(json.loads((out / "landmarks/a.b.json").read_text())["found"], points)
    assert np.array_equal(np.asarray(Image.open(out / "renders/normals/a.b.png")), scene.normals)


def _stamps(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.name != "faces.csv"}


def test_what_is_there_is_not_done_again_and_what_is_not_is(
    done: tuple[Path, Listener], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = done
    before = _stamps(out)
    summary = reconstruct(photos, out, CONFIG)
    assert (summary.done, summary.kept, summary.faces) == (0, 2, 3)
    assert _stamps(out) == before
    (out / "meshes" / "a.b.glb").unlink()
    assert reconstruct(photos, out, CONFIG, ("codes",)).done == 0
    assert reconstruct(photos, out, CONFIG, ("codes", "meshes")).done == 1
    after = _stamps(out)
    assert after.keys() == before.keys()
    changed = {path.relative_to(out).as_posix() for path in after if after[path] != before[path]}
    assert changed == {"meshes/a.b.glb", "meshes/a.b.obj", "records/a.b.json", "settings.json"}
    # With nothing to do, no model is loaded.
    monkeypatch.setattr(module, "photo_detector", None)
    assert reconstruct(photos / "a.b.png", out, CONFIG).kept == 1


def test_other_settings_are_refused_or_replace(
    tmp_path: Path, photos: Path, portrait: Image.Image
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    Image.open(photos / "sub" / "two.png").save(folder / "x.png")
    reconstruct(folder, out, CONFIG, ("codes", "landmarks"))
    larger = CONFIG.model_copy(update={"crop_size": 96})
    with pytest.raises(UserError, match="crop_size 64 there and 96 now.*--force"):
        reconstruct(folder, out, larger, ("codes",))
    # Nobody reads FLAME for Anny.
    assert reconstruct(folder, out, CONFIG.model_copy(update={"flame": "x"}), ("codes",)).kept == 1
    # Another photo of the same name: what was of the old one goes, a second face, too.
    portrait.save(folder / "x.png")
    assert reconstruct(folder, out, CONFIG, ("codes",)).done == 1
    assert sorted(path.name for path in out.glob("*/x*")) == ["x.json", "x.json", "x.npz"]
    assert reconstruct(folder, out, larger, ("codes",), force=True).done == 1


def test_a_call_without_its_models_claims_no_folder(tmp_path: Path, photos: Path) -> None:
    emoca = CONFIG.model_copy(update={"reconstruction": "emoca"})
    with pytest.raises(UserError, match="emoca-v2"):
        reconstruct(photos / "a.b.png", tmp_path / "out", emoca, ("codes",))
    assert reconstruct(photos / "a.b.png", tmp_path / "out", CONFIG, ("codes",)).done == 1


def test_pictures_in_the_photos_frame(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    reconstruct(photos / "sub" / "two.png", out, CONFIG, ("renders",), photo_frame=True)
    pictures = [np.asarray(Image.open(out / f"renders/lambertian/two{n}.png")) for n in ("", "#2")]
    assert pictures[0].shape == (200, 360, 3)
    middles = sorted(np.nonzero(p.any(axis=2))[1].mean() for p in pictures)
    assert middles[0] < 140 and middles[1] > 220
    assert not (out / "renders" / "inputs").exists()


@pytest.mark.slow
def test_several_processes_give_the_files_of_one(
    tmp_path: Path, photos: Path, done: tuple[Path, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "BATCH_SIZE", 1)  # as if there were many photos
    used = []
    real = reconstruct_module.answers_of_batches

    def counted(work: Any, parts: Any, workers: int, **how: Any) -> Any:
        used.append(workers)
        return real(work, parts, workers, **how)

    monkeypatch.setattr(reconstruct_module, "answers_of_batches", counted)
    listener, out = Listener(), tmp_path / "out"
    summary = reconstruct(photos, out, CONFIG, reporter=listener, workers=2)
    assert used == [2]
    assert (summary.photos, summary.done, summary.faces, summary.kept) == (4, 2, 3, 0)
    assert [failure.photo for failure in summary.failures] == ["lawn.png", "torn.jpg"]
    assert sorted(listener.warnings) == sorted(done[1].warnings)
    alone = {path.relative_to(done[0]) for path in done[0].rglob("*") if path.is_file()}
    assert {path.relative_to(out) for path in out.rglob("*") if path.is_file()} == alone
    for name in ("codes/a.b.json", "landmarks/sub/two#2.json", "settings.json"):
        assert (out / name).read_bytes() == (done[0] / name).read_bytes()
    assert reconstruct(photos, out, CONFIG, workers=2).kept == 2


@pytest.mark.parametrize(
    ("device", "workers", "settings", "processes"),
    [
        (None, 1, {"workers": 4}, 1),
        (None, 3, {}, 3),
        (None, None, {"workers": 4, "depth": "zoedepth"}, 4),
        ("cpu", None, {"workers": 4, "reconstruction": "emoca"}, 4),
        ("cuda", None, {"workers": 4}, 1),
    ],
)
def test_where_it_is_done(
    device: str | None, workers: int | None, settings: dict, processes: int
) -> None:
    config = CONFIG.model_copy(update=settings)
    assert reconstruct_module._place(config, device, workers).processes == processes


def test_workers_start_without_torch() -> None:
    code = f"import sys, {module.__name__}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def _die(_: object) -> None:
    os._exit(3)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line() -> None:
    with pytest.raises(RunError, match="sfe reconstruct: a worker process died.*--workers 1"):
        list(
            answers_of_batches(
                _die, iter([()]), 2, prepare=int, join=end_with_parent, what="sfe reconstruct"
            )
        )


def test_one_bad_photo_is_one_line(tmp_path: Path, photos: Path) -> None:
    listener = Listener()
    summary = reconstruct(photos / "torn.jpg", tmp_path / "out", CONFIG, reporter=listener)
    with pytest.raises(RunError, match="torn.jpg: unreadable.*give another photo"):
        summary.check()
    assert listener.warnings == []


def test_an_odd_photo_does_not_end_the_run(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = module.faces_in_photo

    def broken(photo, *rest):
        if photo.job.key == "a.b":
            raise ZeroDivisionError("odd")
        return whole(photo, *rest)

    monkeypatch.setattr(module, "faces_in_photo", broken)
    summary = reconstruct(photos, tmp_path / "out", CONFIG, ("codes",))
    told = {failure.key: failure.told for failure in summary.failures}
    assert told["a.b"] == "a.b.png: failed: ZeroDivisionError: odd" and summary.done == 1


@pytest.mark.parametrize(
    ("source", "out", "changes", "said"),
    [
        ("empty", "out", {}, "holds no photo.*name a picture"),
        ("gone", "out", {}, "does not exist"),
        ("full", "full/out", {}, "lies among the photos"),
        ("full", "out", {"device": "abacus"}, "--device abacus.*cannot be used"),
        ("full", "out", {"device": "meta", "workers": 2}, "--workers 2.*leave out --device meta"),
        ("full", "out", {"kinds": ("detailed-meshes",)}, "no finer surface.*emoca or deca"),
    ],
)
def test_mistakes(
    tmp_path: Path, portrait: Image.Image, source: str, out: str, changes: dict, said: str
) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    portrait.save(tmp_path / "full" / "a.png")
    with pytest.raises(UserError, match=said):
        reconstruct(tmp_path / source, tmp_path / out, CONFIG, **changes)


@pytest.fixture(scope="module")
def emoca(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings for EMOCA with random weights."""
    flame = write_flame_model(tmp_path_factory.mktemp("flame"))
    template = torch.tensor(load_flame(flame).v_template).float()
    folder = tmp_path_factory.mktemp("emoca") / "EMOCA_v2_lr_mse_20"
    model = write_emoca_model(folder, template, exp_deca_jaw_pose=True)
    return {"reconstruction": "emoca", "reconstruction_model": str(model), "flame": str(flame)}


@pytest.mark.slow
def test_emoca_with_and_without_a_texture_model(
    tmp_path: Path, emoca: dict[str, str], photos: Path
) -> None:
    config, photo = CONFIG.model_copy(update=emoca), photos / "a.b.png"
    listener, out = Listener(), tmp_path / "out"
    reconstruct(photo, out, config, device="cpu", reporter=listener)
    assert listener.warnings == [] and (out / "renders/albedo/a.b.png").is_file()
    with np.load(out / "codes" / "a.b.npz") as codes:
        assert codes["exp"].shape == (50,) and codes["pose"].shape == (6,)
    painted = trimesh.load_mesh(out / "meshes" / "a.b.glb", process=False)
    assert len(painted.vertices) == len(load_flame(Path(emoca["flame"])).v_template)
    assert len(np.unique(painted.visual.vertex_colors, axis=0)) > 3
    reconstruct(photo, out, config, ("detailed-meshes",), device="cpu")
    fine = trimesh.load_mesh(out / "detailed_meshes" / "a.b.glb", process=False)
    assert len(fine.vertices) > len(painted.vertices)

    (Path(emoca["flame"]) / "FLAME_albedo_from_BFM.npz").unlink()
    with pytest.raises(UserError, match="other model files"):
        reconstruct(photo, out, config, device="cpu")
    reconstruct(photo, out, config, device="cpu", reporter=listener, force=True)
    assert len(listener.warnings) == 1 and "no texture model" in listener.warnings[0]
    plain = trimesh.load_mesh(out / "meshes" / "a.b.glb", process=False)
    assert np.array_equal(painted.vertices, plain.vertices)
    assert not list(out.glob("renders/albedo/*")) and not list(out.glob("detailed_meshes/*"))
