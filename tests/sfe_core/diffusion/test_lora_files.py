"""LoRAs of both layouts on top of a base, and what is said of those that do not fit."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from sfe_core.diffusion.families.known import family_drawn_by
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.lora_files import add_lora, check_loras, read_lora
from sfe_core.errors import UserError
from sfe_core.packaging.lora import Lora, extract_lora, write_diffusers_lora, write_kohya_lora
from tests.sfe_core.packaging.test_package import draw

LAYOUTS = ("diffusers", "kohya")
BASES = ("tiny_base", "tiny_sdxl")
RANK = 2
Made = tuple[DiffusionPipeline, DiffusionPipeline, Path, dict[str, Path]]


def changed(pipeline: DiffusionPipeline, seed: int) -> tuple[DiffusionPipeline, Lora]:
    """The pipeline with a product of rank RANK added to every matrix, and the product as a LoRA."""
    tuned = copy.deepcopy(pipeline)
    parts = ("unet", *family_drawn_by(pipeline).text_encoders)
    before = {part: getattr(pipeline, part).state_dict() for part in parts}
    generator = torch.Generator().manual_seed(seed)
    for part in parts:
        for name, module in getattr(tuned, part).named_modules():
            text = name.endswith(("_proj", "fc1", "fc2"))
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and (part == "unet" or text):
                flat = module.weight.data.flatten(1)
                up = torch.randn(len(flat), RANK, generator=generator)
                down = torch.randn(RANK, flat.shape[1], generator=generator)
                flat += 0.02 * up @ down
    after = {part: getattr(tuned, part).state_dict() for part in parts}
    return tuned, extract_lora(before, after, RANK)


def written(lora: Lora, pipeline: DiffusionPipeline, folder: Path) -> dict[str, Path]:
    paths = {layout: folder / f"{layout}.safetensors" for layout in LAYOUTS}
    write_diffusers_lora(lora, paths["diffusers"], None, {})
    family = family_drawn_by(pipeline)
    write_kohya_lora(lora, paths["kohya"], None, {}, family, pipeline.unet)
    return paths


@pytest.fixture(scope="module", params=BASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A base, the base with a change, the base's folder, the change as files."""
    folder = request.getfixturevalue(request.param)
    pipeline = DiffusionPipeline.from_pretrained(folder)
    tuned, lora = changed(pipeline, 1)
    return pipeline, tuned, folder, written(lora, pipeline, tmp_path_factory.mktemp("lora"))


