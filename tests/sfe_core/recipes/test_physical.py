"""The physical recipe: what it refuses, its weights, both stages, resuming, samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.views import View
from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.pipeline import load_rig_pipeline, training_schedule
from sfe_core.diffusion.prediction import signal_to_noise
from sfe_core.errors import UserError
from sfe_core.losses.noise import p2_weight
from sfe_core.recipes.physical import SPEC, Physical, RigBatch, reconstruction_errors
from sfe_core.runs.start import plan_training
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainOptions
from tests.rig_workspace import NETWORK, SIDE, rig_workspace
from tests.sfe_core.diffusion.physical.rigs import randomise
from tests.tiny_runs import built, run

WEIGHTS = "diffusion_pytorch_model.safetensors"


def changed(workspace: Workspace, section: str, **values) -> Workspace:
    part = getattr(workspace.config, section).model_copy(update=values)
    return Workspace(workspace.root, workspace.config.model_copy(update={section: part}))


def with_options(workspace: Workspace, **values) -> Workspace:
    options = {**workspace.config.recipe_options, **values}
    update = {"recipe_options": options}
    return Workspace(workspace.root, workspace.config.model_copy(update=update))


def build(workspace: Workspace, images: int = 20) -> Physical:
    return built(SPEC, workspace, images, Physical)


def first_batch(recipe: Physical, count: int = 4) -> tuple[list, RigBatch]:
    draws = recipe.draw(0, 0, count)
    return draws, next(iter(recipe.batches([draws]))).to(torch.device("cpu"))


@pytest.fixture(scope="module")
def stage1(tmp_path_factory) -> Workspace:
    """One for all: no test that takes it writes into it."""
    return rig_workspace(tmp_path_factory.mktemp("stage1"))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Weights as stage 1 leaves them, with running statistics of their own."""
    rig = DiffusionRig(
        image_size=SIDE,
        base_width=32,
        multipliers=(1, 1),
        attention_sizes=(16,),
        blocks_per_level=1,
        encoder_width=8,
        latent_width=8,
        dropout=0.1,
    )
    randomise(rig)
    folder = tmp_path_factory.mktemp("base")
    rig.save_pretrained(folder / "rig")
    torch.save(rig.state_dict(), folder / "model000004.pt")
    return folder / "rig"


@pytest.fixture
def stage2(tmp_path, base) -> Workspace:
    workspace = rig_workspace(tmp_path, {"freeze_encoder": True}, photos=8)
    return changed(workspace, "model", base=str(base))


# Weights


def test_weights_of_p2_are_those_of_the_published_flag():
    alphas = training_schedule().alphas_cumprod
    times = torch.tensor([0, 100, 250, 500, 750])
    weights = p2_weight(signal_to_noise(alphas, times))
    wanted = torch.tensor([1e-4, 0.105, 0.479, 0.922, 0.997])
    torch.testing.assert_close(weights, wanted, atol=5e-4, rtol=0)
    torch.testing.assert_close(weights, 1 - alphas[times], atol=1e-6, rtol=0)
    flat = p2_weight(signal_to_noise(alphas, times), gamma=0.0)
    assert torch.equal(flat, torch.ones(5))


# Refused before long work


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("guidance", {"maps": ("depth",)}, "guidance.maps.*no use"),
        ("train", {"text_encoder": True}, "train.text_encoder.*no use"),
        ("train", {"snr_gamma": 5.0}, "train.snr_gamma.*p2"),
        ("train", {"lora_rank": 4}, "train.lora_rank.*no use"),
        ("train", {"batch_size": 1}, "train.batch_size.*at least 2"),
        ("model", {"resolution": 40}, "corpus's pictures have 32 px"),
        ("model", {"base": "/nowhere/rig"}, "nowhere"),
        ("data", {"person": "q"}, "data.person"),
        ("data", {"emotions": ("happy",)}, "faces to learn from.*at least 16"),
    ],
)
def test_what_does_not_fit_is_refused(stage1, section, values, told):
    with pytest.raises(UserError, match=told):
        SPEC.check(changed(stage1, section, **values))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"freeze_encoder": True}, "model.base.*frozen encoder of random weights"),
        ({"mean_shape": True}, "no mean_shape/lambertian"),
        ({"multipliers": None}, "32 px has no published widths"),
        ({"multipliers": [1] * 7}, "model.resolution.*multiple of 64"),
        ({"base_width": 20}, "multiple of 32"),
    ],
)
def test_options_that_do_not_fit_are_refused(stage1, options, told):
    with pytest.raises(UserError, match=told):
        SPEC.check(with_options(stage1, **options))


