"""Packages as their registries hand them out, with random weights in the layout of the real ones.

The layouts are written here from what the published files show, and not by turning around what
`sfe_core.assets.conversion` does.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from sfe_core.assets.registry import Asset, AssetFile, registry

Stored = dict[str, np.ndarray]


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with every weight drawn anew, so that the picture still shows at its end."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                fan_in = value[0].numel() if value.ndim > 1 else 50
                value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5)
                if name.endswith("running_var"):
                    value.abs_().add_(0.5)
    return network.eval()


def tfjs_files(tensors: Mapping[str, np.ndarray], packing: str) -> tuple[bytes, bytes]:
    """Manifest and data; matrices and kernels as `packing`: uint8, float16 or float32."""
    entries, data = [], b""
    for name, value in tensors.items():
        value = np.ascontiguousarray(value, "<f4")
        entry = {"name": name, "shape": list(value.shape), "dtype": "float32"}
        if packing == "uint8" and value.ndim > 1:
            low, high = float(value.min()), float(value.max())
            scale = (high - low) / 255
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": low}
            data += np.round((value - low) / scale).astype(np.uint8).tobytes()
        elif packing == "float16":
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            data += value.astype("<f2").tobytes()
        else:
            data += value.tobytes()
        entries.append(entry)
    return json.dumps([{"weights": entries, "paths": ["model.bin"]}]).encode(), data


def kernel(convolution: nn.Conv2d) -> np.ndarray:
    """[out, in / groups, H, W] to TensorFlow's [H, W, in, out], or [H, W, in, 1] of a depthwise."""
    weight = convolution.weight.detach().numpy()
    return (
        np.moveaxis(weight, (2, 3), (0, 1)).swapaxes(2, 3)
        if convolution.groups == 1
        else (np.moveaxis(weight, (2, 3), (0, 1)))
    )


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def face_api_files(network: nn.Module) -> tuple[bytes, bytes]:
    """The manifest and the data of face-api's expression network."""
    found: Stored = {}
    for block in range(4):
        for place in range(4):
            name = f"dense{block}/conv{place}"
            layer = getattr(getattr(network, f"dense{block}"), f"conv{place}")
            if block == place == 0:
                found |= {f"{name}/filters": kernel(layer), f"{name}/bias": numbers(layer.bias)}
            else:
                found[f"{name}/depthwise_filter"] = kernel(layer.depthwise)
                found[f"{name}/pointwise_filter"] = kernel(layer.pointwise)
                found[f"{name}/bias"] = numbers(layer.pointwise.bias)
    found |= {"fc/weights": numbers(network.fc.weight).T, "fc/bias": numbers(network.fc.bias)}
    return tfjs_files(found, "uint8")


def fer_file(network: nn.Module) -> tuple[bytes]:
    """The HDF5 file that Keras wrote of fer's network."""
    found: Stored = {}

    def norm(number: int, layer: nn.BatchNorm2d) -> None:
        name = f"batch_normalization_{number}"
        parts = {"gamma": "weight", "beta": "bias"}
        parts |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
        for theirs, ours in parts.items():
            found[f"{name}/{name}_1/{theirs}:0"] = numbers(getattr(layer, ours))

    def plain(number: int, layer: nn.Conv2d) -> None:
        found[f"conv2d_{number}/conv2d_{number}_1/kernel:0"] = kernel(layer)

    plain(1, network.conv1)
    plain(2, network.conv2)
    norm(1, network.norm1)
    norm(2, network.norm2)
    for place, block in enumerate(network.blocks):
        plain(3 + place, block.shortcut)
        norm(3 + 3 * place, block.shortcut_norm)
        for half, (layer, after) in enumerate(
            [(block.conv1, block.norm1), (block.conv2, block.norm2)]
        ):
            name = f"separable_conv2d_{2 * place + half + 1}"
            found[f"{name}/{name}_1/depthwise_kernel:0"] = kernel(layer.depthwise)
            found[f"{name}/{name}_1/pointwise_kernel:0"] = kernel(layer.pointwise)
            norm(4 + 3 * place + half, after)
    plain(7, network.head)
    found["conv2d_7/conv2d_7_1/bias:0"] = numbers(network.head.bias)
    file = io.BytesIO()
    with h5py.File(file, "w") as stored:
        for name, value in found.items():
            stored[f"model_weights/{name}"] = value
        stored["optimizer_weights/iterations_1:0"] = 7
    return (file.getvalue(),)


def _graph(tensors: Stored) -> tuple[bytes, bytes]:
    manifest, data = tfjs_files(tensors, "float16")
    return json.dumps({"modelTopology": {}, "weightsManifest": json.loads(manifest)}).encode(), data


