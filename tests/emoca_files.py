"""Checkpoints of EMOCA's and DECA's shape with random weights, small on disk.

Every weight is a window into one pool of random numbers, which torch stores once: ten megabytes
stand for four hundred. The norm after each convolution brings the scale back.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torchvision.models import resnet50

from tests.flame_files import published_class

COARSE_LENGTH, DETAIL_LENGTH, EXPRESSION_LENGTH = 236, 128, 50
CONDITION_LENGTH = 181
_POOL = 128 * 64 * 181 + 1_000_000
_CAMERA = slice(206, 209)  # of the coarse code


class WeightPool:
    """Hands out windows into one storage of standard normal numbers."""

    def __init__(self, seed: int) -> None:
        self._values = torch.randn(_POOL, generator=torch.Generator().manual_seed(seed))
        self._next = 0

    def window(self, shape: tuple[int, ...]) -> Tensor:
        """A view of the pool, elsewhere each time."""
        length = math.prod(shape)
        self._next = (self._next * 31 + 7919) % (_POOL - length + 1)
        return self._values[self._next : self._next + length].view(shape)


def _norm(key: str, width: int, fan_in: int, pool: WeightPool, gain: float) -> dict[str, Tensor]:
    """Batch norm statistics that undo unit weights over `fan_in` inputs."""
    return {
        f"{key}.weight": torch.full((width,), gain / math.sqrt(fan_in)),
        f"{key}.bias": 0.1 * pool.window((width,)),
        f"{key}.running_mean": 0.1 * pool.window((width,)),
        f"{key}.running_var": 1 + 0.2 * pool.window((width,)).tanh(),
        f"{key}.num_batches_tracked": torch.tensor(1000),
    }


def resnet_state(pool: WeightPool) -> dict[str, Tensor]:
    """A ResNet-50 without its classifier."""
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in resnet50().state_dict().items()}
    state: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if len(shape) != 4:
            continue
        state[key] = pool.window(shape)
        norm = (
            key.removesuffix(".weight")
            .replace("conv", "bn")
            .replace("downsample.0", "downsample.1")
        )
        last = ".bn3" in norm  # summed with the shortcut: keeps 50 layers from growing
        gain = 0.4 if last else 1.4
        state |= _norm(norm, shape[0], math.prod(shape[1:]), pool, gain)
    return state


def head_state(pool: WeightPool, outputs: int, spread: float = 0.5) -> dict[str, Tensor]:
    """The two linear layers after a ResNet; codes of about `spread`."""
    return {
        "layers.0.weight": pool.window((1024, 2048)) / math.sqrt(2048),
        "layers.0.bias": 0.1 * pool.window((1024,)),
        "layers.2.weight": pool.window((outputs, 1024)) * (spread / math.sqrt(1024)),
        "layers.2.bias": 0.1 * spread * pool.window((outputs,)),
    }


def encoder_state(pool: WeightPool, outputs: int, spread: float = 0.5) -> dict[str, Tensor]:
    """A ResNet encoder under its published names."""
    resnet = {f"encoder.{key}": value for key, value in resnet_state(pool).items()}
    return resnet | head_state(pool, outputs, spread)


def coarse_state(pool: WeightPool) -> dict[str, Tensor]:
    """The coarse encoder, with a camera that frames the face and moderate poses."""
    state = encoder_state(pool, COARSE_LENGTH)
    weight, bias = state["layers.2.weight"].clone(), state["layers.2.bias"].clone()
    weight[200:209] *= 0.1
    bias[200:206] = torch.tensor([0.1, -0.3, 0.05, 0.15, 0.0, 0.0])
    bias[_CAMERA] = torch.tensor([8.0, 0.004, -0.006])
    bias[209:212] = 2.0
    return state | {"layers.2.weight": weight, "layers.2.bias": bias}


def decoder_state(pool: WeightPool, inputs: int = CONDITION_LENGTH) -> dict[str, Tensor]:
    """The detail decoder under its published names."""
    state = {
        "l1.0.weight": pool.window((128 * 64, inputs)) / math.sqrt(inputs),
        "l1.0.bias": 0.1 * pool.window((128 * 64,)),
    } | _norm("conv_blocks.0", 128, 1, pool, 1.0)
    for stage, (before, after) in enumerate(((128, 128), (128, 64), (64, 64), (64, 32), (32, 16))):
        place = 2 + 4 * stage
        state[f"conv_blocks.{place}.weight"] = pool.window((after, before, 3, 3))
        state[f"conv_blocks.{place}.bias"] = 0.1 * pool.window((after,))
        state |= _norm(f"conv_blocks.{place + 1}", after, 9 * before, pool, 2.0)
    state["conv_blocks.21.weight"] = pool.window((1, 16, 3, 3)) / 12
    state["conv_blocks.21.bias"] = torch.zeros(1)
    return state


def write_deca_model(path: Path, seed: int = 0, legacy: bool = False) -> Path:
    """DECA's own `deca_model.tar`; `legacy` is torch's format from before 1.6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = WeightPool(seed)
    stored: dict[str, Any] = {
        "E_flame": coarse_state(pool),
        "E_detail": encoder_state(pool, DETAIL_LENGTH),
        "D_detail": decoder_state(pool),
        "epoch": 7,
    }
    torch.save(stored, path, _use_new_zipfile_serialization=not legacy)
    return path