def test_a_base_of_another_size_or_form_is_refused(stage2, tmp_path):
    with pytest.raises(UserError, match="64 px, and the base draws 32 px"):
        SPEC.check(changed(stage2, "model", resolution=64))
    wider = DiffusionRig(image_size=SIDE, multipliers=(1, 1), extra_width=250)
    wider.save_pretrained(tmp_path / "wider")
    with pytest.raises(UserError, match="takes 250 numbers beside"):
        SPEC.check(changed(stage2, "model", base=str(tmp_path / "wider")))


def test_another_prediction_than_the_base_s_is_refused(stage2):
    with pytest.raises(UserError, match="v_prediction, and the base predicts epsilon"):
        SPEC.check(changed(stage2, "model", prediction="v_prediction"))


def test_a_corpus_without_buffers_is_refused(tmp_path):
    workspace = rig_workspace(tmp_path)
    (tmp_path / "corpus" / "normals" / "p" / "3.png").unlink()
    with pytest.raises(UserError, match=r"1 of 20 faces have no normals \(p/3\).*save_buffers"):
        plan_training(workspace, TrainOptions(cpu_processes=1))


def test_bad_buffers_are_refused(tmp_path):
    workspace = rig_workspace(tmp_path)
    manifest = workspace.corpus / MANIFEST
    rows = read_manifest(manifest)
    rows.loc[rows["key"] == "p/3", "buffer_faults"] = "7% of the albedo is green"
    # Of held-out photos, and of a set that is not learnt from, they do not matter.
    rows.loc[rows["key"] == "p/5", "buffer_faults"] = "normals show no head"
    rows["mean_buffer_faults"] = "normals show no head"
    write_manifest(manifest, rows)
    with pytest.raises(
        UserError, match=r"1 of 20 faces.*\(p/3: buffers: 7% of the albedo is green"
    ):
        SPEC.check(workspace)


def test_the_plan_tells_stages_and_what_trains(stage1, stage2):
    first = plan_training(stage1, TrainOptions(cpu_processes=1))
    second = plan_training(stage2, TrainOptions(cpu_processes=1))
    assert first.trained_parameters == first.parameters
    encoder = sum(p.numel() for p in build(stage2).model.rig.encoder.parameters())
    assert second.trained_parameters == second.parameters - encoder
    assert "encoder frozen" in second.told["stage"]
    assert first.split_images == 20


# Stage 1


def test_batches_hold_photos_and_their_buffers(stage1):
    recipe = build(stage1)
    draws, batch = first_batch(recipe)
    photos = recipe.source.photos
    for row, slot in enumerate(draws):
        picture, buffers = photos[slot.view]
        torch.testing.assert_close(batch.pictures[row], picture.float() / 127.5 - 1)
        torch.testing.assert_close(batch.buffers[row], buffers.float())
    assert batch.codes is None and batch.pictures.dtype == torch.float32