def largest(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lora_of_either_layout_draws_as_the_weights_with_its_product(made: Made, layout: str):
    base, tuned, folder, files = made
    check_loras([files[layout]], read_configs(folder))
    with_lora = copy.deepcopy(base)
    add_lora(with_lora, files[layout], 1.0)
    assert largest(draw(base), draw(tuned)) > 0.01
    assert largest(draw(with_lora), draw(tuned)) < 1e-5
    # Nothing of it is left beside the weights, so what is fastened to layers finds them.
    for part in ("unet", "text_encoder"):
        assert (
            getattr(with_lora, part).state_dict().keys() == getattr(base, part).state_dict().keys()
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weight_0_draws_the_picture_without(made: Made, layout: str):
    base, _, _, files = made
    without = copy.deepcopy(base)
    add_lora(without, files[layout], 0.0)
    assert largest(draw(without), draw(base)) < 1e-6


def test_two_add_up_each_times_its_weight(made: Made, tmp_path: Path):
    base, first, _, files = made
    second, lora = changed(base, 2)
    both = copy.deepcopy(base)
    add_lora(both, files["kohya"], 0.5)
    add_lora(both, written(lora, base, tmp_path)["diffusers"], -1.5)
    for part in ("unet", *family_drawn_by(base).text_encoders):
        zero, one, two, found = (
            getattr(pipeline, part).state_dict() for pipeline in (base, first, second, both)
        )
        for name, tensor in found.items():
            wanted = zero[name] + 0.5 * (one[name] - zero[name]) - 1.5 * (two[name] - zero[name])
            torch.testing.assert_close(tensor, wanted, atol=1e-5, rtol=0)


def test_alpha_over_rank_scales_a_kohya_lora(made: Made, tmp_path: Path):
    base, tuned, _, files = made
    tensors = load_file(files["kohya"])
    halved = {name: t / 2 if name.endswith(".alpha") else t for name, t in tensors.items()}
    save_file(halved, tmp_path / "half.safetensors")
    found = copy.deepcopy(base)
    add_lora(found, tmp_path / "half.safetensors", 2.0)
    for part in ("unet", *family_drawn_by(base).text_encoders):
        wanted = getattr(tuned, part).state_dict()
        for name, tensor in getattr(found, part).state_dict().items():
            torch.testing.assert_close(tensor, wanted[name], atol=1e-5, rtol=0)


def test_every_layer_may_have_its_own_rank_and_alpha(made: Made, tmp_path: Path):
    base, _, _, files = made
    tensors, wanted = load_file(files["diffusers"]), {}
    layers = sorted({name.split(".lora_")[0] for name in tensors})
    alphas = {layer: 0.5 + place % 4 for place, layer in enumerate(layers)}
    for place, layer in enumerate(layers):
        down, up = f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
        rank = 1 + place % RANK
        tensors[down] = tensors[down][:rank].contiguous()
        tensors[up] = tensors[up][:, :rank].contiguous()
        product = tensors[up].flatten(1) @ tensors[down].flatten(1)
        wanted[layer.replace(".text_model.", ".")] = alphas[layer] / rank * product
    family = family_drawn_by(base)
    write_kohya_lora(
        Lora(tensors, RANK, 1.0), tmp_path / "k.safetensors", None, {}, family, base.unet
    )
    kohya = load_file(tmp_path / "k.safetensors")
    coded = {f"{layer}.lora_A.weight": torch.tensor([i]) for i, layer in enumerate(layers)}
    for name, place in family.kohya_lora(coded, base.unet).items():
        if name.endswith(".lora_down.weight"):
            alpha = torch.tensor(float(alphas[layers[int(place)]]))
            kohya[name.replace(".lora_down.weight", ".alpha")] = alpha
    save_file(kohya, tmp_path / "k.safetensors")
    found = copy.deepcopy(base)
    add_lora(found, tmp_path / "k.safetensors", 1.0)
    for part in ("unet", *family.text_encoders):
        before = getattr(base, part).state_dict()
        for name, tensor in getattr(found, part).state_dict().items():
            layer = f"{part}.{name.removeprefix('text_model.').removesuffix('.weight')}"
            change = tensor - before[name]
            expected = wanted.pop(layer, None) if name.endswith(".weight") else None
            expected = torch.zeros_like(change) if expected is None else expected.view_as(change)
            torch.testing.assert_close(change, expected, atol=1e-5, rtol=0)
    assert not wanted


def test_diffusers_old_names_and_half_precision(made: Made, tmp_path: Path):
    base, _, folder, files = made
    old = {}
    for name, tensor in load_file(files["diffusers"]).items():
        if match := re.match(r"(.*(?:attn\d\.to|self_attn\.[qkvt])\S*?)\.lora_([AB])", name):
            layer, end = match[1], {"A": "down", "B": "up"}[match[2]]
            if layer.startswith("unet."):
                layer = re.sub(r"(attn\d)\.(to_\w+)(\.0)?$", r"\1.processor.\2", layer)
                old[f"{layer}_lora.{end}.weight"] = tensor.half()
            else:
                old[f"{layer}.lora_linear_layer.{end}.weight"] = tensor.half()
    save_file(old, tmp_path / "old.safetensors")
    check_loras([tmp_path / "old.safetensors"], read_configs(folder))
    found = copy.deepcopy(base)
    add_lora(found, tmp_path / "old.safetensors", 1.0)
    modules = dict(found.unet.named_modules())
    pairs = [(n, t) for n, t in old.items() if n.startswith("unet.") and ".down." in n]
    assert pairs
    for name, down in pairs:
        layer = name.removeprefix("unet.").replace(".processor", "").split("_lora.")[0]
        layer += ".0" if layer.endswith("to_out") else ""
        product = old[name.replace(".down.", ".up.")].float() @ down.float()
        wanted = base.unet.get_submodule(layer).weight + product
        torch.testing.assert_close(modules[layer].weight, wanted, atol=1e-6, rtol=0)


def test_what_diffusers_own_training_scripts_save(made: Made, tmp_path: Path):
    """Their alpha stands in the metadata alone."""
    base, _, folder, _ = made
    tuned = copy.deepcopy(base)
    torch.manual_seed(0)
    wanted_layers = ["to_k", "to_q", "to_v", "to_out.0"]
    config = LoraConfig(
        r=4, lora_alpha=12, target_modules=wanted_layers, init_lora_weights="gaussian"
    )
    tuned.unet.add_adapter(config)
    for name, parameter in tuned.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    type(tuned).save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(tuned.unet),
        unet_lora_adapter_metadata=tuned.unet.peft_config["default"].to_dict(),
    )
    path = tmp_path / "pytorch_lora_weights.safetensors"
    check_loras([path], read_configs(folder))
    found = copy.deepcopy(base)
    add_lora(found, path, 1.0)
    assert largest(draw(base), draw(tuned)) > 0.001
    assert largest(draw(found), draw(tuned)) < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_layer_without_a_place_is_counted_and_named(made: Made, tmp_path: Path, layout: str):
    base, _, folder, files = made
    tensors = load_file(files[layout])
    name = next(name for name in tensors if name.startswith(("unet.", "lora_unet_")))
    layer = name.split(".lora_")[0].removesuffix(".alpha")
    odd = {key.replace(f"{layer}.", f"{layer}9."): tensor for key, tensor in tensors.items()}
    save_file(odd, tmp_path / "odd.safetensors")
    count = len(read_lora(files[layout]).layers)
    for refuse in (
        lambda path: check_loras([path], read_configs(folder)),
        lambda path: add_lora(copy.deepcopy(base), path, 1.0),
    ):
        with pytest.raises(UserError, match=rf"1 of its {count} layers find no place, ") as caught:
            refuse(tmp_path / "odd.safetensors")
        assert f"{layer}9 first" in str(caught.value) and "odd.safetensors" in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lora_of_the_other_family_is_refused_with_its_family(
    tiny_base: Path, tiny_sdxl: Path, tmp_path: Path, layout: str
):
    pipeline = DiffusionPipeline.from_pretrained(tiny_sdxl)
    files = written(changed(pipeline, 1)[1], pipeline, tmp_path)
    said = "made for Stable Diffusion XL, and this base is Stable Diffusion 1.5"
    with pytest.raises(UserError, match=said):
        check_loras([files[layout]], read_configs(tiny_base))


def test_other_shapes_are_refused(made: Made, tmp_path: Path):
    _, _, folder, files = made
    tensors = load_file(files["diffusers"])
    name = next(name for name in tensors if name.endswith("attn2.to_k.lora_A.weight"))
    tensors[name] = torch.zeros(RANK, 768)
    save_file(tensors, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match=r"1 of its \d+ layers are of another shape.*\[2, 768\]"):
        check_loras([tmp_path / "wide.safetensors"], read_configs(folder))


KEY = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "holds no tensors"),
        ((f"{KEY}.hada_w1_a",), "is a LoHa, not a plain LoRA"),
        ((f"{KEY}.lokr_w1",), "is a LoKr, not"),
        ((f"{KEY}.oft_blocks",), "is an OFT, not"),
        ((f"{KEY}.lora_down.weight", f"{KEY}.dora_scale"), "is a DoRA, not"),
        ((f"{KEY}.lora_down.weight", f"{KEY}.lora_mid.weight"), "is a LoCon with a Tucker core"),
        ((f"{KEY}.lora_down.weight",), f"{KEY} has no up matrix"),
        ((f"{KEY}.lora_down.weight", f"{KEY}.lora_up.weight", "x.diff"), "x.diff is no part"),
        (("decoder.conv_in.weight",), "is a VAE alone without LoRA layers"),
    ],
)
def test_what_is_no_plain_lora_is_told(tmp_path: Path, names: tuple[str, ...], said: str):
    path = tmp_path / "given.safetensors"
    save_file({name: torch.zeros(1, 1) for name in names}, path)
    with pytest.raises(UserError, match=said) as caught:
        read_lora(path)
    assert "given.safetensors" in str(caught.value) and caught.value.exit_code == 2


def test_what_is_no_safetensors_file_is_never_unpickled(tmp_path: Path):
    torch.save({f"{KEY}.lora_down.weight": torch.zeros(1)}, tmp_path / "a.pt")
    (tmp_path / "b.safetensors").write_bytes(pickle.dumps({"a": 1}))
    save_file({"a": torch.zeros(100)}, tmp_path / "c.safetensors")
    whole = (tmp_path / "c.safetensors").read_bytes()
    (tmp_path / "c.safetensors").write_bytes(whole[:-50])
    for path, said in (
        (tmp_path / "a.pt", "is a PyTorch checkpoint, not a safetensors file"),
        (tmp_path / "b.safetensors", "is a Python pickle, not a safetensors file"),
        (tmp_path / "c.safetensors", "cannot be read"),
        (tmp_path / "gone.safetensors", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(UserError, match=said):
            read_lora(path)