def emoca_config(**changes: Any) -> dict[str, Any]:
    """What the `model` part of a released cfg.yaml says, as far as it bears on the networks."""
    return {
        "deca_class": "ExpDECA",
        "expression_backbone": "deca_clone",
        "exp_deca_global_pose": False,
        "exp_deca_jaw_pose": False,
        "mode": "detail",
        "n_shape": 100, "n_tex": 50, "n_exp": 50, "n_pose": 6, "n_cam": 3, "n_light": 27,
        "n_detail": 128, "image_size": 224, "uv_size": 256, "neural_renderer": False,
        "tex_type": "BFM", "topology_path": "/elsewhere/head_template.obj",
    } | changes  # fmt: skip


def emoca_state(
    model: dict[str, Any], template: Tensor | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """The state dict of a Lightning checkpoint, loss networks and FLAME's buffers included."""
    pool = WeightPool(seed)
    coarse = coarse_state(pool)
    parts = {"E_flame": coarse, "E_detail": encoder_state(pool, DETAIL_LENGTH)}
    if model["deca_class"] == "ExpDECA":
        poses = model["exp_deca_jaw_pose"] + model["exp_deca_global_pose"]
        length = EXPRESSION_LENGTH + 3 * poses
        if model["expression_backbone"] == "deca_parallel":
            repeated = {f"resnet.{key}": value for key, value in coarse.items()}
            parts["E_expression"] = repeated | head_state(pool, length, 0.2)
        else:
            parts["E_expression"] = encoder_state(pool, length, 0.2)
    parts["D_detail"] = decoder_state(pool)
    state = {f"deca.{part}.{key}": v for part, keys in parts.items() for key, v in keys.items()}
    extras = ("flame.weights", "render.faces", "uv_face_eye_mask", "perceptual_loss.vgg.0.weight")
    state |= {f"deca.{name}": torch.zeros(2, 2) for name in extras}
    state["emonet_loss.emonet.conv1.weight"] = torch.zeros(4)
    if template is not None:
        state["deca.flame.v_template"] = template
    return state


def write_emoca_model(
    folder: Path,
    template: Tensor | None = None,
    seed: int = 0,
    checkpoint: str = "deca-epoch=10-val_loss/dataloader_idx_0=3.25.ckpt",
    **changes: Any,
) -> Path:
    """A folder as EMOCA's archives unpack, its checkpoint full of classes of other packages.

    Args:
        folder: made if need be.
        template: FLAME's mean head [V, 3] as the checkpoint holds it.
        seed: of the weights.
        checkpoint: path below detail/checkpoints.
        changes: to `emoca_config`.
    """
    model = emoca_config(**changes)
    path = folder / "detail" / "checkpoints" / checkpoint
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = {name: {"model": model | {"mode": name}} for name in ("coarse", "detail")}
    (folder / "cfg.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    with published_class("omegaconf.dictconfig", "DictConfig") as dict_config:
        stored = {
            "epoch": 10,
            "state_dict": emoca_state(model, template, seed),
            "hyper_parameters": {"model_params": dict_config(_content=model, _flags=None)},
            "callbacks": {dict_config: {"best_model_path": "/elsewhere/a.ckpt"}},
        }
        torch.save(stored, path)
    return folder
