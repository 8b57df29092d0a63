"""From photos to pictures by a random rig: nothing to recognise, all else as it should be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import binary_dilation

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.people.mean_shape import mean_shape
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import UserError
from sfe_core.files import derive_seed
from sfe_core.sampling.editing.drawing import EditJob, draw_edits
from sfe_core.sampling.editing.edit import Edited, edit
from sfe_core.sampling.editing.plan import EditShot, Source
from sfe_core.sampling.editing.request import Edit, EditRequest
from sfe_core.sampling.pngs import read_record, read_remarks
from sfe_core.synthesis.photos import synthesize_albums
from tests.listening import Listener
from tests.sfe_core.sampling.editing.rigged import SIDE, make_rigged, write_photo

STEPS = 2
# `python -c KILLED ROOT`: edit a folder, and be killed when the second picture is written.
KILLED = """
import os, signal, sys
from pathlib import Path
from sfe_core.config.loading import load_workspace
from sfe_core.sampling.editing import edit as module
from sfe_core.sampling.editing.request import Edit, EditRequest
save, written = module._save, []
def save_and_die(folder, drawn):
    save(folder, drawn)
    written.append(drawn)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
module._save = save_and_die
root = Path(sys.argv[1])
request = EditRequest((root / "in",), Edit(yaw=20.0), steps=2, redraws=0)
module.edit(load_workspace(root), request, folder=root / "out")
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a folder `in` of three photos and a lawn, and a target."""
    root = tmp_path_factory.mktemp("edits")
    made = make_rigged(root)
    for number, identity in enumerate((5, 9, 21)):
        write_photo(root / "in" / f"{number}.png", 11 + number, "neutral", identity)
    Image.new("RGB", (100, 100), "green").save(root / "in" / "lawn.png")
    write_photo(root / "target.png", 33, "surprise", 77)
    return made


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def one(workspace: Workspace, made: Edit, **options: Any) -> EditRequest:
    options = {"steps": STEPS, "redraws": 0, **options}
    return EditRequest((workspace.root / "in" / "0.png",), made, **options)


@pytest.fixture(scope="module")
def folder_edited(workspace: Workspace) -> tuple[Edited, Listener]:
    target, listener = workspace.root / "target.png", Listener()
    request = EditRequest(
        (workspace.root / "in",),
        Edit(expression_of=target, pose_of=target, light_of=target, jaw=0.4),
        steps=STEPS,
        redraws=1,
    )
    return edit(workspace, request, reporter=listener), listener


def test_a_folder_becomes_pictures_buffers_a_sheet_and_a_report(
    folder_edited: tuple[Edited, Listener], workspace: Workspace
) -> None:
    made, listener = folder_edited
    assert [path.relative_to(made.folder).as_posix() for path in made.pictures] == [
        "0.png", "1.png", "2.png",
    ]  # fmt: skip
    assert made.folder.is_relative_to(workspace.generated / "edits") and made.drawn == 3
    report = json.loads(made.report.read_text(encoding="utf-8"))
    assert len(report["pictures"]) == 3 and set(report["skipped"]) == {"lawn"}
    assert any("lawn is left out: no_face" in line for line in listener.warnings)
    for entry in report["pictures"]:
        assert pixels(made.folder / entry["file"]).shape == (SIDE, SIDE, 3)
        strip = pixels(made.folder / entry["buffers"])
        assert strip.shape == (SIDE, 4 * SIDE, 3)
        panels = np.split(strip, 4, axis=1)
        assert all(panel.std() > 5 for panel in panels)
        assert entry["asked"]["jaw"] == 0.4 and len(entry["asked"]["pose_of"]) == 64
        assert entry["edited"]["angles"] != entry["source"]["angles"]
        assert len(entry["edited"]["expression"]) == 52 and len(entry["edited"]["light"]) == 27
    # All three have the target's pose.
    poses = [entry["edited"]["angles"] for entry in report["pictures"]]
    np.testing.assert_allclose(poses[1:], [poses[0]] * 2, atol=1e-3)
    (sheet,) = made.sheets
    assert Image.open(sheet).width > 5 * 96


def test_noise_is_told_and_drawn_again(folder_edited: tuple[Edited, Listener]) -> None:
    made, listener = folder_edited
    # A random rig draws nothing but noise.
    assert made.redrawn == made.noisy == ("0.png", "1.png", "2.png")
    assert any("drawn again with another seed" in line for line in listener.lines)
    assert any("stay noisy" in line for line in listener.warnings)
    remarks = read_remarks(made.pictures[0])
    assert remarks["redrawn"] == 1 and remarks["noise"] > remarks["most_noise"]


def test_what_is_there_is_kept_and_what_is_lost_is_drawn_alike(
    folder_edited: tuple[Edited, Listener], workspace: Workspace
) -> None:
    made, _ = folder_edited
    target = workspace.root / "target.png"
    request = EditRequest(
        (workspace.root / "in",),
        Edit(expression_of=target, pose_of=target, light_of=target, jaw=0.4),
        steps=STEPS,
        redraws=1,
    )
    before = [path.read_bytes() for path in made.pictures]
    made.pictures[1].unlink()
    times = made.pictures[0].stat().st_mtime_ns
    again = edit(workspace, request)
    assert again.folder == made.folder and again.drawn == 1
    assert made.pictures[0].stat().st_mtime_ns == times
    assert read_record(again.pictures[1]) is not None
    # Drawn alone instead of among others, it differs by rounding at most.
    assert np.abs(pixels(again.pictures[1]).astype(int) - _of(before[1])).max() <= 2
    assert edit(workspace, replace(request, steps=3)).folder != made.folder


def _of(content: bytes) -> np.ndarray:
    from io import BytesIO

    return np.asarray(Image.open(BytesIO(content)).convert("RGB"), int)


@pytest.mark.slow
def test_a_killed_edit_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    make_rigged(tmp_path)
    for photo in (workspace.root / "in").glob("*.png"):
        target = tmp_path / "in" / photo.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(photo.read_bytes())
    env = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, env=env,
        check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = sorted((tmp_path / "out").glob("*.png"))
    assert [path.name for path in kept] == ["0.png", "1.png"]
    times = [path.stat().st_mtime_ns for path in kept]
    request = EditRequest((tmp_path / "in",), Edit(yaw=20.0), steps=2, redraws=0)
    made = edit(load_workspace(tmp_path), request, folder=tmp_path / "out")
    assert made.drawn == 1 and len(made.pictures) == 3
    assert times == [path.stat().st_mtime_ns for path in kept]


def test_a_pictures_seed_is_its_photos_and_the_callers(workspace: Workspace) -> None:
    def drawn(**options: Any) -> tuple[int, np.ndarray]:
        made = edit(workspace, one(workspace, Edit(yaw=5.0), **options))
        return read_remarks(made.pictures[0])["seed"], pixels(made.pictures[0])

    seed, picture = drawn(seed=1)
    assert seed == derive_seed(1, "0", "edit")
    other, otherwise = drawn(seed=2)
    assert other != seed and not np.array_equal(picture, otherwise)
    among = EditRequest((workspace.root / "in",), Edit(yaw=5.0), steps=STEPS, redraws=0, seed=1)
    (first, *_) = edit(workspace, among).pictures
    assert read_remarks(first)["seed"] == seed
    assert np.abs(pixels(first).astype(int) - picture).max() <= 2


def test_samplers_differ_and_are_recorded(workspace: Workspace) -> None:
    ddim, solver = (
        edit(workspace, one(workspace, Edit(yaw=5.0), sampler=sampler))
        for sampler in ("ddim", "dpm-solver++")
    )
    assert not np.array_equal(pixels(ddim.pictures[0]), pixels(solver.pictures[0]))


def test_a_grid_of_two_axes(workspace: Workspace) -> None:
    request = one(workspace, Edit(), sweep="yawxhappy", count=2)
    made = edit(workspace, request)
    assert [path.name for path in made.pictures] == [
        "01-yaw--30-happy-0.png", "02-yaw-+30-happy-0.png",
        "03-yaw--30-happy-1.png", "04-yaw-+30-happy-1.png",
    ]  # fmt: skip
    (grid,) = made.grids
    assert grid.parent == made.folder / "0" and Image.open(grid).height > 2 * 96
    yaws = [read_remarks(path)["edited"]["angles"][0] for path in made.pictures]
    np.testing.assert_allclose(np.diff(yaws)[[0, 2]], 60.0, atol=1e-3)
    # One photo, one noise: the pictures differ in what is swept alone.
    assert len({read_remarks(path)["seed"] for path in made.pictures}) == 1


def test_the_surround_is_kept_where_asked(workspace: Workspace) -> None:
    plain, kept = (
        edit(workspace, one(workspace, Edit(jaw=0.5), keep_surround=keep)) for keep in (False, True)
    )
    strip = pixels(kept.folder / "buffers" / "0.png")
    source, normals = strip[:, :SIDE].astype(int), strip[:, 2 * SIDE : 3 * SIDE]
    head = normals.any(axis=2)
    shown = pixels(kept.pictures[0]).astype(int)
    np.testing.assert_array_equal(shown[head], pixels(plain.pictures[0])[head])
    off = np.abs(shown - source).mean(axis=2)
    far = ~binary_dilation(head, iterations=7)
    assert far.any() and off[far].max() < 5 and off[head].mean() > 20
    assert np.abs(pixels(plain.pictures[0]).astype(int) - source)[far].mean() > 20


def test_the_look_comes_from_another_photo(workspace: Workspace) -> None:
    own, other = (
        edit(workspace, one(workspace, Edit(yaw=5.0, look_of=look)))
        for look in (None, workspace.root / "target.png")
    )
    assert not np.array_equal(pixels(own.pictures[0]), pixels(other.pictures[0]))


@pytest.mark.slow
def test_a_known_persons_head_has_the_albums_shape(tmp_path: Path) -> None:
    workspace = make_rigged(tmp_path, person="0003", mean_shape=True)
    synthesize_albums(tmp_path, (3, 9), 3, ("neutral", "happy"), size_px=128)
    listener = Listener()
    photo = workspace.photos / "0003" / "001.jpg"
    request = EditRequest((photo,), Edit(yaw=10.0), steps=STEPS, redraws=0)
    bare = edit(workspace, request, reporter=listener)
    assert any("drawn with each photo's own shape" in line for line in listener.warnings)
    preprocess(workspace)
    made = edit(workspace, request)
    assert made.pictures[0] == made.folder / "0003" / "001.png"
    keys = [f"0003/{number:03d}" for number in range(3)]
    mean = mean_shape(workspace.corpus, keys)
    np.testing.assert_allclose(read_remarks(made.pictures[0])["source"]["shape"], mean, atol=1e-5)
    own = read_remarks(bare.pictures[0])["source"]["shape"]
    assert np.abs(np.array(own) - mean).max() > 1e-3
    # Unless it is not wanted, or of somebody else.
    plain = edit(workspace, replace(request, mean_shape=False))
    np.testing.assert_allclose(read_remarks(plain.pictures[0])["source"]["shape"], own, atol=1e-5)
    with pytest.raises(UserError, match="no album of '0042'"):
        edit(workspace, replace(request, person="0042"))
    assert not any("learnt the looks" in line for line in listener.warnings)
    stranger = workspace.photos / "0009" / "001.jpg"
    edit(workspace, replace(request, sources=(stranger,)), reporter=listener)
    assert any("0009/001 is of 0009's album" in line for line in listener.warnings)


def test_what_is_not_there_is_told_in_one_line(workspace: Workspace, tmp_path: Path) -> None:
    lawn = EditRequest((workspace.root / "in" / "lawn.png",), Edit(yaw=5.0), steps=STEPS)
    with pytest.raises(UserError, match="no_face"):
        edit(workspace, lawn)
    with pytest.raises(UserError, match="--package"):
        edit(workspace, one(workspace, Edit(yaw=5.0)), "nowhere")
    with pytest.raises(UserError, match="network of recipe physical"):
        edit(workspace, one(workspace, Edit(yaw=5.0)), str(workspace.root / "in"))
    empty = Workspace(tmp_path, workspace.config)
    with pytest.raises(UserError, match="holds no package of recipe physical"):
        edit(empty, one(workspace, Edit(yaw=5.0)))
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(UserError, match="was not drawn by sfe"):
        edit(workspace, one(workspace, Edit(yaw=5.0)), folder=tmp_path)
    with pytest.raises(UserError, match="--mean-shape"):
        edit(workspace, one(workspace, Edit(yaw=5.0), mean_shape=True))


class NoisyAtFirst:
    """Stands in for a pipeline: pictures of seeds that it knows as clean are smooth."""

    def __init__(self, clean: set[int]) -> None:
        self.clean, self.calls = clean, list[list[int]]()

    def __call__(
        self, buffers: torch.Tensor, codes: torch.Tensor, steps: int, generators: list[int]
    ) -> torch.Tensor:
        self.calls.append(list(generators))
        grain = torch.randn(len(buffers), 3, 32, 32, generator=torch.Generator().manual_seed(0))
        smooth = [seed in self.clean for seed in generators]
        return (
            grain.clamp(-1, 1)
            * torch.tensor([0.0 if one else 1.0 for one in smooth])[:, None, None, None]
        )


def _job(seed: int) -> EditJob:
    shot = EditShot(Source(Path("p"), "p", "", None), Edit(), "", seed, f"{seed}.png", {})
    grey = np.full((32, 32, 3), 90, np.uint8)
    return EditJob(shot, torch.zeros(9, 32, 32), torch.zeros(4), grey, None, {})


def test_only_noisy_pictures_are_drawn_again_and_only_so_often() -> None:
    second = derive_seed(2, "redraw", 1)
    third = derive_seed(3, "redraw", 2)
    pipeline: Any = NoisyAtFirst({1, second, third})
    drawn = draw_edits(pipeline, [_job(seed) for seed in (1, 2, 3, 4)], 2, 2)
    assert pipeline.calls == [
        [1, 2, 3, 4],
        [derive_seed(seed, "redraw", 1) for seed in (2, 3, 4)],
        [derive_seed(seed, "redraw", 2) for seed in (3, 4)],
    ]
    assert [one.redrawn for one in drawn] == [0, 1, 2, 2]
    assert [one.noisy for one in drawn] == [False, False, False, True]
    assert [one.seed for one in drawn[:3]] == [1, second, third]
    assert (drawn[0].picture == 128).all() or (drawn[0].picture == 127).all()


def test_a_batch_that_memory_does_not_hold_is_halved() -> None:
    class Small(NoisyAtFirst):
        def __call__(self, buffers: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
            if len(buffers) > 1:
                raise RuntimeError("CUDA out of memory")
            return super().__call__(buffers, *rest, **more)

    pipeline: Any = Small({1, 2, 3})
    drawn = draw_edits(pipeline, [_job(seed) for seed in (1, 2, 3)], 2, 0)
    assert [one.seed for one in drawn] == [1, 2, 3] and not any(one.noisy for one in drawn)
