from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.errors import RunError, UserError
from sfe_core.files import sha256_file
from sfe_core.packaging import package as module
from sfe_core.packaging.listing import guidance_maps, list_packages
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import newest_package, package_checkpoint
from sfe_core.packaging.trial import check_picture
from tests.tiny_workspace import SPLIT, make_run, make_workspace

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def workspace(tiny_base: Path, tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "work", tiny_base, count=1)


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def draw(pipeline: StableDiffusionPipeline, **guidance: object) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    options = {"num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}
    return pipeline("happy", generator=generator, **options, **guidance).images[0]


def test_plain_diffusers_loads_the_fine_tuned_model(workspace: Workspace, tiny_base: Path):
    checkpoint = make_run(workspace)
    summary = package_checkpoint(workspace)
    assert summary.folder == workspace.root / "packaged" / "first-10"
    assert (summary.run, summary.step, summary.weights) == ("first", 10, "ema")
    assert same_weights(summary.folder / "unet", checkpoint / "unet_ema")
    assert not same_weights(summary.folder / "unet", checkpoint / "unet")
    assert same_weights(summary.folder / "guidance_encoder", checkpoint / "guidance_encoder_ema")
    assert same_weights(summary.folder / "vae", tiny_base / "vae")

    index = json.loads((summary.folder / "model_index.json").read_text())
    assert index == json.loads((tiny_base / "model_index.json").read_text())
    fine_tuned = draw(StableDiffusionPipeline.from_pretrained(summary.folder))
    base = draw(StableDiffusionPipeline.from_pretrained(tiny_base))
    assert np.isfinite(fine_tuned).all()
    assert np.abs(fine_tuned - base).max() > 0.01


def test_the_guided_pipeline_follows_the_maps(workspace: Workspace):
    make_run(workspace)
    folder = package_checkpoint(workspace).folder
    corpus = Corpus.open(workspace)
    maps = corpus.maps(corpus.split(SPLIT)["key"][0], 32)
    images = {name: image[None] for name, image in maps.items()}
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(folder)
    guided, plain = draw(pipeline, guidance_images=images), draw(pipeline)
    assert guidance_maps(folder) == ("landmarks", "depth", "mesh")
    assert np.abs(guided - plain).max() > 0.01
    assert np.array_equal(plain, draw(StableDiffusionPipeline.from_pretrained(folder)))


def test_raw_weights_lie_beside_the_average(workspace: Workspace):
    checkpoint = make_run(workspace)
    package_checkpoint(workspace)
    raw = package_checkpoint(workspace, weights="raw")
    assert raw.folder.name == "first-10-raw"
    assert same_weights(raw.folder / "unet", checkpoint / "unet")
    assert list_packages(workspace) == [workspace.packaged / "first-10", raw.folder]
    assert newest_package(workspace) == raw.folder


def test_a_run_without_average_or_maps_is_packaged_as_it_is(workspace: Workspace):
    checkpoint = make_run(workspace, ema=False, bank=False)
    summary = package_checkpoint(workspace)
    assert (summary.weights, summary.folder.name) == ("raw", "first-10-raw")
    assert same_weights(summary.folder / "unet", checkpoint / "unet")
    assert not (summary.folder / "guidance_encoder").exists()
    assert [path.name for path in summary.pictures] == ["sample.png"]
    assert guidance_maps(summary.folder) == ()


def test_provenance_and_card_tell_where_it_came_from(workspace: Workspace):
    checkpoint = make_run(workspace)
    summary = package_checkpoint(workspace)
    said = json.loads((summary.folder / "provenance.json").read_text(encoding="utf-8"))
    meta = json.loads((checkpoint / "meta.json").read_text())
    assert said["base"]["sha256"] == meta["base_sha256"]
    assert said["corpus_sha256"] == meta["corpus_sha256"]
    assert said["models"] == meta["must_match"] != {}
    assert (said["run"], said["step"], said["weights"]) == ("first", 10, "ema")
    assert said["metrics"] == {"step": 10, "raw/noise": 0.1}  # not the line of step 15
    for name, digest in said["files"].items():
        assert sha256_file(summary.folder / name) == digest
    on_disk = {path.relative_to(summary.folder).as_posix() for path in _files(summary.folder)}
    assert on_disk == {*said["files"], "provenance.json"}

    card = (summary.folder / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "diffusers"
    for fact in (
        "first, step 10",
        meta["base_sha256"][:16],
        "abababababababab",
        "| raw/noise | 0.1 |",
    ):
        assert fact in card
    config = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    settings = workspace.config.model_dump(mode="json")
    settings["model"]["base"] = Path(workspace.config.model.base).name
    assert config == settings
    for picture in summary.pictures:
        assert Image.open(picture).size == (32, 32)


def test_no_file_tells_where_it_was_made(workspace: Workspace, tiny_base: Path):
    checkpoint = make_run(workspace)
    assert str(tiny_base).encode() in (checkpoint / "unet_ema" / "config.json").read_bytes()
    extras = ("single-file", "lora-kohya", "lora-diffusers", "stableface")
    folder = package_checkpoint(workspace, options=PackageOptions(extras=extras)).folder
    for place in (tiny_base, workspace.root):
        telling = [path for path in _files(folder) if str(place).encode() in path.read_bytes()]
        assert telling == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_package_is_replaced_only_when_forced(workspace: Workspace):
    make_run(workspace)
    folder = package_checkpoint(workspace).folder
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="first-10: exists; replace it with --force"):
        package_checkpoint(workspace)
    assert (folder / "mine.txt").is_file()
    package_checkpoint(workspace, force=True)
    assert not (folder / "mine.txt").exists()
    assert package_checkpoint(workspace, name="other").folder.name == "other"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a/b", "..", "../x", ".hidden", "", "/abs", "a\\b"])
def test_a_name_stays_below_packaged(workspace: Workspace, name: str):
    make_run(workspace)
    with pytest.raises(UserError, match="--name"):
        package_checkpoint(workspace, name=name)
    assert not workspace.packaged.exists()


@pytest.mark.parametrize(
    ("part", "harm"),
    [
        ("unet_ema", "cut"),
        ("unet_ema", "emptied"),
        ("unet_ema", "removed"),
        ("guidance_encoder_ema", "cut"),
        ("guidance_encoder_ema", "removed"),
        ("guidance_encoder_ema", "folder removed"),
    ],
)
def test_a_torn_checkpoint_is_refused_and_leaves_nothing(
    workspace: Workspace, part: str, harm: str
):
    folder = make_run(workspace) / part
    path = folder / WEIGHTS
    if harm == "folder removed":
        shutil.rmtree(folder)
    elif harm == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -100 if harm == "cut" else 0])
    with pytest.raises(RunError, match="torn.*another step of run first with --step"):
        package_checkpoint(workspace)
    assert not workspace.packaged.exists()


