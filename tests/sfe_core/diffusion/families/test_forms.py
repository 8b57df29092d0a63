"""A base comes in any form of files; its tensors, what it draws and its hash are the same."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfe_core.assets.store import assets_root
from sfe_core.diffusion import unpacking
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.families.original import original_tensors
from sfe_core.diffusion.families.sd15 import FAMILY
from sfe_core.diffusion.hashing import _hash_of_files, hash_base, is_base
from sfe_core.diffusion.loading import BaseModels, check_base, load_base, load_part, read_configs
from sfe_core.diffusion.unpacking import base_folder
from sfe_core.errors import UserError
from sfe_core.packaging.single_file import write_single_file
from sfe_core.runs.start import plan_training
from sfe_core.training.options import TrainOptions
from tests.tiny import make_tiny_workspace

PARTS = ("unet", "vae", "text_encoder")


def same_tensors(first: BaseModels, second: BaseModels) -> bool:
    pairs = [(first.unet, second.unet), (first.vae, second.vae)]
    pairs += zip(first.text_encoders.values(), second.text_encoders.values(), strict=True)
    return all(
        one.state_dict().keys() == other.state_dict().keys()
        and all(torch.equal(one.state_dict()[k], other.state_dict()[k]) for k in one.state_dict())
        for one, other in pairs
    )


def one_file(base: Path) -> dict[str, torch.Tensor]:
    """All tensors of a base under their original names."""
    layout = family_of(read_configs(base)).original
    tensors = original_tensors(layout, {name: load_part(base, name) for name in layout})
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def to_bin(path: Path) -> None:
    name = path.stem if path.stem != "model" else "pytorch_model"
    torch.save(load_file(path), path.with_name(f"{name}.bin"))


def to_old_bin(path: Path) -> None:
    name = path.stem if path.stem != "model" else "pytorch_model"
    torch.save(load_file(path), path.with_name(f"{name}.bin"), _use_new_zipfile_serialization=False)


def to_shards(path: Path) -> None:
    tensors = load_file(path)
    names = sorted(tensors)
    where = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        shard = f"{path.stem}-0000{number}-of-00002.safetensors"
        save_file({n: tensors[n] for n in part}, path.with_name(shard), metadata={"format": "pt"})
        where |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": where}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))


def to_variant(path: Path) -> None:
    shutil.copyfile(path, path.with_name(f"{path.stem}.fp16.safetensors"))


@pytest.mark.parametrize("form", [to_bin, to_old_bin, to_shards, to_variant])
def test_every_form_of_a_folder_is_the_same_base(tiny_base: Path, tmp_path: Path, form):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    for part in PARTS:
        (path,) = (base / part).glob("*.safetensors")
        form(path)
        path.unlink()
    check_base(base)
    assert same_tensors(load_base(base), load_base(tiny_base))
    assert hash_base(base) == hash_base(tiny_base)


def test_half_precision_is_loaded_in_single(tiny_base: Path, tmp_path: Path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    for part in PARTS:
        (path,) = (base / part).glob("*.safetensors")
        half = {name: tensor.half() for name, tensor in load_file(path).items()}
        save_file(half, path.with_name(f"{path.stem}.fp16.safetensors"), metadata={"format": "pt"})
        path.unlink()
    loaded = load_base(base)
    assert {p.dtype for p in loaded.unet.parameters()} == {torch.float32}
    assert torch.equal(
        loaded.unet.conv_in.weight, load_base(tiny_base).unet.conv_in.weight.half().float()
    )
    assert hash_base(base) != hash_base(tiny_base)  # rounded: other values


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2", "scheduler", "vae"])
def test_the_hash_sees_every_part(tiny_sdxl: Path, tmp_path: Path, part: str):
    base = shutil.copytree(tiny_sdxl, tmp_path / "base")
    assert hash_base(base) == hash_base(tiny_sdxl)
    if part == "scheduler":
        path = base / part / "scheduler_config.json"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"})
        )
    elif part == "tokenizer_2":
        shutil.rmtree(base / part)
        shutil.copytree(base / "tokenizer", base / part)  # fills up with another token
    elif part == "vae":
        path = base / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"scaling_factor": 0.5}))
    else:
        (path,) = (base / part).glob("*.safetensors")
        tensors = load_file(path)
        tensors["text_projection.weight"] += 1e-3
        save_file(tensors, path, metadata={"format": "pt"})
    assert hash_base(base) != hash_base(tiny_sdxl)


def test_a_checkpoint_of_before_knows_its_base_by_the_old_hash(tiny_base: Path, tmp_path: Path):
    other = shutil.copytree(tiny_base, tmp_path / "other")
    (path,) = (other / "unet").glob("*.safetensors")
    tensors = load_file(path)
    tensors["conv_in.bias"] += 1.0
    save_file(tensors, path, metadata={"format": "pt"})
    for recorded in (hash_base(tiny_base), _hash_of_files(tiny_base)):
        assert is_base(tiny_base, recorded)
        assert not is_base(other, recorded)


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
@pytest.mark.parametrize("kind", ["tiny_base", "tiny_sdxl"])
def test_one_file_in_its_pipelines_folder_is_the_same_base(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, ending: str
):
    base = shutil.copytree(request.getfixturevalue(kind), tmp_path / "base")
    path = base / f"one.{ending}"
    tensors = one_file(base)
    if ending == "ckpt":
        torch.save({"state_dict": tensors, "global_step": 3}, path)
    else:
        save_file(tensors, path)
    check_base(path)
    assert not (assets_root() / "unpacked").exists()  # told by the header alone
    assert same_tensors(load_base(path), load_base(base))
    assert hash_base(path) == hash_base(base)
    again = base_folder(path)
    assert again == base_folder(path) and again.is_relative_to(assets_root())


def test_a_packages_single_file_is_a_base(tiny_base: Path, tmp_path: Path):
    package = shutil.copytree(tiny_base, tmp_path / "package")
    pipeline = StableDiffusionPipeline.from_pretrained(package)
    path = package / "single" / "m.safetensors"
    path.parent.mkdir()
    write_single_file(
        pipeline, FAMILY, path, None, {"modelspec.title": "x"}, {"v_pred": torch.empty(0)}
    )
    workspace = make_tiny_workspace(tmp_path / "work", path, images=8)
    plan = plan_training(workspace, TrainOptions())
    assert plan.told["base"] == path and plan.parameters > 100_000
    assert same_tensors(load_base(path), load_base(package))


@pytest.fixture
def clip_merges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A list of merges as CLIP's authors published theirs, for a vocabulary of 600 tokens."""
    words = 600
    lines = ["#version: 0.2", *(f"a {chr(97 + n % 26)}" for n in range(words - 514)), "z z", ""]
    path = tmp_path / "merges.txt.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    monkeypatch.setattr(unpacking, "_CLIP_WORDS", words)
    monkeypatch.setattr(unpacking, "locate", lambda name: path)
    return path


