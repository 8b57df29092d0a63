"""Other people's LoRAs (Hu et al. 2021, https://arxiv.org/abs/2106.09685): every layer or none.

diffusers reads both its own layouts and kohya's, and passes over what finds no place. So the layers
are counted first, by the file's header alone, and each must belong to a layer of the base.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from torch import nn

from sfe_core.diffusion.families.contract import BaseConfigs, Family
from sfe_core.diffusion.families.known import (
    family_drawn_by,
    family_of,
    networks_of,
)
from sfe_core.diffusion.handed_over import what_it_is
from sfe_core.diffusion.weight_files import empty_network
from sfe_core.errors import UserError
from sfe_core.file_kinds import HEAD_BYTES, SAFETENSORS, kind_of
from sfe_core.quiet import quiet_libraries

Place = tuple[str, str]  # a part of the pipeline and a layer in it
Shape = tuple[int, ...]

_WHERE = "sampling.loras"
_GIVE = "give the .safetensors file of a LoRA in diffusers' or kohya's layout"
_EXTRACT = "only plain LoRAs are read: take one, or extract one with its trainer's tools"
# How diffusers, in its old and new layouts, and kohya end the names of a layer's two matrices.
_DOWN = re.compile(r"(?:\.lora_down|\.lora_A|[._]lora\.down|\.lora_linear_layer\.down)\.weight$")
_UP = re.compile(r"(?:\.lora_up|\.lora_B|[._]lora\.up|\.lora_linear_layer\.up)\.weight$")
_ALPHA = ".alpha"
_KIN = (
    ("hada_", "a LoHa"),
    ("lokr_", "a LoKr"),
    ("oft_", "an OFT"),
    # diffusers leaves the magnitudes of kohya's out, and scales its own by no weight.
    ("dora_scale", "a DoRA"),
    ("lora_magnitude_vector", "a DoRA"),
    ("lora_mid", "a LoCon with a Tucker core"),
)
_OLD_TEXT = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
# Beginnings of what metadata call the base.
_SAID = (
    ("sd_v1", "Stable Diffusion 1.5"),
    ("stable-diffusion-v1", "Stable Diffusion 1.5"),
    ("sdxl", "Stable Diffusion XL"),
    ("stable-diffusion-xl", "Stable Diffusion XL"),
    ("sd_v2", "Stable Diffusion 2"),
    ("stable-diffusion-v2", "Stable Diffusion 2"),
    ("sd3", "Stable Diffusion 3"),
    ("stable-diffusion-v3", "Stable Diffusion 3"),
    ("stable-diffusion-3", "Stable Diffusion 3"),
    ("flux", "FLUX"),
)
# Parts of layers' names that tell a family by themselves.
_TELLING = (
    ("double_blocks", "FLUX"),
    ("single_transformer_blocks", "FLUX"),
    ("joint_blocks", "Stable Diffusion 3"),
    ("lora_te2_", "Stable Diffusion XL"),
    ("text_encoder_2.", "Stable Diffusion XL"),
)
# Width of the text that cross-attention reads.
_TEXT_WIDTHS = {
    768: "Stable Diffusion 1.5",
    1024: "Stable Diffusion 2",
    2048: "Stable Diffusion XL",
}


@dataclass(frozen=True)
class LoraFile:
    """What the header of a LoRA says.

    Args:
        path: of the file.
        layers: a layer, as the file names it, to the shapes of its down and up matrices.
        alphas: of layers that have one, kohya's: their product counts alpha / rank times.
        notes: the metadata.
    """

    path: Path
    layers: Mapping[str, tuple[Shape, Shape]]
    alphas: Mapping[str, float]
    notes: Mapping[str, str]


def read_lora(path: Path) -> LoraFile:
    """Read the header of a LoRA, and its alphas; no matrix is loaded.

    Raises:
        UserError: there is no such file, it is no safetensors file or is torn, is empty, is no
            LoRA, is one of a kind that is more than two matrices a layer, or lacks one of the two.
    """
    where = f"{_WHERE}: {path}"
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(where, problem, _GIVE)
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES), path.suffix)
        if kind != SAFETENSORS:
            raise UserError(where, f"is {kind.name}, not a safetensors file", _GIVE)
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            alphas = {
                name.removesuffix(_ALPHA): float(file.get_tensor(name))
                for name, shape in shapes.items()
                if name.endswith(_ALPHA) and shape in ((), (1,))
            }
    except (OSError, SafetensorError) as error:
        raise UserError(where, f"cannot be read ({error})", "copy or download it again") from error
    if not shapes:
        raise UserError(where, "holds no tensors", _GIVE)
    for mark, kin in _KIN:
        if any(mark in name for name in shapes):
            raise UserError(where, f"is {kin}, not a plain LoRA", _EXTRACT)
    return LoraFile(path, _layers(path, shapes), alphas, notes)


def _layers(path: Path, shapes: Mapping[str, Shape]) -> dict[str, tuple[Shape, Shape]]:
    where = f"{_WHERE}: {path}"
    downs = {_DOWN.sub("", name): name for name in shapes if _DOWN.search(name)}
    ups = {_UP.sub("", name): name for name in shapes if _UP.search(name)}
    if not downs and not ups:
        raise UserError(where, f"is {what_it_is(path)[0]} without LoRA layers", _GIVE)
    known = {*downs.values(), *ups.values()}
    known |= {layer + _ALPHA for layer in downs if shapes.get(layer + _ALPHA) in ((), (1,))}
    for name in shapes:
        if name not in known:
            raise UserError(where, f"{name} is no part of a plain LoRA", _EXTRACT)
    for layer in downs.keys() ^ ups.keys():
        lacking = "up" if layer in downs else "down"
        raise UserError(where, f"{layer} has no {lacking} matrix", "download it again")
    return {layer: (shapes[downs[layer]], shapes[ups[layer]]) for layer in sorted(downs)}


def check_loras(paths: Iterable[Path], configs: BaseConfigs) -> None:
    """Refuse a LoRA of which not every layer has a place in a base, before either is loaded.

    Args:
        paths: of the LoRAs.
        configs: of the base or package.

    Raises:
        UserError: as `read_lora`; or says how many layers have no place, which is the first of
            them, and for what the file was made where that can be told.
    """
    files = [read_lora(path) for path in paths]
    if not files:
        return
    family = family_of(configs)
    wanted = ("unet", *family.text_encoders)
    networks = {
        part: empty_network(kind, configs.of(part))
        for part, kind in networks_of(configs).items()
        if part in wanted
    }
    for file in files:
        _fit(file, networks, family)


def add_lora(pipeline: DiffusionPipeline, path: Path, weight: float) -> None:
    """Add a LoRA, times a weight, to the weights of a pipeline's UNet and text encoders.

    The networks stay what they were, so that all that is fastened to them still works.

    Args:
        pipeline: of a known family, on any device, best in float32.
        path: of the LoRA.
        weight: 1 adds what was learnt; 0 changes nothing.

    Raises:
        UserError: as `check_loras`; or diffusers does not take it.
    """
    family = family_drawn_by(pipeline)
    networks, file = _networks(pipeline), read_lora(path)
    placed = _fit(file, networks, family)
    expected = set(placed.values())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*alpha_pattern")  # `_scale` mends that
            reached = load_adapter(pipeline, path)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise UserError(f"{_WHERE}: {path}", f"diffusers refuses it ({error})", _GIVE) from error
    if reached != expected:
        (part, layer), *rest = sorted(reached ^ expected)
        raise UserError(
            f"{_WHERE}: {path}",
            f"diffusers puts {1 + len(rest)} of its {len(expected)} layers elsewhere, "
            f"{part}.{layer} first",
            "save it in diffusers' own layout",
        )
    _scale(file, placed, networks)
    with quiet_libraries():
        pipeline.fuse_lora(components=sorted({part for part, _ in reached}), lora_scale=weight)
        pipeline.unload_lora_weights()


def _scale(file: LoraFile, placed: Mapping[str, Place], networks: Mapping[str, nn.Module]) -> None:
    """Let each product of a loaded LoRA count alpha / rank times.

    Where alphas differ, diffusers 0.42 looks attentions' and text encoders' up by names that they
    do not have, and gives those layers the commonest one.
    """
    for layer, (part, name) in placed.items() if file.alphas else ():
        module, rank = networks[part].get_submodule(name), file.layers[layer][0][0]
        assert isinstance(module, LoraLayer)
        for adapter in module.scaling:
            module.scaling[adapter] = file.alphas.get(layer, rank) / rank


def load_adapter(pipeline: DiffusionPipeline, path: Path) -> set[Place]:
    """Load a LoRA beside a pipeline's weights; the layers that it reached.

    Raises:
        OSError, ValueError, RuntimeError, TypeError, KeyError: what diffusers makes of misfits.
    """
    with quiet_libraries():
        pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
    return {
        (part, name)
        for part, network in _networks(pipeline).items()
        for name, module in network.named_modules()
        if isinstance(module, LoraLayer)
    }


def _networks(pipeline: DiffusionPipeline) -> dict[str, nn.Module]:
    parts = ("unet", *family_drawn_by(pipeline).text_encoders)
    found = {part: getattr(pipeline, part, None) for part in parts}
    return {part: network for part, network in found.items() if isinstance(network, nn.Module)}


def _fit(file: LoraFile, networks: Mapping[str, nn.Module], family: Family) -> dict[str, Place]:
    """Each layer of a LoRA to the one that it changes; a UserError unless all of its have one."""
    places, shapes = _places(networks, family)
    lost = [layer for layer in file.layers if layer not in places]
    where, count = f"{_WHERE}: {file.path}", len(file.layers)
    made_for = _made_for(file)
    remedy = f"this base is {family.name}: give a LoRA made for it"
    if made_for and made_for != family.name:
        remedy = f"it was made for {made_for}, and {remedy}"
    elif len(lost) == count:
        remedy += ", with layers named unet.… or lora_unet_…"
    if lost:
        raise UserError(
            where, f"{len(lost)} of its {count} layers find no place, {lost[0]} first", remedy
        )
    wrong = [
        layer
        for layer, pair in file.layers.items()
        if not _multiplies(*pair, shapes[places[layer]])
    ]
    if wrong:
        down, up = file.layers[wrong[0]]
        raise UserError(
            where,
            f"{len(wrong)} of its {count} layers are of another shape, {wrong[0]} first: "
            f"{list(down)} and {list(up)} for weights of {list(shapes[places[wrong[0]]])}",
            remedy,
        )
    found = {layer: places[layer] for layer in file.layers}
    if len(set(found.values())) < count:
        raise UserError(where, "names a layer of the base twice", "save it again in one layout")
    return found


def _multiplies(down: Shape, up: Shape, weight: Shape) -> bool:
    """Whether up · down has the shape of a weight: [out, r, 1…] · [r, in, …] of [out, in, …]."""
    return (
        len(down) == len(up) == len(weight)
        and down[1:] == weight[1:]
        and up[:2] == (weight[0], down[0])
        and all(side == 1 for side in up[2:])
    )


def _places(
    networks: Mapping[str, nn.Module], family: Family
) -> tuple[dict[str, Place], dict[Place, Shape]]:
    """Every name that a LoRA may give a layer, to the layer; and the shapes of their weights."""
    names: dict[str, Place] = {}
    shapes: dict[Place, Shape] = {}
    for part, network in networks.items():
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                place = (part, name)
                shapes[place] = tuple(module.weight.shape)
                for alias in _diffusers_names(part, name):
                    names[alias] = place
    # kohya's names of them, told by numbers that travel through the family's renaming.
    order = list(shapes)
    plain = {
        f"{_plain(*place)}.lora_A.weight": torch.tensor([number])
        for number, place in enumerate(order)
    }
    for name, number in family.kohya_lora(plain, networks["unet"]).items():
        if name.endswith(".lora_down.weight"):
            names[name.removesuffix(".lora_down.weight")] = order[int(number)]
    for part, name in shapes:
        beginnings = {"unet": ("lora_unet",), "text_encoder": ("lora_te", "lora_te1")}
        for begin in beginnings.get(part, ("lora_te2",)):
            layer = _plain(part, name).removeprefix(f"{part}.").replace(".", "_")
            names.setdefault(f"{begin}_{layer}", (part, name))
    return names, shapes


def _plain(part: str, name: str) -> str:
    """A layer's name as diffusers writes it; transformers left `text_model.` out from 5.6 on."""
    if part == "unet" or name == "text_projection":
        return f"{part}.{name}"
    return f"{part}.text_model.{name.removeprefix('text_model.')}"


def _diffusers_names(part: str, name: str) -> set[str]:
    """A layer's names in the layouts that diffusers has written over the years."""
    plain = _plain(part, name)
    names = {plain, f"{part}.{name}"}
    block, _, last = plain.rpartition(".")
    if part != "unet":
        return names | ({f"{block}.{_OLD_TEXT[last]}"} if last in _OLD_TEXT else set())
    if match := re.fullmatch(r"(.*\.attn\d)\.(to_[qkv]|to_out)(?:\.0)?", plain):
        names.add(f"{match[1]}.processor.{match[2]}")
    return names


def _made_for(file: LoraFile) -> str:
    """The family that a LoRA says it was made for, or that its layers tell of; "" where neither."""
    keys = ("ss_base_model_version", "modelspec.architecture")
    for said in filter(None, (file.notes.get(key, "").lower() for key in keys)):
        for start, name in _SAID:
            if said.startswith(start):
                return name
    for mark, name in _TELLING:
        if any(mark in layer for layer in file.layers):
            return name
    for layer, (down, _) in file.layers.items():
        if re.search(r"attn2[._](processor\.)?to_k$", layer) and down[1] in _TEXT_WIDTHS:
            return _TEXT_WIDTHS[down[1]]
    return ""
