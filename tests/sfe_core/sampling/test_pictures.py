from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import write_manifest
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError, UserError
from sfe_core.packaging.package import package_checkpoint
from sfe_core.sampling import share as module
from sfe_core.sampling.pictures import draw_series
from sfe_core.sampling.pipelines import draws_as_base, sampling_precision
from sfe_core.sampling.pngs import read_record, read_remarks
from sfe_core.sampling.settings import VARIANTS
from tests.listening import Listener
from tests.sfe_core.sampling.conftest import draw_split, with_sampling
from tests.tiny_workspace import SIDE_PX, SPLIT, make_run, make_units_run, write_held_out


def keys(workspace: Workspace) -> list[str]:
    return list(Corpus.open(workspace).split(SPLIT)["key"])


def pixels(folder: Path, workspace: Workspace) -> np.ndarray:
    """All pictures of a series, int16 [N, H, W, 3]."""
    files = [folder / f"{key}.png" for key in keys(workspace)]
    return np.stack([np.asarray(Image.open(path), np.int16) for path in files])


def test_variants_are_different_pictures_of_model_size(workspace: Workspace):
    drawn = {
        variant: pixels(draw_split(workspace, SPLIT, variant), workspace) for variant in VARIANTS
    }
    assert drawn["base"].shape == (5, SIDE_PX, SIDE_PX, 3)
    for one, other in (("base", "text"), ("text", "guided")):
        differing = (drawn[one] != drawn[other]).any(axis=(1, 2, 3))
        assert differing.all()


def test_a_package_that_kept_its_base_draws_captions_once(
    workspace: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
):
    make_units_run(workspace, ("AU4", "AU12"))
    package = package_checkpoint(workspace, name="units").folder
    base = draw_series(workspace, SPLIT, "base")
    text = draw_series(workspace, SPLIT, "text", package, listener)
    assert (text.folder, text.drawn, text.reused) == (base.folder, 0, 5)
    assert listener.lines[-1].startswith("units kept its base")
    with monkeypatch.context() as patch:  # its own pictures are indeed those
        patch.setattr("sfe_core.sampling.pictures.draws_as_base", lambda *_: False)
        own = draw_series(workspace, SPLIT, "text", package).folder
    assert own != base.folder
    assert np.array_equal(pixels(own, workspace), pixels(base.folder, workspace))
    weights = package / "text_encoder/model.safetensors"
    stored = bytearray(weights.read_bytes())
    stored[-1] ^= 1  # one bit of one weight
    weights.write_bytes(stored)
    assert not draws_as_base(package, workspace.config)


@pytest.mark.parametrize(
    ("file", "field", "value", "same"),
    [
        ("scheduler/scheduler_config.json", "rescale_betas_zero_snr", True, False),
        ("unet/config.json", "_name_or_path", "elsewhere", True),
        ("vae/config.json", "scaling_factor", 0.5, False),
    ],
)
def test_a_package_with_other_settings_does_not_draw_as_its_base(
    workspace: Workspace, tmp_path: Path, file: str, field: str, value: object, same: bool
):
    package = tmp_path / "package"
    shutil.copytree(workspace.config.model.base, package)
    assert draws_as_base(package, workspace.config)
    settings = json.loads((package / file).read_text(encoding="utf-8"))
    (package / file).write_text(json.dumps(settings | {field: value}), encoding="utf-8")
    assert draws_as_base(package, workspace.config) is same
    model = workspace.config.model.model_copy(update={"base": str(tmp_path / "gone")})
    assert not draws_as_base(package, workspace.config.model_copy(update={"model": model}))


def test_batches_do_not_change_pictures(workspace: Workspace):
    drawn = []
    for batch_size in (1, 3, 8):
        shutil.rmtree(workspace.generated, ignore_errors=True)
        changed = with_sampling(workspace, batch_size=batch_size)
        drawn.append(pixels(draw_split(changed, SPLIT, "guided"), changed))
    # Sums in another order may move a value across the border between two of 256 grey levels.
    assert np.abs(drawn[0] - drawn[1]).max() <= 1
    assert np.abs(drawn[0] - drawn[2]).max() <= 1
    assert np.mean(drawn[0] != drawn[2]) < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["ddpm", "ddim", "unipc"])