def standard_tiny(folder: Path, sdxl: bool) -> Path:
    """A base of the standard heads, norms and scale, and of few parameters: its shapes tell all."""
    torch.manual_seed(3)
    text = {
        "vocab_size": 600, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 1, "bos_token_id": 598, "eos_token_id": 599, "pad_token_id": 599,
        "projection_dim": 64,
    }  # fmt: skip
    CLIPTextModel(CLIPTextConfig(**text)).save_pretrained(folder / "text_encoder")
    if sdxl:
        second = CLIPTextConfig(**{**text, "hidden_size": 128, "projection_dim": 80,
                                   "num_attention_heads": 2, "hidden_act": "gelu"})  # fmt: skip
        CLIPTextModelWithProjection(second).save_pretrained(folder / "text_encoder_2")
    extra = {
        "transformer_layers_per_block": [1, 2],
        "use_linear_projection": True,
        "attention_head_dim": [1, 2],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80 + 48,
    }
    UNet2DConditionModel(
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        cross_attention_dim=192 if sdxl else 64,
        **(extra if sdxl else {}),
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=2,
        scaling_factor=0.13025 if sdxl else 0.18215,
    ).save_pretrained(folder / "vae")
    names = {"unet": "diffusers", "vae": "diffusers", "text_encoder": "transformers"}
    names |= {"text_encoder_2": "transformers"} if sdxl else {}
    index = {"_class_name": "any", **{name: [library, "x"] for name, library in names.items()}}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def plain_config(network: torch.nn.Module) -> dict:
    """What decides what a network computes."""
    config = network.config
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    odd = {"sample_size", "architectures", "dtype"}
    return {k: v for k, v in values.items() if k not in odd and not k.startswith("_")}


@pytest.mark.parametrize("sdxl", [False, True])
@pytest.mark.parametrize("marked", [False, True])
def test_one_file_alone_is_told_by_its_shapes(
    tmp_path: Path, clip_merges: Path, sdxl: bool, marked: bool
):
    folder = standard_tiny(tmp_path / "folder", sdxl)
    tensors = one_file(folder)
    notes = {}
    if marked and sdxl:
        tensors |= {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)}
    elif marked:
        notes = {"modelspec.prediction_type": "v", "ss_zero_terminal_snr": "True"}
    tensors["model_ema.decay"] = torch.tensor(0.9)
    path = tmp_path / "alone.safetensors"
    save_file(tensors, path, metadata=notes)
    family, _ = check_base(path)
    loaded = load_base(path)
    for name in family.original:
        network = loaded.text_encoders.get(name) or getattr(loaded, name)
        wanted = load_part(folder, name)
        assert plain_config(network) == plain_config(wanted)
        for key, tensor in wanted.state_dict().items():
            assert torch.equal(network.state_dict()[key], tensor)
    scheduler = loaded.scheduler.config
    assert scheduler.prediction_type == ("v_prediction" if marked else "epsilon")
    assert scheduler.rescale_betas_zero_snr is marked
    assert loaded.encode_text(["a face"]).states.shape == (1, 77, 192 if sdxl else 64)


def test_a_file_of_missing_or_odd_tensors_is_refused(tiny_base: Path, tmp_path: Path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    tensors = one_file(base)
    path = base / "one.safetensors"
    name = "cond_stage_model.transformer.text_model.final_layer_norm.bias"
    for changed, said in (
        ({k: v for k, v in tensors.items() if k != name}, f"no {name}"),
        ({**tensors, "first_stage_model.odd": torch.zeros(1)}, "unknown first_stage_model.odd"),
        ({**tensors, name: torch.zeros(3)}, r"final_layer_norm.bias is \[3\], not \[32\]"),
    ):
        save_file(changed, path)
        with pytest.raises(UserError, match=f"in one file, and does not fit: .*{said}"):
            check_base(path)
    path = base / "pickle.ckpt"
    torch.save({"state_dict": tensors, "callbacks": Path("x")}, path)
    with pytest.raises(UserError, match=r"pickle.ckpt: is a PyTorch checkpoint.*weights"):
        check_base(path)
    lone = tmp_path / "lone.safetensors"
    save_file(tensors, lone)
    with pytest.raises(UserError, match="knows 190 tokens .*leave the file in"):
        check_base(lone)
