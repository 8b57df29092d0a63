"""Packages of recipe physical: they draw what the checkpoint draws, tell their origin, go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.buffers import read_buffers
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.pipeline import RigPipeline, load_rig_pipeline, make_scheduler
from sfe_core.errors import RunError, UserError
from sfe_core.files import sha256_file
from sfe_core.packaging.listing import newest_package
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import PackageExists, package_checkpoint
from sfe_core.packaging.preview import preview_package
from sfe_core.reporting import Reporter
from sfe_core.runs.start import train
from sfe_core.training.options import TrainOptions
from tests.rig_workspace import SIDE, rig_workspace


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Workspace:
    """Two updates of stage 1; tests that write work on a copy."""
    workspace = rig_workspace(tmp_path_factory.mktemp("rig"), train={"steps": 2})
    train(workspace, TrainOptions(cpu_processes=1, run="one"), Reporter())
    return workspace


@pytest.fixture
def workspace(trained, tmp_path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy", trained.config)


def drawn_by(rig_or_pipeline, corpus: Corpus) -> torch.Tensor:
    key = corpus.rows["key"].iloc[0]
    pipeline = rig_or_pipeline
    if isinstance(pipeline, DiffusionRig):
        pipeline = RigPipeline(pipeline.eval(), make_scheduler())
    pipeline.set_progress_bar_config(disable=True)
    buffers, picture = read_buffers(corpus, key, SIDE), corpus.image(key, SIDE)
    return pipeline(buffers[None], pictures=picture[None], steps=3, generators=[4])


def test_a_package_draws_what_its_checkpoint_draws(workspace):
    summary = package_checkpoint(workspace)
    assert summary.folder == workspace.packaged / "one-2" == newest_package(workspace)
    assert summary.weights == "ema" and summary.origin == "run one, step 2"
    corpus = Corpus.open(workspace)
    checkpoint = workspace.runs / "one" / "checkpoint-2"
    wanted = drawn_by(DiffusionRig.from_pretrained(checkpoint / "rig_ema"), corpus)
    found = drawn_by(RigPipeline.from_pretrained(summary.folder), corpus)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    raw = drawn_by(DiffusionRig.from_pretrained(checkpoint / "rig"), corpus)
    assert (raw - wanted).abs().max() > 1e-2


def test_it_tells_where_it_comes_from(workspace):
    folder = package_checkpoint(workspace, name="mine").folder
    told = json.loads((folder / "provenance.json").read_text())
    assert told["source"] == "run one, step 2" and told["recipe"] == "physical"
    assert told["base"] == {"name": "", "sha256": ""} and told["corpus_sha256"]
    assert {"model_index.json", "rig/config.json", "README.md", "sample.png"} <= set(told["files"])
    assert all(sha256_file(folder / name) == digest for name, digest in told["files"].items())
    card = (folder / "README.md").read_text()
    assert "random weights" in card and "RigPipeline.from_pretrained" in card
    assert str(workspace.root) not in card + json.dumps(told)
    assert str(workspace.root) not in (folder / "rig" / "config.json").read_text()
    weights = folder / "rig" / "diffusion_pytorch_model.safetensors"
    with safe_open(weights, framework="pt") as file:
        header = file.metadata()
    assert header["sfe.run"] == "one" and "recipe: physical" in header["sfe.config"]
    files = sorted(path.suffix for path in folder.rglob("*") if path.is_file())
    assert ".bin" not in files and ".pt" not in files


def test_the_same_checkpoint_gives_the_same_weights(workspace):
    files = [
        package_checkpoint(workspace, name="same", force=force).folder
        / "rig"
        / "diffusion_pytorch_model.safetensors"
        for force in (False, True)
    ]
    assert len({sha256_file(path) for path in files}) == 1


def test_half_precision_and_shards(workspace):
    options = PackageOptions(precision="fp16", shard_size="1MB")
    folder = package_checkpoint(workspace, options=options).folder
    shards = list((folder / "rig").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    corpus = Corpus.open(workspace)
    half = drawn_by(load_rig_pipeline(folder), corpus)
    whole = drawn_by(load_rig_pipeline(workspace.runs / "one" / "checkpoint-2" / "rig_ema"), corpus)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, atol=0.05, rtol=0)


def test_a_package_that_stands_is_left_or_reused(workspace):
    first = package_checkpoint(workspace)
    with pytest.raises(PackageExists, match="one-2"):
        package_checkpoint(workspace)
    assert package_checkpoint(workspace, reuse=True).reused
    assert not package_checkpoint(workspace, force=True).reused
    assert first.folder.is_dir()


def test_other_forms_and_torn_checkpoints_are_refused(workspace):
    with pytest.raises(UserError, match="--also single-file.*no other program"):
        package_checkpoint(workspace, options=PackageOptions(extras=("single-file",)))
    weights = workspace.runs / "one" / "checkpoint-2" / "rig_ema"
    path = weights / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="torn"):
        package_checkpoint(workspace)
    assert not list(workspace.packaged.glob("one*"))


def test_without_the_corpus_it_is_packaged_all_the_same(workspace):
    shutil.rmtree(workspace.corpus)
    assert package_checkpoint(workspace).pictures[0].is_file()


def test_the_preview_tells_the_same(workspace):
    preview = preview_package(workspace, PackageOptions())
    assert preview.folder.name == "one-2" and not preview.exists
    written = package_checkpoint(workspace).folder / "rig"
    size = (written / "diffusion_pytorch_model.safetensors").stat().st_size
    assert 0.9 * size < preview.size_bytes <= size


def test_stage_two_goes_on_from_the_package(workspace, tmp_path):
    package = package_checkpoint(workspace, name="stage1").folder
    album = rig_workspace(
        tmp_path / "album",
        {"freeze_encoder": True},
        photos=8,
        model={"base": str(package)},
        train={"steps": 2},
    )
    train(album, TrainOptions(cpu_processes=1, run="me"), Reporter())
    folder = package_checkpoint(album).folder
    told = json.loads((folder / "provenance.json").read_text())
    assert told["base"]["name"] == "stage1" and len(told["base"]["sha256"]) == 64
    assert "the encoder is the base's" in (folder / "README.md").read_text()
    one, other = load_rig_pipeline(package).rig, load_rig_pipeline(folder).rig
    assert torch.equal(one.encoder.bn1.running_mean, other.encoder.bn1.running_mean)
    assert not torch.equal(one.denoisingUNet.out[2].weight, other.denoisingUNet.out[2].weight)


def test_a_run_of_another_recipe_is_packaged_as_before(trained, tmp_path):
    from sfe_core.packaging.rigs import choose_rig

    (tmp_path / "runs" / "x" / "checkpoint-1").mkdir(parents=True)
    checkpoint = tmp_path / "runs" / "x" / "checkpoint-1"
    source: Path = trained.runs / "one" / "checkpoint-2"
    shutil.copy(source / "meta.json", checkpoint / "meta.json")
    assert choose_rig(Workspace(tmp_path, trained.config), None, None) is None
