"""`--in-photo`: the edited crop in its photo, all else of the photo as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.single_photo import scene_of_photo
from sfe_core.errors import RunError, UserError
from sfe_core.faces.laying_back import EDGE
from sfe_core.sampling.editing import edit as module
from sfe_core.sampling.editing import in_photo
from sfe_core.sampling.editing.edit import edit
from sfe_core.sampling.editing.request import Edit, EditRequest
from sfe_core.sampling.pngs import read_record
from tests.sfe_core.sampling.editing.rigged import SIDE, make_rigged, write_photo

HEIGHT, WIDTH = 200, 260
_ROTATED = 6  # EXIF orientation: the stored picture is to be turned clockwise by a quarter


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With photos whose face stands in the middle, lies beyond a border, or is turned."""
    root = tmp_path_factory.mktemp("in-photo")
    made = make_rigged(root)
    face = Image.open(write_photo(root / "face.png", 11))
    ground = np.random.default_rng(0).integers(90, 150, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    for name, place in {"middle": (70, 40), "corner": (-14, 90)}.items():
        photo = Image.fromarray(ground)
        photo.paste(face, place)
        photo.save(_photo(made, name))
    turned = Image.fromarray(ground)
    turned.paste(face.rotate(-90), (70, 40))
    turned.save(_photo(made, "turned"))
    stored = Image.open(root / "in" / "middle.png").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = _ROTATED
    stored.save(root / "in" / "tagged.png", exif=exif)
    return made


def _photo(workspace: Workspace, name: str) -> Path:
    path = workspace.root / "in" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    return path


def request(workspace: Workspace, *names: str, **options: Any) -> EditRequest:
    photos = tuple(_photo(workspace, name) for name in names)
    options = {"steps": 2, "redraws": 0, "in_photo": True, **options}
    return EditRequest(photos, Edit(yaw=15.0), **options)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def depth_in_crop(workspace: Workspace, name: str) -> np.ndarray:
    """[H, W] how far each pixel lies within the square of the face, shares of its side."""
    scene = scene_of_photo(_photo(workspace, name), workspace.config.preprocess)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    place = scene.transform.to_crop(np.stack([x, y], axis=-1), 1)
    return np.minimum(place, 1 - place).min(axis=2)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the photos that are fitted from now on."""
    seen: list[Path] = []
    real = module.PhotoScenes.scene

    def scene(self: Any, path: Path) -> Any:
        seen.append(path)
        return real(self, path)

    monkeypatch.setattr(module.PhotoScenes, "scene", scene)
    return lambda: len(seen)


@pytest.mark.parametrize("name", ["middle", "corner", "turned"])
def test_beyond_the_crop_the_photo_is_untouched_and_within_it_is_the_edits(
    workspace: Workspace, name: str
) -> None:
    made = edit(workspace, request(workspace, name))
    (laid,) = made.in_photo
    assert laid == made.folder / "in_photo" / f"{name}.png"
    photo, shown = pixels(_photo(workspace, name)), pixels(laid)
    depth = depth_in_crop(workspace, name)
    assert shown.shape == photo.shape and (depth < 0).any()
    assert np.array_equal(shown[depth < 0], photo[depth < 0])
    off = np.abs(shown.astype(int) - photo).mean(axis=2)
    # A random rig draws nothing but noise, far from the photo; it comes in bit by bit.
    shares = [off[(depth > low) & (depth <= low + 0.015)].mean() for low in (0.0, 0.02, 0.045)]
    assert shares == sorted(shares) and shares[0] < 0.25 * off[depth > EDGE].mean()
    (entry,) = json.loads(made.report.read_text(encoding="utf-8"))["pictures"]
    assert entry["in_photo"] == f"in_photo/{name}.png" and entry["file"] == f"{name}.png"
    assert pixels(made.pictures[0]).shape == (SIDE, SIDE, 3)


def test_a_photo_is_laid_as_it_is_seen_not_as_it_is_stored(workspace: Workspace) -> None:
    upright, tagged = (
        edit(workspace, request(workspace, name)).in_photo[0] for name in ("middle", "tagged")
    )
    assert Image.open(_photo(workspace, "tagged")).size == (HEIGHT, WIDTH)
    assert Image.open(tagged).size == Image.open(upright).size == (WIDTH, HEIGHT)
    outside = depth_in_crop(workspace, "middle") < 0
    assert np.array_equal(pixels(tagged)[outside], pixels(upright)[outside])


def test_with_the_surround_kept_only_the_head_is_the_edits(workspace: Workspace) -> None:
    # With room round the head.
    workspace = load_workspace(workspace.root, ["preprocess.crop_scale=2.4"])
    made = edit(workspace, request(workspace, "middle", keep_surround=True))
    off = pixels(made.in_photo[0]).astype(int) - pixels(_photo(workspace, "middle"))
    off = np.abs(off).mean(axis=2)
    config = workspace.config.preprocess
    scene = scene_of_photo(_photo(workspace, "middle"), config)
    head = scene.full_mesh.any(axis=2)
    # The turn, and the soft edge of some pixels of 32, reach no farther than this.
    lit = distance_transform_edt(~head) < 0.24 * scene.transform.side
    inside = depth_in_crop(workspace, "middle") > EDGE
    assert (inside & ~lit).sum() > 100 and (off[~lit] == 0).all()
    assert off[head & inside].mean() > 20


def test_what_stands_is_neither_drawn_nor_fitted_nor_written_again(
    workspace: Workspace, fitted: Callable[[], int]
) -> None:
    asked = request(workspace, "middle", "corner", seed=3, keep_surround=True)
    made = edit(workspace, asked)
    assert made.drawn == 2 and fitted() == 2
    paths = [*made.pictures, *made.in_photo]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
    again = edit(workspace, asked)
    assert (again.drawn, again.in_photo, fitted()) == (0, made.in_photo, 2)
    assert all(path.stat().st_mtime_ns == before[path][0] for path in paths)
    # What is lost is laid anew from the picture that stands, to the same bytes.
    made.in_photo[1].write_bytes(b"torn")
    made.in_photo[1].unlink()
    again = edit(workspace, asked)
    assert again.drawn == 0 and fitted() == 3
    assert made.in_photo[1].read_bytes() == before[made.in_photo[1]][1]
    assert all(path.stat().st_mtime_ns == before[path][0] for path in made.pictures)


def test_asked_for_afterwards_the_standing_crops_are_laid(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = edit(workspace, request(workspace, "middle", "turned", seed=5, in_photo=False))
    assert bare.in_photo == () and not (bare.folder / "in_photo").exists()
    report = json.loads(bare.report.read_text(encoding="utf-8"))
    assert all("in_photo" not in entry for entry in report["pictures"])
    monkeypatch.setattr(module, "load_rig_pipeline", None)  # nothing is drawn, no rig loaded
    made = edit(workspace, request(workspace, "middle", "turned", seed=5))
    assert made.folder == bare.folder and made.drawn == 0
    assert [read_record(path) is not None for path in made.in_photo] == [True, True]


def test_a_sweep_is_laid_picture_by_picture_and_reads_its_photo_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = in_photo.decode_job

    def counted(job: Any, config: Any) -> Any:
        read.append(job.key)
        return real(job, config)

    monkeypatch.setattr(in_photo, "decode_job", counted)
    asked = request(workspace, "middle", "corner", sweep="strength", count=2)
    made = edit(workspace, asked)
    assert read == ["middle", "corner"]
    assert [path.relative_to(made.folder / "in_photo") for path in made.in_photo] == [
        path.relative_to(made.folder) for path in made.pictures
    ]
    assert all(pixels(path).shape == (HEIGHT, WIDTH, 3) for path in made.in_photo)


def test_killed_between_crop_and_photo_it_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = request(workspace, "middle", "corner")
    laid: list[str] = []
    real = in_photo.PhotoLayer.lay

    def dies(self: Any, shot: Any, *rest: Any) -> None:
        if laid:
            raise KeyboardInterrupt
        laid.append(shot.file)
        real(self, shot, *rest)

    monkeypatch.setattr(in_photo.PhotoLayer, "lay", dies)
    with pytest.raises(KeyboardInterrupt):
        edit(workspace, asked, folder=tmp_path)
    monkeypatch.undo()
    kept = [tmp_path / "middle.png", tmp_path / "corner.png", tmp_path / "in_photo" / "middle.png"]
    times = [path.stat().st_mtime_ns for path in kept]
    assert not (tmp_path / "in_photo" / "corner.png").exists()
    made = edit(workspace, asked, folder=tmp_path)
    assert made.drawn == 0 and all(path.is_file() for path in made.in_photo)
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_what_is_in_the_way_is_told(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "in_photo").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in_photo" / "middle.png")
    with pytest.raises(UserError, match="was not drawn by sfe"):
        edit(workspace, request(workspace, "middle"), folder=tmp_path)
    clash = tmp_path / "clash"
    (clash / "in_photo").mkdir(parents=True)
    for path in (clash / "a.png", clash / "in_photo" / "a.png"):
        os.link(_photo(workspace, "middle"), path)
    asked = EditRequest((clash,), Edit(yaw=15.0), steps=2, redraws=0, in_photo=True)
    with pytest.raises(UserError, match="two pictures would be in_photo/a.png; rename"):
        edit(workspace, asked, folder=tmp_path / "out")


def test_a_photo_that_changes_meanwhile_is_told(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(_photo(workspace, "middle").read_bytes())
    real = module._save

    def save(folder: Path, drawn: Any) -> None:
        real(folder, drawn)
        Image.new("RGB", (300, 300), "green").save(photo)

    monkeypatch.setattr(module, "_save", save)
    asked = EditRequest((photo,), Edit(yaw=15.0), steps=2, redraws=0, in_photo=True)
    with pytest.raises(RunError, match="changed while it was edited"):
        edit(workspace, asked, folder=tmp_path / "out")