def test_every_sampler_draws_its_own_pictures_again_and_again(workspace: Workspace, scheduler: str):
    # With two steps, UniPC and DPM-Solver++ are the same sum.
    workspace = with_sampling(workspace, steps=6)
    changed = with_sampling(workspace, scheduler=scheduler)
    folder = draw_split(changed, SPLIT, "text")
    first = [(folder / f"{key}.png").read_bytes() for key in keys(changed)]
    shutil.rmtree(folder)
    assert draw_split(changed, SPLIT, "text") == folder
    assert [(folder / f"{key}.png").read_bytes() for key in keys(changed)] == first
    usual = pixels(draw_split(workspace, SPLIT, "text"), workspace)
    assert (pixels(folder, changed) != usual).any()


def test_a_rerun_draws_what_is_missing_or_torn_and_loads_no_model_for_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    first = draw_series(workspace, SPLIT, "text")
    assert (first.drawn, first.reused) == (5, 0)
    before = pixels(first.folder, workspace)
    some = keys(workspace)
    first.picture(some[1]).unlink()
    torn = first.picture(some[3])
    torn.write_bytes(torn.read_bytes()[:-20])
    untouched = first.picture(some[0]).stat().st_mtime_ns

    second = draw_series(workspace, SPLIT, "text")
    assert (second.drawn, second.reused) == (2, 3)
    assert first.picture(some[0]).stat().st_mtime_ns == untouched
    assert np.abs(pixels(second.folder, workspace) - before).max() <= 1

    monkeypatch.setattr(module, "load_pipeline", None)
    assert draw_series(workspace, SPLIT, "text").drawn == 0


def test_interrupted_work_is_gone_on_with(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    saved, real = [], module.save_png

    def save_two(image: Image.Image, target: Path, record: dict, remarks: dict | None) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(target)
        real(image, target, record, remarks)

    monkeypatch.setattr(module, "save_png", save_two)
    with pytest.raises(KeyboardInterrupt):
        draw_split(workspace, SPLIT, "text")
    monkeypatch.setattr(module, "save_png", real)
    assert draw_series(workspace, SPLIT, "text").reused == 2


def test_a_changed_caption_redraws_that_picture_alone(workspace: Workspace):
    first = draw_series(workspace, SPLIT, "text")
    one = keys(workspace)[2]
    write_held_out(workspace, keys(workspace), captions={one: "anger, blurry, other"})
    second = draw_series(workspace, SPLIT, "text")
    assert (second.drawn, second.folder) == (1, first.folder)
    assert read_record(second.picture(one))["prompt"] == "anger, other"


def test_changed_maps_redraw_guided_pictures_alone(workspace: Workspace):
    for variant in ("text", "guided"):
        draw_split(workspace, SPLIT, variant)
    one = keys(workspace)[0]
    path = artefact(workspace.corpus, MAP_FOLDERS["mesh"], one)
    frame = Corpus.open(workspace).all_rows
    frame.loc[frame["key"] == one, "mesh_sha256"] = "another picture"
    Image.new("RGB", (SIDE_PX, SIDE_PX)).save(path)
    write_manifest(workspace.corpus / "manifest.parquet", frame)
    assert draw_series(workspace, SPLIT, "text").drawn == 0
    assert draw_series(workspace, SPLIT, "guided").drawn == 1


@pytest.mark.slow
def test_base_pictures_serve_every_checkpoint(workspace: Workspace):
    first = {variant: draw_series(workspace, SPLIT, variant) for variant in VARIANTS}
    make_run(workspace, step=20, seed=2, saved_minute=5)
    package_checkpoint(workspace)
    second = {variant: draw_series(workspace, SPLIT, variant) for variant in VARIANTS}
    assert [second[variant].drawn for variant in VARIANTS] == [0, 5, 5]
    assert second["text"].folder != first["text"].folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"guidance_scale": 5.0},
        {"guidance_rescale": 0.7},
        {"negative_prompt": "hat"},
        {"steps": 3},
    ],
)
def test_other_settings_are_other_pictures_beside_the_first(workspace: Workspace, change: dict):
    first = draw_series(workspace, SPLIT, "text")
    second = draw_series(with_sampling(workspace, **change), SPLIT, "text")
    assert second.drawn == 5
    assert first.folder != second.folder
    assert (pixels(first.folder, workspace) != pixels(second.folder, workspace)).any()
    recorded = json.loads((second.folder / "settings.json").read_text())
    assert recorded[next(iter(change))] == next(iter(change.values()))


