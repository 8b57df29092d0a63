"""`generate` on a packaged tiny model; the face comes from a rendered photo."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_files import AskedRow
from sfe_core.corpus.preprocessing.single_photo import maps_of_scene, scene_of_photo
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import EmotionReading, FaceSquare
from sfe_core.packaging.listing import newest_package
from sfe_core.packaging.package import package_checkpoint
from sfe_core.sampling import asked_face
from sfe_core.sampling import generate as module
from sfe_core.sampling.asked_face import (
    expression_of_photo,
    head_scene,
    shared_maps,
    told_units,
    with_expression,
)
from sfe_core.sampling.generate import generate
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.sweep import Request
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.sfe_core.sampling.conftest import with_sampling
from tests.tiny_workspace import make_run, make_units_run

NAMES = ("landmarks", "depth", "mesh")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "her.png"
    Image.fromarray(render_face(sample_face(5, "sad", 77), 160).image).save(path)
    return path


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    preprocess = workspace.config.preprocess.model_copy(update={"crop_size": 64, "min_face_px": 24})
    config = workspace.config.model_copy(update={"preprocess": preprocess})
    return Workspace(workspace.root, config)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), int)


def test_a_prompt_draws_what_the_pipeline_draws(workspace: Workspace):
    exact = with_sampling(workspace, precision="float32")
    made = generate(exact, Request(prompt="portrait", emotion="sad", seed=3))
    assert made.prompts == ("sad, portrait",) and made.grid is None and made.drawn == 1
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(newest_package(workspace))
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        "sad, portrait",
        height=32,
        width=32,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images[0]
    assert np.abs(pixels(made.pictures[0]) - (image * 255).round()).max() <= 1
    record = read_record(made.pictures[0])
    assert record["prompt"] == "sad, portrait" and record["seed"] == 3 and record["maps"] == {}


def test_what_is_there_stands_and_what_is_torn_is_drawn_again(workspace: Workspace):
    request = Request(prompt="portrait", sweep="seed", count=3)
    first = generate(workspace, request)
    before = [path.read_bytes() for path in first.pictures]
    assert (first.drawn, generate(workspace, request).drawn) == (3, 0)
    assert first.animation is None
    first.pictures[1].unlink()
    again = generate(with_sampling(workspace, batch_size=1), request)
    assert again.drawn == 1 and again.folder == first.folder
    assert [path.read_bytes() for path in again.pictures] == before
    assert generate(with_sampling(workspace, steps=3), request).folder != first.folder


def test_emotions_on_a_photos_face(workspace: Workspace, photo: Path):
    made = generate(workspace, Request(prompt="portrait", sweep="emotion", like=photo))
    assert [path.name for path in made.pictures] == [
        f"{place:02d}-{name}.png" for place, name in enumerate(EMOTIONS, start=1)
    ]
    assert made.grid is not None and Image.open(made.grid).width > 4 * 96
    records = [read_record(path) for path in made.pictures]
    for name in NAMES:
        assert len({record["maps"][name] for record in records}) == len(EMOTIONS)
    assert len({path.read_bytes() for path in made.pictures}) == len(EMOTIONS)


def test_a_grid_of_two_units_moves_along_the_first(workspace: Workspace, photo: Path):
    made = generate(workspace, Request(prompt="portrait", sweep="AU12xAU26", like=photo, count=2))
    assert [path.name for path in made.pictures][1] == "02-au12-5.00-au26-0.00.png"
    assert made.grid is not None and made.animation is not None
    with Image.open(made.animation) as moving, Image.open(made.grid) as sheet:
        assert moving.n_frames == 2 and moving.width == sheet.width > moving.height
    made.animation.unlink()
    again = generate(workspace, Request(prompt="portrait", sweep="AU12xAU26", like=photo, count=2))
    assert again.drawn == 0 and made.animation.is_file()


def test_a_photo_alone_keeps_its_own_expression(workspace: Workspace, photo: Path, monkeypatch):
    orders = []
    real = module.draw_all
    monkeypatch.setattr(
        module, "draw_all", lambda pipe, some, *rest: real(pipe, _kept(some, orders), *rest)
    )
    generate(workspace, Request(prompt="portrait", like=photo))
    config = workspace.config.preprocess
    wanted = maps_of_scene(scene_of_photo(photo, config), config, 32, NAMES)
    assert orders[0].maps.keys() == wanted.keys()
    assert all(torch.equal(orders[0].maps[name], wanted[name]) for name in NAMES)


def _kept(some, orders):
    for one in some:
        orders.append(one)
        yield one


def test_an_expression_moves_the_mouth_and_not_the_pose(workspace: Workspace, photo: Path):
    config = workspace.config.preprocess
    scene = scene_of_photo(photo, config)
    calm, happy = (with_expression(scene, AskedExpression("happy", share)) for share in (0.0, 1.0))
    assert happy.transform == scene.transform and happy.head.angles == scene.head.angles
    moved = np.linalg.norm(happy.landmarks - calm.landmarks, axis=1) / scene.transform.side
    assert moved[[48, 54]].min() > 0.02  # corners of the mouth
    assert moved[27:31].max() < 0.01  # bridge of the nose
    spread = [np.ptp(face.landmarks[48:60, 0]) for face in (calm, happy)]
    assert spread[1] > 1.1 * spread[0]
    again = with_expression(happy, AskedExpression("happy", 0.0))
    assert np.abs(again.landmarks - calm.landmarks).max() < 1e-3 * scene.transform.side


def test_the_expression_of_a_photo_is_the_fitted_heads(workspace: Workspace, photo: Path, listener):
    said = []
    listener.say = said.append
    config = workspace.config.preprocess
    asked = expression_of_photo(photo, config, "tiny-emotion-loss", listener)
    scene = scene_of_photo(photo, config)
    again = with_expression(scene, asked)
    # The same face again, but for lids that are less open than people's at rest.
    off = np.abs(again.landmarks - scene.landmarks) / scene.transform.side
    lids = [*range(36, 48)]
    assert np.delete(off, lids, axis=0).max() < 0.003 and off[lids].max() < 0.03
    assert asked.unit_intensities() and not dict(asked.blendshapes)["eyeLookUpLeft"]
    assert "her.png: " in said[0] and "AU4 " in said[0]
    assert "tiny-emotion-loss reads sad" in said[0]
    assert (asked.word, asked.as_units().word) == ("sad", "sad")
    assert asked.place()[0] == asked.valence < 0


def test_without_a_recogniser_a_photo_says_its_muscles_alone(
    workspace: Workspace, photo: Path, listener
):
    said = []
    listener.say = said.append
    asked = expression_of_photo(photo, workspace.config.preprocess, "emonet-8", listener)
    assert asked.word is None and asked.blendshapes and "no emotion is read" in said[0]


def test_a_recogniser_that_wants_faces_cut_out_is_shown_the_face(
    workspace: Workspace, photo: Path, listener, monkeypatch
):
    class Reader:
        face_square, input_px = FaceSquare(1.2), 40

        def __call__(self, images: torch.Tensor) -> EmotionReading:
            shown.append(images)
            unread = torch.full((1,), torch.nan)
            return EmotionReading(torch.tensor([[0.0, 0.2, 0.1]]), unread, unread, images)

    shown: list[torch.Tensor] = []
    monkeypatch.setattr(asked_face, "load_recogniser", lambda _: Reader())
    asked = expression_of_photo(photo, workspace.config.preprocess, "outside", listener)
    (face,) = shown
    assert face.shape == (1, 3, 40, 40) and -1 <= face.min() < face.max() <= 1
    # Of three about alike none is said; what is not read is not asked for.
    assert (asked.word, asked.valence, asked.arousal) == (None, None, None)


def test_the_head_fills_the_frame_as_corpus_faces_do(workspace: Workspace):
    config = workspace.config.preprocess
    maps = maps_of_scene(head_scene(config), config, 32, NAMES)
    assert {tuple(image.shape) for image in maps.values()} == {(3, 32, 32)}
    assert 0.3 < float((maps["mesh"] > 0).float().mean()) < 0.95
    mirrored = (maps["depth"] - maps["depth"].flip(2)).abs().mean()
    assert float(mirrored) < 0.05  # seen from the front


def test_maps_of_other_backends_are_left_out_and_told(workspace: Workspace, listener):
    said = []
    listener.say = said.append
    config = workspace.config.preprocess
    assert shared_maps(config, NAMES, listener) == NAMES and not said
    emoca = config.model_copy(update={"reconstruction": "emoca", "depth": "zoedepth"})
    assert shared_maps(emoca, NAMES, listener) == ("landmarks",)
    assert "without mesh and depth" in said[0]


def test_a_model_without_encoders_says_that_it_cannot_show_intensity(workspace: Workspace):
    shutil.rmtree(newest_package(workspace) / "guidance_encoder")
    assert generate(workspace, Request(prompt="portrait", emotion="sad")).drawn == 1
    with pytest.raises(UserError, match="guidance_encoder"):
        generate(workspace, Request(emotion="sad", sweep="intensity"))


def test_photos_that_show_no_face_are_refused(workspace: Workspace, tmp_path: Path):
    for name, said in (("none.png", "found no face"), ("torn.png", "unreadable|corrupt")):
        path = tmp_path / name
        Image.new("RGB", (96, 96), (90, 90, 90)).save(path)
        if name == "torn.png":
            path.write_bytes(b"no picture")
        with pytest.raises(UserError, match=said):
            generate(workspace, Request(prompt="x", like=path))
    with pytest.raises(UserError, match=r"gone\.jpg.*No such file"):
        generate(workspace, Request(prompt="x", like=tmp_path / "gone.jpg"))


def test_foreign_files_are_never_overwritten(workspace: Workspace, tmp_path: Path):
    mine = tmp_path / "01-seed-42.png"
    Image.new("RGB", (8, 8)).save(mine)
    before = mine.read_bytes()
    with pytest.raises(UserError, match="was not drawn by sfe.*--out"):
        generate(workspace, Request(prompt="x"), folder=tmp_path)
    assert mine.read_bytes() == before


def test_words_that_fall_off_prompt_and_negative_prompt_are_told(workspace: Workspace, listener):
    asked = with_sampling(workspace, negative_prompt="no hats, " * 6)
    made = generate(asked, Request(prompt="portrait of a man who sits in the sun, smiling"))
    generate(
        asked, Request(prompt="portrait of a man who sits in the sun, smiling"), None, listener
    )
    assert made.drawn == 1 and len(listener.warnings) == 2  # told of pictures that stand as well
    assert listener.warnings[0].endswith(
        "(it has 39); these words are not read: smiling (sampling.long_prompts=chunks reads them)"
    )
    assert listener.warnings[1].startswith("the negative prompt is longer")


@pytest.mark.slow
def test_a_tables_words_are_drawn_as_typed_words_are(workspace: Workspace):
    rows = (
        AskedRow("t:2", "w", seed=3, expression=AskedExpression("sad"), by_word=True),
        AskedRow("t:3", "s", seed=3, expression=AskedExpression("sad", 0.5)),
    )
    made = generate(workspace, Request(prompt="portrait", rows=rows))
    word, strength = (read_record(path) for path in made.pictures)
    typed = generate(workspace, Request(prompt="portrait", emotion="sad", seed=3))
    assert read_record(typed.pictures[0]) == word
    assert np.array_equal(pixels(made.pictures[0]), pixels(typed.pictures[0]))
    asked = AskedExpression("sad", 0.5)
    faced = generate(workspace, Request(prompt="portrait", asked=asked, seed=3))
    assert read_record(faced.pictures[0]) == strength and strength["maps"] and not word["maps"]
    shutil.rmtree(newest_package(workspace) / "guidance_encoder")
    assert generate(workspace, Request(prompt="portrait", rows=rows[:1])).drawn == 1


def test_marks_that_are_drawn_as_text_are_told_or_understood(workspace: Workspace, listener):
    request = Request(prompt="(happy:1.5) face BREAK hat", seed=1, count=2)
    plain = generate(workspace, request, None, listener)
    assert listener.warnings == [
        "drawn as text in the prompt: `(happy:1.5)`, `BREAK`; sampling.prompt_weights=a1111 reads "
        "brackets as weights; sampling.long_prompts=chunks reads BREAK"
    ]
    asked = with_sampling(workspace, prompt_weights="a1111", long_prompts="chunks")
    listener.warnings.clear()
    understood = generate(asked, request, None, listener)
    assert listener.warnings == [] and understood.folder != plain.folder
    drawn_with = read_record(understood.pictures[0])["drawn_with"]
    assert (drawn_with["prompt_weights"], drawn_with["long_prompts"]) == ("a1111", "chunks")
    assert "long_prompts" not in read_record(plain.pictures[0])["drawn_with"]
    assert np.abs(pixels(understood.pictures[0]) - pixels(plain.pictures[0])).max() > 0


def test_brackets_that_are_read_as_weights_take_no_room(workspace: Workspace, listener):
    asked = with_sampling(
        workspace, prompt_weights="a1111", negative_prompt="[hat:0.5:0.9] <lora:a:1>"
    )
    generate(asked, Request(prompt="(" * 9 + "happy face, smiling" + ")" * 9), None, listener)
    assert [warning[:38] for warning in listener.warnings] == [
        "drawn as text in the negative prompt: "
    ]


# Packages that know action units

UNITS = ("AU4", "AU6", "AU12")
SMIRK = AskedExpression(units=(("AU12", (3.0, 0.0)),))


def with_units(workspace: Workspace, alone: bool = True) -> Path:
    make_units_run(workspace, UNITS, alone)
    return package_checkpoint(workspace, name="units").folder


@pytest.mark.slow
def test_units_are_told_to_a_package_that_knows_them(workspace: Workspace):
    package, workspace = with_units(workspace), with_sampling(workspace, precision="float32")
    request = Request(prompt="portrait", asked=SMIRK, seed=3)
    made = generate(workspace, request, package)
    record = read_record(made.pictures[0])
    assert record["units"] == {"AU12L": 3.0, "AU12R": 0.0} and record["maps"] == {}
    assert record["drawn_with"]["units_guidance_scale"] == 4.0
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(package)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        "portrait",
        height=32,
        width=32,
        num_inference_steps=2,
        guidance_scale=3.0,
        action_units={"AU12L": 3, "AU12R": 0},
        units_guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images[0]
    assert np.abs(pixels(made.pictures[0]) - (image * 255).round()).max() <= 1
    assert generate(workspace, request, package).drawn == 0
    other = generate(with_sampling(workspace, units_guidance_scale=8.0), request, package)
    assert other.folder != made.folder
    plain = generate(workspace, Request(prompt="portrait", seed=3), package)
    assert "units" not in read_record(plain.pictures[0])
    assert np.abs(pixels(plain.pictures[0]) - pixels(made.pictures[0])).max() > 2


@pytest.mark.slow
def test_maps_and_units_of_one_package_are_both_used(workspace: Workspace):
    package = with_units(workspace, alone=False)
    record = read_record(generate(workspace, Request(prompt="x", asked=SMIRK), package).pictures[0])
    assert record["maps"].keys() == set(NAMES) and record["units"]["AU12L"] == 3.0
    # The head shows what the package knows no unit for.
    frown = AskedExpression(units=(("AU15", (3.0, 3.0)),))
    record = read_record(generate(workspace, Request(prompt="x", asked=frown), package).pictures[0])
    assert "units" not in record and record["maps"]


def test_a_sweep_of_intensity_needs_no_maps(workspace: Workspace):
    package = with_units(workspace)
    made = generate(workspace, Request(emotion="happy", sweep="intensity", count=2), package)
    told = [read_record(path)["units"] for path in made.pictures]
    assert told[0].keys() == told[1].keys() == {"AU6L", "AU6R", "AU12L", "AU12R"}
    assert set(told[0].values()) == {0.0} and min(told[1].values()) > 2


def test_a_face_shows_no_more_than_all_of_an_expression(workspace: Workspace):
    """Beyond 1 only embeddings go, which this package has not."""
    for asked in (AskedExpression("sad", 1.2), AskedExpression(mixture=(("sad", 1.2),))):
        with pytest.raises(UserError, match=r"strength of sad: 1.2, and a face shows all of it"):
            generate(workspace, Request(asked=asked))


def test_what_a_package_cannot_be_told_is_one_line(workspace: Workspace):
    package = with_units(workspace)
    frown = AskedExpression(units=(("AU12", (1.0, 1.0)), ("AU15", (3.0, 3.0))))
    with pytest.raises(UserError, match="the package knows no AU15; it knows AU4, AU6, AU12"):
        generate(workspace, Request(prompt="x", asked=frown), package)
    with pytest.raises(UserError, match="no encoder for the face's maps"):
        generate(workspace, Request(prompt="x", head=True), package)


def test_words_tell_the_units_that_are_known():
    assert told_units(AskedExpression("surprise"), ("AU12",), alone=False) == {}
    with pytest.raises(UserError, match="knows no AU1, AU2"):
        told_units(AskedExpression("surprise"), ("AU12",), alone=True)
    assert told_units(AskedExpression("neutral"), ("AU12",), alone=True) == {
        "AU12L": 0.0,
        "AU12R": 0.0,
    }
    assert told_units(None, UNITS, alone=True) == told_units(SMIRK, (), alone=False) == {}


# Packages that learnt units as text


@pytest.mark.slow
def test_a_package_of_text_alone_is_told_units_in_words(workspace: Workspace, photo: Path):
    make_run(workspace, "text", bank=False)
    package = package_checkpoint(workspace, run="text", name="text").folder
    request = Request(prompt="portrait", asked=SMIRK, seed=3)
    with pytest.raises(UserError, match="has no guidance_encoder/"):
        generate(workspace, request, package)  # its captions do not speak of units
    captions = workspace.config.captions.model_copy(update={"sources": ("unit_names",)})
    config = workspace.config.model_copy(update={"captions": captions})
    worded = Workspace(workspace.root, config)
    made = generate(worded, request, package)
    assert made.prompts == ("portrait, lip corner puller",)
    assert read_record(made.pictures[0])["prompt"] == made.prompts[0]
    plain = generate(worded, Request(prompt="portrait, lip corner puller", seed=3), package)
    assert np.array_equal(pixels(plain.pictures[0]), pixels(made.pictures[0]))
    swept = generate(worded, Request(prompt="portrait", sweep="AU12", count=2), package)
    assert swept.prompts == ("portrait", "portrait, lip corner puller")
    with pytest.raises(UserError, match="has no guidance_encoder/"):
        generate(worded, Request(prompt="portrait", asked=SMIRK, like=photo), package)