def face_mesh_files(network: nn.Module) -> tuple[bytes, bytes]:
    """The graph and the data of MediaPipe's face mesh, numbered as its layers run."""
    prefix = "StatefulPartitionedCall/functional_1"
    heads = {
        "flag": "conv_faceflag",
        "mesh": "output_mesh",
        "lips.points.head": "conv_lips",
        "right_eye.points.head": "conv_left_eye",
        "right_eye.iris.head": "conv_left_iris",
        "left_eye.points.head": "conv_right_eye",
        "left_eye.iris.head": "conv_right_iris",
    }
    found: Stored = {f"{prefix}/output_faceflag/Const": np.zeros(2)}
    plain = deep = slopes = 0

    def suffix(number: int) -> str:
        return f"_{number}" if number else ""

    for name, layer in network.named_modules():
        if isinstance(layer, nn.PReLU):
            found[f"{prefix}/p_re_lu{suffix(slopes)}/Neg"] = numbers(layer.weight)[None, None]
            slopes += 1
        elif name in heads:
            found[f"{prefix}/{heads[name]}/Conv2D/ReadVariableOp"] = kernel(layer)
            found[f"{prefix}/{heads[name]}/BiasAdd/ReadVariableOp"] = numbers(layer.bias)
        elif isinstance(layer, nn.Conv2d) and layer.groups > 1:
            place = f"depthwise_conv2d{suffix(deep)}/depthwise"
            found[f"{prefix}/{place}/ReadVariableOp"] = kernel(layer)
            deep += 1
        elif isinstance(layer, nn.Conv2d):
            found[f"{prefix}/conv2d{suffix(plain)}/Conv2D_weights"] = kernel(layer)
            found[f"{prefix}/conv2d{suffix(plain)}/Conv2D_bn_offset"] = numbers(layer.bias)
            plain += 1
    return _graph(found)


def faceres_files(network: nn.Module) -> tuple[bytes, bytes]:
    """The graph and the data of HSE-FaceRes; half of each depthwise kernel stands as a factor."""
    found: Stored = {
        "age_pred/kernel": np.zeros((256, 100)),
        "conv1/convolution/merged_input": kernel(network.conv1),
        "conv1_bn/batchnorm_1/sub": numbers(network.conv1.bias),
    }
    for place, block in enumerate(network.blocks, start=1):
        deep, point = block.depthwise, block.pointwise
        found[f"conv_dw_{place}/depthwise_kernel"] = kernel(deep) * 2
        found[f"conv_dw_{place}_bn/batchnorm_1/mul"] = np.full(len(deep.weight), 0.5)
        found[f"conv_dw_{place}_bn/batchnorm_1/sub"] = numbers(deep.bias)
        found[f"conv_pw_{place}/convolution/merged_input"] = kernel(point)
        found[f"conv_pw_{place}_bn/batchnorm_1/sub"] = numbers(point.bias)
    return _graph(found)


def selfie_files(network: nn.Module) -> tuple[bytes, bytes]:
    """The graph and the data of MediaPipe's selfie segmentation, numbered as its layers run."""
    plain, deep = [network.stem], []
    for block in network.blocks:
        gate = [block.squeeze, block.excite] if block.gated else []
        plain += [block.expand, *gate, block.project]
        deep.append(block.depthwise)
    plain += [network.head, network.gate]
    for merge in network.merges:
        plain += [merge.reduce, merge.squeeze, merge.excite, merge.mix]
        deep.append(merge.depthwise)
    found: Stored = {"Conv2D/filter": kernel(plain[0]), "conv2d_1/y": numbers(plain[0].bias)}
    for number, layer in enumerate(plain[1:], start=2):
        found[f"Conv2D_{number}/filter"] = kernel(layer)
        found[f"conv2d_{number - 1}_1/y"] = numbers(layer.bias)
    for number, layer in enumerate(deep):
        suffix = f"_{number}" if number else ""
        found[f"depthwise{suffix}/filter_in"] = kernel(layer)
        found[f"depthwise_conv2d{suffix}/y"] = numbers(layer.bias)
    # [in, out, H, W] to [H, W, out, in], as the gradient of a convolution is written.
    found["segment/filter"] = numbers(network.segment.weight).transpose(2, 3, 1, 0)
    found["segment_add/y"] = numbers(network.segment.bias)
    return _graph(found)


def packed(asset: str, contents: tuple[bytes, ...], folder: Path) -> tuple[Asset, Path]:
    """A made-up package with these members, and the asset that is taken out of it.

    It is named as the real one, so that its registry's own client finds it; its members have no
    address.
    """
    real = registry()[asset]
    package = real.taken_from
    members = {member.path: data for member, data in zip(package.members, contents, strict=True)}
    archive = folder / package.archive
    if package.index == "pypi":
        write_wheel(archive, package.name, package.version, members)
    else:
        about = json.dumps({"name": package.name, "version": package.version}).encode()
        write_tarball(archive, {"package/package.json": about, **members})
    files = tuple(
        AssetFile(path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path, data in members.items()
    )
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return replace(real, taken_from=replace(package, members=files, sha256=digest)), archive


def write_wheel(path: Path, name: str, version: str, members: Mapping[str, bytes]) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for member, data in members.items():
            opened.writestr(member, data)
        opened.writestr(f"{info}/METADATA", metadata)
        opened.writestr(f"{info}/WHEEL", wheel)
        opened.writestr(f"{info}/RECORD", "")


def write_tarball(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as opened:
        for member, data in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