@pytest.mark.parametrize("workers", [0, 2])
def test_photos_read_anew_are_those_in_memory(stage1, stage2, workers):
    for workspace in (stage1, stage2):
        streamed = changed(workspace, "data", cache="none")
        streamed = changed(streamed, "train", loader_workers=workers)
        kept, read = build(workspace, 6), build(streamed, 6)
        assert kept.source.kept is not None and read.source.kept is None
        wanted = [kept.draw(step, 4 * step, 4) for step in range(5)]
        for one, other in zip(kept.batches(wanted), read.batches(wanted), strict=True):
            assert torch.equal(one.pictures, other.pictures)
            assert torch.equal(one.buffers, other.buffers)
            assert (one.codes is None) == (other.codes is None)
            if one.codes is not None and other.codes is not None:
                assert torch.equal(one.codes, other.codes)


def test_the_loss_of_an_update_is_the_sum_of_its_batches(stage1):
    recipe = build(stage1)
    recipe.model.eval()  # batch normalisation sees each batch alone otherwise
    draws = recipe.draw(3, 0, 4)
    parts = [draws[:2], draws[2:]]
    together = [
        recipe.loss(recipe.model, batch.to(torch.device("cpu")), some, draws)
        for some, batch in zip([draws, *parts], recipe.batches([draws, *parts]), strict=True)
    ]
    torch.testing.assert_close(together[0].total, together[1].total + together[2].total)
    raw = [part.raw["noise"] for part in together]
    torch.testing.assert_close(raw[0], raw[1] + raw[2])
    # The network's last layer begins at 0: what it predicts is 0, the error 1.
    assert raw[0].item() == pytest.approx(1.0, abs=0.05)
    assert together[0].total < raw[0]


def test_mirrored_photos_have_mirrored_buffers(stage1):
    recipe = build(changed(stage1, "data", flip=1.0))
    draws, batch = first_batch(recipe)
    assert all(slot.view.mirrored for slot in draws)
    plain, normals = recipe.source.photos[View(draws[0].index)]
    torch.testing.assert_close(batch.pictures[0].flip(2), plain.float() / 127.5 - 1)
    torch.testing.assert_close(batch.buffers[0, 3].flip(1), -normals[3].float())
    torch.testing.assert_close(batch.buffers[0, 4].flip(1), normals[4].float())


@pytest.mark.slow
def test_stage_one_learns(tmp_path):
    workspace = rig_workspace(tmp_path, train={"steps": 80, "checkpoint_every": 80})
    summary = run(workspace, run="one")
    lines = read_metrics(summary.run)
    for kind in ("raw", "weighted"):
        errors = [line[kind]["noise"] for line in lines if kind in line]
        assert np.mean(errors[-10:]) < 0.2 * np.mean(errors[:10]), kind
    assert set(lines[-1]["samples"]) >= {"l1", "l1_face", "l1_outside"}
    assert summary.samples is not None and summary.samples.is_file()


def test_a_rig_that_predicts_v_says_so_wherever_it_goes(tmp_path):
    workspace = rig_workspace(
        tmp_path, {"p2_gamma": 0.0}, model={"prediction": "v_prediction"}, train={"steps": 2}
    )
    recipe = build(workspace)
    draws, batch = first_batch(recipe)
    # At first it says 0: the mean square of v, which is that of noise and picture by the schedule.
    alphas = recipe.alphas[[slot.timestep for slot in draws]]
    power = batch.pictures.square().mean((1, 2, 3))
    wanted = (alphas + (1 - alphas) * power).mean().item()
    total = recipe.loss(recipe.model, batch, draws, draws).total.item()
    assert total == pytest.approx(wanted, rel=0.03)
    summary = run(workspace, run="one")
    pipeline = load_rig_pipeline(summary.checkpoint / "rig_ema")
    for sampler in ("dpm-solver++", "ddim"):
        assert pipeline.use(sampler).scheduler.config["prediction_type"] == "v_prediction"


def tensors(checkpoint: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / name / WEIGHTS)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, base, frozen):
    made = {"freeze_encoder": frozen}
    workspaces = [rig_workspace(tmp_path / name, made) for name in ("whole", "parts")]
    if frozen:
        workspaces = [changed(one, "model", base=str(base)) for one in workspaces]
    whole = run(workspaces[0], run="one")
    run(workspaces[1], run="one", steps=2)
    torch.manual_seed(999)  # nothing hangs on what this process drew before
    parts = run(workspaces[1], run="one", resume="auto", steps=4)
    for name in ("rig", "rig_ema"):
        wanted, found = tensors(whole.checkpoint, name), tensors(parts.checkpoint, name)
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    losses = [[line["total"] for line in read_metrics(one.run)] for one in (whole, parts)]
    assert losses[0] == losses[1]