def test_strength_zero_is_the_text_picture(workspace: Workspace):
    off = with_sampling(workspace, strengths={"landmarks": 0.0, "depth": 0.0, "mesh": 0.0})
    guided = pixels(draw_split(off, SPLIT, "guided"), workspace)
    assert np.array_equal(guided, pixels(draw_split(workspace, SPLIT, "text"), workspace))


def test_captions_beyond_the_text_encoder_are_counted_once(workspace: Workspace, listener):
    write_held_out(workspace, keys(workspace), captions={keys(workspace)[0]: "happy " * 40})
    draw_split(workspace, SPLIT, "text", reporter=listener)
    assert len(listener.warnings) == 1
    assert "1 of 5 captions are longer than the text encoder's 32 tokens" in listener.warnings[0]


def test_captions_with_weights_are_counted_and_long_ones_drawn_whole(
    workspace: Workspace, listener
):
    first, second = keys(workspace)[:2]
    write_held_out(
        workspace, keys(workspace), {first: "(happy:1.5) face", second: "sad, " + "x y z w " * 40}
    )
    plain = pixels(draw_split(workspace, SPLIT, "guided", reporter=listener), workspace)
    cut, marks = listener.warnings
    assert "1 of 5 captions are longer" in cut
    assert marks.startswith(
        "drawn as text in 1 of 5 captions: `(happy:1.5)`; sampling.prompt_weights"
    )
    asked = with_sampling(workspace, prompt_weights="a1111", long_prompts="chunks")
    listener.warnings.clear()
    drawn = pixels(draw_split(asked, SPLIT, "guided", reporter=listener), workspace)
    changed = np.abs(drawn - plain).max(axis=(1, 2, 3)) > 1
    assert listener.warnings == [] and changed.tolist() == [True, True, False, False, False]


def test_a_named_negative_prompt_is_drawn_as_its_authors_did(workspace: Workspace, listener):
    draw_split(
        with_sampling(workspace, negative_prompt="stableface-2"), SPLIT, "text", reporter=listener
    )
    [warning] = listener.warnings
    assert warning.startswith("the negative prompt is longer than the text encoder's 32 tokens")


def test_mistakes_are_one_line(workspace: Workspace):
    with pytest.raises(UserError, match="'val' holds no picture.*val300"):
        draw_split(workspace, "val", "text")
    with pytest.raises(UserError, match="variant: 'best' is unknown; use base, text, guided"):
        draw_split(workspace, SPLIT, "best")
    with pytest.raises(UserError, match="nowhere: does not exist; run `sfe package-checkpoint`"):
        draw_split(workspace, SPLIT, "text", workspace.root / "nowhere")
    package = next(workspace.packaged.iterdir())
    weights = package / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(RunError, match="cannot be loaded"):
        draw_split(workspace, SPLIT, "text")
    shutil.rmtree(package / "guidance_encoder")
    with pytest.raises(UserError, match="no guidance_encoder"):
        draw_split(workspace, SPLIT, "guided")
    shutil.rmtree(workspace.packaged)
    with pytest.raises(UserError, match="run `sfe package-checkpoint`"):
        draw_split(workspace, SPLIT, "text")


def test_original_is_named_and_drawn_with_its_own_negative_prompt(workspace: Workspace):
    named = with_sampling(workspace, negative_prompt="stableface-2")
    series = draw_series(named, SPLIT, "text")
    recorded = json.loads((series.folder / "settings.json").read_text())
    assert recorded["negative_prompt"].startswith("(deformed iris")
    written = with_sampling(workspace, negative_prompt=recorded["negative_prompt"])
    assert draw_series(written, SPLIT, "text").drawn == 0


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_draws_nearly_the_same_under_its_own_name(
    workspace: Workspace, precision: str
):
    whole = draw_series(with_sampling(workspace, precision="float32"), SPLIT, "guided")
    half = draw_series(with_sampling(workspace, precision=precision), SPLIT, "guided")
    assert half.folder != whole.folder and half.drawn == 5
    assert half.settings.precision == precision
    difference = np.abs(pixels(half.folder, workspace) - pixels(whole.folder, workspace))
    assert 0 < difference.mean() < 4