def spoil(folder: Path, value: float) -> None:
    """Set the last layer's weights to `value`, in every network of that folder."""
    tensors = load_file(folder / WEIGHTS)
    for name in tensors:
        if "conv_out" in name:
            tensors[name] = torch.full_like(tensors[name], value)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("part", ["unet_ema", "guidance_encoder_ema"])
def test_a_package_that_draws_nan_never_gets_its_name(workspace: Workspace, part: str):
    spoil(make_run(workspace) / part, float("nan"))
    with pytest.raises(RunError, match="first-10: the package draws values that are not finite"):
        package_checkpoint(workspace)
    assert list(workspace.packaged.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_package(workspace: Workspace):
    checkpoint = make_run(workspace)
    folder = package_checkpoint(workspace).folder
    before = sha256_file(folder / "provenance.json")
    spoil(checkpoint / "unet_ema", float("nan"))
    with pytest.raises(RunError):
        package_checkpoint(workspace, force=True)
    assert sha256_file(folder / "provenance.json") == before
    assert [path.name for path in workspace.packaged.iterdir()] == ["first-10"]


def test_a_blank_picture_is_refused():
    picture = torch.full((3, 8, 8), 0.5)
    with pytest.raises(RunError, match="x: the package draws a blank picture"):
        check_picture(picture, "x")
    picture[0, 0, 0] = 0.6
    assert np.asarray(check_picture(picture, "x"))[0, 0, 0] == 153


def test_another_base_than_the_runs_is_refused_and_a_moved_one_found(
    workspace: Workspace, tiny_base: Path, tmp_path: Path
):
    checkpoint = make_run(workspace)
    moved = Path(shutil.copytree(tiny_base, tmp_path / "moved"))
    meta = json.loads((checkpoint / "meta.json").read_text())
    (checkpoint / "meta.json").write_text(json.dumps(meta | {"base": str(tmp_path / "gone")}))
    model = workspace.config.model.model_copy(update={"base": str(moved)})
    config = workspace.config.model_copy(update={"model": model})
    workspace = Workspace(workspace.root, config)
    assert package_checkpoint(workspace).folder.is_dir()

    tensors = (moved / "vae" / WEIGHTS).read_bytes()
    (moved / "vae" / WEIGHTS).write_bytes(tensors[:-1] + b"\x01")
    with pytest.raises(UserError, match="not the model the run was trained from"):
        package_checkpoint(workspace, force=True)


def test_only_the_plain_weights_of_a_published_base_are_copied(
    workspace: Workspace, tiny_base: Path, tmp_path: Path
):
    base = Path(shutil.copytree(tiny_base, tmp_path / "published"))
    for name in ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.safetensors"):
        (base / "vae" / name).write_bytes(b"another form of the same")
    (base / "single-file.safetensors").write_bytes(b"all in one")
    model = workspace.config.model.model_copy(update={"base": str(base)})
    workspace = Workspace(workspace.root, workspace.config.model_copy(update={"model": model}))
    make_run(workspace)
    folder = package_checkpoint(workspace).folder
    assert sorted(path.name for path in (folder / "vae").iterdir()) == ["config.json", WEIGHTS]
    assert not (folder / "single-file.safetensors").exists()


def test_without_a_corpus_the_check_uses_black_maps(workspace: Workspace, monkeypatch):
    make_run(workspace)
    shutil.rmtree(workspace.corpus)
    orders = []
    real = module.try_guided
    monkeypatch.setattr(
        module, "try_guided", lambda folder, order: orders.append(order) or real(folder, order)
    )
    summary = package_checkpoint(workspace)
    assert len(summary.pictures) == 2
    assert orders[0].prompt == "happy, close-up photo of a face"
    assert all(float(image.max()) == 0.0 for image in orders[0].maps.values())


def test_a_half_precision_base_makes_a_package_that_plain_diffusers_draws_with(
    tiny_base: Path, tmp_path: Path
):
    half = tmp_path / "half"
    loaded = StableDiffusionPipeline.from_pretrained(tiny_base, torch_dtype=torch.float16)
    loaded.save_pretrained(half)
    workspace = make_workspace(tmp_path / "work", half, count=1)
    make_run(workspace)
    summary = package_checkpoint(workspace)
    pipeline = StableDiffusionPipeline.from_pretrained(summary.folder)
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {torch.float32}
    assert np.isfinite(draw(pipeline)).all()