def test_averages_have_running_statistics_of_their_own(tmp_path):
    summary = run(rig_workspace(tmp_path), run="one")
    live, averaged = (tensors(summary.checkpoint, name) for name in ("rig", "rig_ema"))
    name = "encoder.bn1.running_mean"
    assert live[name].abs().max() > 0 and averaged[name].abs().max() > 0
    assert not torch.equal(live[name], averaged[name])


# Stage 2


def test_stage_two_leaves_the_encoder_bit_for_bit(stage2, base):
    summary = run(stage2, run="album")
    before = load_file(base / WEIGHTS)
    for name in ("rig", "rig_ema"):
        after = tensors(summary.checkpoint, name)
        encoder = [key for key in before if key.startswith("encoder.")]
        assert any("running_var" in key for key in encoder)
        assert all(torch.equal(before[key], after[key]) for key in encoder)
        unet = [key for key in before if not key.startswith("encoder.")]
        assert sum(torch.equal(before[key], after[key]) for key in unet) == 0
    meta = json.loads((summary.checkpoint / "meta.json").read_text())
    assert meta["base_sha256"]


def test_a_photo_has_one_code_whatever_its_batch(stage2):
    recipe = build(stage2, 6)
    draws, batch = first_batch(recipe)
    assert batch.codes is not None
    rig = recipe.model.rig
    assert not rig.encoder.training and rig.denoisingUNet.training
    for row, slot in enumerate(draws):
        picture, _ = recipe.source.photos[slot.view]
        alone = rig.encode(picture[None].float() / 127.5 - 1)
        torch.testing.assert_close(batch.codes[row : row + 1], alone, atol=1e-4, rtol=1e-4)
    assert len(recipe.source.codes) == 6


def test_a_published_file_is_a_base_too(stage2, base):
    published = base.parent / "model000004.pt"
    one, other = build(stage2, 6), build(changed(stage2, "model", base=str(published)), 6)
    wanted, found = one.model.rig.state_dict(), other.model.rig.state_dict()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_an_album_smaller_than_the_batch_is_no_trouble(stage2):
    recipe = build(changed(stage2, "train", batch_size=16, effective_batch=16), 6)
    draws, batch = first_batch(recipe, 16)
    assert len({slot.index for slot in draws}) == 6
    recipe.loss(recipe.model, batch, draws, draws).total.backward()


# Samples


def test_errors_on_the_face_and_beside_it():
    photo, drawn = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    drawn[..., :2] = 0.5
    buffers = torch.zeros(1, 9, 4, 4)
    buffers[:, 5, :, :1] = 1.0
    numbers = reconstruction_errors(photo, drawn, buffers)
    assert numbers["l1"] == pytest.approx(0.25)
    assert numbers["l1_face"] == pytest.approx(0.5)
    assert numbers["l1_outside"] == pytest.approx(0.5 * 4 / 12)


def test_samples_draw_held_out_photos_the_same_way_each_time(stage2):
    recipe = build(stage2, 6)
    recipe.model.eval()
    recipe = replace(recipe, measure=None)
    first = recipe.samples(recipe.model, lambda: False)
    torch.manual_seed(5)
    again = recipe.samples(recipe.model, lambda: False)
    assert first is not None and again is not None
    assert np.array_equal(first.picture, again.picture)
    assert first.picture.shape == (3 * SIDE, SIDE, 3)  # one photo is held out
    assert first.numbers == again.numbers


def test_options_are_in_the_plan_of_every_preset():
    assert set(NETWORK) <= set(SPEC.options.model_fields)