@pytest.mark.parametrize(("made_for_it", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_draws_in_what_it_is_made_for(
    monkeypatch: pytest.MonkeyPatch, made_for_it: bool, chosen: str
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": made_for_it})
    assert sampling_precision(torch.device("cpu")) is getattr(torch, chosen)
    assert sampling_precision(torch.device("cpu"), "float32") is torch.float32
    assert sampling_precision(torch.device("cuda")) is torch.float16


def test_a_picture_draws_the_same_whatever_else_the_split_holds(workspace: Workspace):
    one_by_one = with_sampling(workspace, batch_size=1)
    everyone = pixels(draw_split(one_by_one, SPLIT, "guided"), one_by_one)
    shutil.rmtree(workspace.generated)
    rows = Corpus.open(workspace).split(SPLIT)
    captions = dict(zip(rows["key"], rows["caption"], strict=True))
    write_held_out(workspace, ["other/face", *keys(workspace)[:2:-1]], captions)
    some = draw_split(one_by_one, SPLIT, "guided")
    for number, key in enumerate(["id 1/häppy.3", "id 1/häppy.4"], start=3):
        alone = np.asarray(Image.open(some / f"{key}.png"), np.int16)
        assert np.array_equal(alone, everyone[number])


def test_who_comes_second_waits_and_finds_the_pictures(workspace: Workspace, listener):
    drawn, real = [], module.draw_share

    def drawn_by_another(share, records, *rest):
        # Another run asks for the same series while this one draws it.
        other = threading.Thread(target=lambda: drawn.append(draw_series(workspace, SPLIT, "text")))
        other.start()
        time.sleep(0.3)
        assert other.is_alive() and drawn == []
        real(share, records, *rest)
        others.append(other)

    others: list[threading.Thread] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sfe_core.sampling.pictures.draw_share", drawn_by_another)
        first = draw_series(workspace, SPLIT, "text")
        others[0].join()
    assert (first.drawn, drawn[0].drawn) == (5, 0)


def make_safety_checker(folder: Path, objects: bool) -> None:
    """A random safety checker in a pipeline's folder that objects to everything, or to nothing."""
    config = CLIPConfig(
        text_config={"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1},
        vision_config={
            "hidden_size": 8,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": SIDE_PX,
            "patch_size": 8,
        },
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():  # a cosine similarity above the threshold is an objection
        checker.concept_embeds_weights.fill_(-2.0 if objects else 2.0)
        checker.special_care_embeds_weights.fill_(2.0)
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(
        size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}
    ).save_pretrained(folder / "feature_extractor")
    index = json.loads((folder / "model_index.json").read_text())
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (folder / "model_index.json").write_text(json.dumps(index))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["text", "guided"])
def test_the_safety_checker_blacks_out_only_if_asked_and_that_is_remarked(
    workspace: Workspace, variant: str
):
    plain = pixels(draw_split(workspace, SPLIT, variant), workspace)
    package = next(workspace.packaged.iterdir())
    checked = with_sampling(workspace, safety_checker=True)
    with pytest.raises(UserError, match="sampling.safety_checker: .* has no safety_checker/"):
        draw_split(checked, SPLIT, variant)
    make_safety_checker(package, objects=False)
    assert np.array_equal(pixels(draw_split(checked, SPLIT, variant), workspace), plain)
    make_safety_checker(package, objects=True)
    series = draw_series(checked, SPLIT, variant)
    assert series.drawn == 5  # other weights, another series
    assert pixels(series.folder, workspace).max() == 0
    assert all(read_remarks(series.picture(key)) == {"blank": True} for key in keys(workspace))
    assert draw_series(workspace, SPLIT, variant).drawn == 0  # without it nothing changed
