"""The other forms of a package, read by the programs they are for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.errors import RunError, UserError
from sfe_core.packaging import extras as module
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import PackageSummary, package_checkpoint
from tests.sfe_core.packaging.test_package import draw, same_weights
from tests.tiny_workspace import make_run, make_workspace

ALL = PackageOptions(
    extras=("single-file", "lora-diffusers", "lora-kohya", "stableface"), lora_rank=64
)


@pytest.fixture(scope="module")
def workspace(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("extras") / "work", tiny_base, count=1)
    make_run(workspace)
    return workspace


@pytest.fixture(scope="module")
def package(workspace: Workspace) -> PackageSummary:
    return package_checkpoint(workspace, options=ALL)


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.slow
def test_the_single_file_draws_the_same_picture(package: PackageSummary):
    path = package.folder / "first-10.safetensors"
    single = StableDiffusionPipeline.from_single_file(
        str(path), config=str(package.folder), local_files_only=True
    )
    folder = StableDiffusionPipeline.from_pretrained(package.folder)
    assert np.array_equal(draw(single), draw(folder))
    assert "config=" in package.extras[path.name]  # not Stable Diffusion 1.x's sizes


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "kohya.safetensors"])
def test_a_lora_of_full_rank_turns_the_base_into_the_package(
    package: PackageSummary, tiny_base: Path, name: str
):
    base = StableDiffusionPipeline.from_pretrained(tiny_base)
    before = draw(base)
    base.load_lora_weights(package.folder / "lora", weight_name=name)
    tuned = draw(StableDiffusionPipeline.from_pretrained(package.folder))
    # Biases and norms are no part of a LoRA, so the pictures are near, not equal.
    assert np.abs(draw(base) - tuned).mean() < 0.5 * np.abs(before - tuned).mean()
    assert "rank 64" in package.extras[f"lora/{name}"]


@pytest.mark.slow
def test_a_trained_text_encoder_is_packaged_and_part_of_the_lora(tiny_base: Path, tmp_path: Path):
    workspace = make_workspace(tmp_path / "work", tiny_base, count=1)
    checkpoint = make_run(workspace)
    for suffix in ("", "_ema"):
        text = CLIPTextModel.from_pretrained(tiny_base / "text_encoder")
        torch.manual_seed(5)
        with torch.no_grad():
            for name, parameter in text.named_parameters():
                if name.endswith("proj.weight"):
                    parameter.add_(0.2 * torch.randn_like(parameter))
        text.save_pretrained(checkpoint / f"text_encoder{suffix}")
    options = PackageOptions(extras=("lora-diffusers", "lora-kohya"), lora_rank=32)
    made = package_checkpoint(workspace, options=options)
    packaged = StableDiffusionPipeline.from_pretrained(made.folder)
    wanted = CLIPTextModel.from_pretrained(checkpoint / "text_encoder_ema").state_dict()
    assert all(torch.equal(t, wanted[n]) for n, t in packaged.text_encoder.state_dict().items())
    assert header(made.folder / "text_encoder/model.safetensors")["sfe.run"] == "first"
    tokens = torch.tensor([[188, 40, 41, 189]])
    for name in ("pytorch_lora_weights.safetensors", "kohya.safetensors"):
        base = StableDiffusionPipeline.from_pretrained(tiny_base)
        untuned = base.text_encoder(tokens)[0]
        base.load_lora_weights(made.folder / "lora", weight_name=name)
        tuned = packaged.text_encoder(tokens)[0]
        # Only attention weights changed, of rank 32 at most: the LoRA carries all of it.
        torch.testing.assert_close(base.text_encoder(tokens)[0], tuned, atol=1e-4, rtol=0)
        assert (untuned - tuned).abs().max() > 0.1
        assert "unet and text_encoder" in made.extras[f"lora/{name}"]
    keys = load_file(made.folder / "lora/kohya.safetensors").keys()
    assert {key.split("_text_model")[0] for key in keys if "text_model" in key} == {"lora_te"}


def test_a_schedule_of_the_runs_own_replaces_the_bases(tiny_base: Path, tmp_path: Path):
    workspace = make_workspace(tmp_path / "work", tiny_base, count=1)
    schedule = DDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        steps_offset=1,
        clip_sample=False,
    )
    schedule.save_pretrained(make_run(workspace) / "scheduler")
    folder = package_checkpoint(workspace).folder
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.rescale_betas_zero_snr


def test_a_lora_works_in_the_guided_pipeline(package: PackageSummary, tiny_base: Path):
    maps = {"guidance_images": {"depth": torch.rand(1, 3, 32, 32)}}
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(package.folder)
    plain = draw(pipeline, **maps)
    pipeline.load_lora_weights(package.folder / "lora", weight_name="kohya.safetensors")
    with_lora = draw(pipeline, **maps)
    assert np.abs(with_lora - plain).max() > 0.01
    assert np.abs(with_lora - draw(pipeline)).max() > 0.01  # the maps still guide
    pipeline.unload_lora_weights()
    assert np.abs(draw(pipeline, **maps) - plain).max() < 1e-4


def test_the_stableface_folder_is_read_by_diffusers_and_packaged_again(
    workspace: Workspace, package: PackageSummary
):
    folder = package.folder / "stableface"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.bin")) == [
        "diffusion_pytorch_model.bin",
        "guidance_encoder/alignment_encoder_pytorch_model.bin",
        "guidance_encoder/depth_encoder_pytorch_model.bin",
        "guidance_encoder/flame_encoder_pytorch_model.bin",
    ]
    unet = UNet2DConditionModel.from_pretrained(folder)
    wanted = load_file(package.folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in unet.state_dict().items())

    again = package_checkpoint(workspace, source=folder, name="again")
    assert (again.run, again.weights) == ("stableface", "raw")
    for part in ("unet", "guidance_encoder"):
        assert same_weights(again.folder / part, package.folder / part)
    assert "StableFace layout" in (again.folder / "README.md").read_text(encoding="utf-8")


def test_a_checkpoint_of_several_gpus_of_the_original_is_read(
    workspace: Workspace, package: PackageSummary, tmp_path: Path
):
    # There every key stands below `module.`, and the UNet in unet/.
    source = tmp_path / "checkpoint-176"
    for path in (package.folder / "stableface").rglob("*.bin"):
        place = path.relative_to(package.folder / "stableface")
        target = source / (place if place.parent.name else Path("unet") / place)
        target.parent.mkdir(parents=True, exist_ok=True)
        state = torch.load(path, weights_only=True)
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, target)
    again = package_checkpoint(workspace, source=source)
    assert again.folder.name == "checkpoint-176"
    for part in ("unet", "guidance_encoder"):
        assert same_weights(again.folder / part, package.folder / part)


def test_a_foreign_folder_that_does_not_fit_is_refused(
    workspace: Workspace, package: PackageSummary, tmp_path: Path
):
    with pytest.raises(UserError, match="holds no diffusion_pytorch_model.bin"):
        package_checkpoint(workspace, source=tmp_path)
    tensors = torch.load(package.folder / "stableface/diffusion_pytorch_model.bin")
    tensors["extra.weight"] = tensors.pop("conv_in.weight")
    torch.save(tensors, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=r"does not fit the base's UNet.*conv_in\.weight"):
        package_checkpoint(workspace, source=tmp_path, name="odd")
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        package_checkpoint(workspace, source=tmp_path, name="odd")
    with pytest.raises(UserError, match="--from: was given together with --run"):
        package_checkpoint(workspace, run="first", source=tmp_path)
    names = {path.name for path in workspace.packaged.iterdir()}
    assert "odd" not in names and not any(name.startswith(".") for name in names)


def test_headers_tell_where_the_weights_come_from(package: PackageSummary):
    said = json.loads((package.folder / "provenance.json").read_text(encoding="utf-8"))
    for name in (
        "unet/diffusion_pytorch_model.safetensors",
        "guidance_encoder/diffusion_pytorch_model.safetensors",
        "first-10.safetensors",
        "lora/pytorch_lora_weights.safetensors",
        "lora/kohya.safetensors",
    ):
        told = header(package.folder / name)
        assert (told["sfe.run"], told["sfe.step"], told["sfe.weights"]) == ("first", "10", "ema")
        assert told["sfe.base_sha256"] == said["base"]["sha256"]
        assert told["sfe.corpus_sha256"] == said["corpus_sha256"]
        assert told["sfe.config"] == (package.folder / "train_config.yaml").read_text()
        assert told["format"] == "pt"
    assert header(package.folder / "lora/kohya.safetensors")["ss_network_dim"] == "64"
    assert "sfe.run" not in (header(package.folder / "vae/diffusion_pytorch_model.safetensors"))
    assert set(said["extras"]) == {
        "first-10.safetensors",
        "lora/pytorch_lora_weights.safetensors",
        "lora/kohya.safetensors",
        "stableface/",
    }


def test_the_same_checkpoint_gives_the_same_weight_files(
    workspace: Workspace, package: PackageSummary
):
    again = package_checkpoint(workspace, name="twice", options=PackageOptions())
    name = "unet/diffusion_pytorch_model.safetensors"
    first, second = header(package.folder / name), header(again.folder / name)
    assert {key for key in first if first[key] != second[key]} == {"modelspec.title"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
def test_all_parts_are_stored_in_half_precision_and_still_draw(
    workspace: Workspace, package: PackageSummary, precision: str, dtype: torch.dtype
):
    options = PackageOptions(precision=precision, extras=("single-file",))
    half = package_checkpoint(workspace, name=precision, options=options)
    for part in ("unet", "vae", "text_encoder", "guidance_encoder"):
        (path,) = (half.folder / part).glob("*.safetensors")
        assert {tensor.dtype for tensor in load_file(path).values()} == {dtype}
    single = load_file(half.folder / f"{precision}.safetensors")
    assert {tensor.dtype for tensor in single.values()} == {dtype}
    assert half.size_bytes < 0.8 * package.size_bytes
    pipeline = StableDiffusionPipeline.from_pretrained(half.folder, torch_dtype=dtype)
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == dtype
    whole = draw(StableDiffusionPipeline.from_pretrained(package.folder))
    rounded = draw(StableDiffusionPipeline.from_pretrained(half.folder))
    assert 0 < np.abs(whole - rounded).max() < 0.3


def test_shards_are_read_as_one(workspace: Workspace, package: PackageSummary):
    options = PackageOptions(shard_size="200KB")
    summary = package_checkpoint(workspace, name="sharded", options=options)
    shards = list((summary.folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    assert all(header(path)["sfe.run"] == "first" for path in shards)
    sharded = draw(StableDiffusionPipeline.from_pretrained(summary.folder))
    assert np.array_equal(sharded, draw(StableDiffusionPipeline.from_pretrained(package.folder)))
    with pytest.raises(UserError, match="--max-shard-size"):
        package_checkpoint(workspace, name="odd", options=PackageOptions(shard_size="much"))


def test_a_form_that_reads_back_otherwise_is_an_error(workspace: Workspace, monkeypatch):
    real = module.write_single_file

    def spoilt(pipeline, family, target, precision, metadata, marks):
        real(pipeline, family, target, precision, metadata, marks)
        tensors = load_file(target)
        name = "model.diffusion_model.out.2.weight"
        save_file(tensors | {name: tensors[name] + 1}, target)

    monkeypatch.setattr(module, "write_single_file", spoilt)
    with pytest.raises(RunError, match="unet: 1 tensors differ when read back"):
        package_checkpoint(workspace, name="odd", options=PackageOptions(extras=("single-file",)))
    assert not (workspace.packaged / "odd").exists()


def test_a_tensor_without_a_place_is_an_error(
    workspace: Workspace, tmp_path: Path, tiny_base: Path
):
    other = make_workspace(tmp_path / "work", tiny_base, count=1)
    path = make_run(other) / "unet_ema" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({"stray": torch.zeros(1), **tensors}, path)
    with pytest.raises(RunError, match="unet: 1 unexpected keys, stray first"):
        package_checkpoint(other)
    tensors.pop("conv_in.weight")
    save_file(tensors, path)
    with pytest.raises(RunError, match=r"conv_in\.weight"):
        package_checkpoint(other)


def test_unknown_forms_are_refused():
    for fields, option in (
        ({"precision": "fp8"}, "--dtype"),
        ({"extras": ("zip",)}, "--also"),
        ({"lora_rank": 0}, "--lora-rank"),
    ):
        with pytest.raises(UserError, match=option):
            PackageOptions(**fields)
