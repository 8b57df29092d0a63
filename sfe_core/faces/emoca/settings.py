"""What a released model's own cfg.yaml says of its networks, checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from sfe_core.errors import UserError

# The parts of the coarse code in the order of the network's outputs, under their published names.
CODE_PARTS = ("shape", "tex", "exp", "pose", "cam", "light")
# What the detail decoder may be told besides the detail code, in the order it is told.
CONDITIONS = ("globalpose", "jawpose", "identity", "expression", "detail")
_DEFAULT_CONDITIONS = ("jawpose", "expression", "detail")

ExpressionBackbone = Literal["deca_clone", "deca_parallel"]
_BACKBONES = ("deca_clone", "deca_parallel")
_DECA_CLASSES = {None: False, "DECA": False, "ExpDECA": True}


@dataclass(frozen=True)
class EmocaSettings:
    """The networks of one model. The defaults are DECA's as published.

    Attributes:
        expression_backbone: EMOCA's expression encoder: `deca_clone` is a ResNet of its own,
            `deca_parallel` a second head on the coarse encoder's features; None for DECA.
        expression_jaw_pose: whether it also gives the jaw's pose.
        expression_global_pose: whether it also gives the head's pose.
        detail_conditioning: which of `CONDITIONS` the detail decoder is told.
        blends_detail_normals: whether the detailed normals count inside the face-and-eye mask
            only, and not at the edge of the UV map (DECA's own release), or everywhere (EMOCA's,
            also for the DECA model that it releases).
        n_shape, n_tex, n_exp, n_detail: lengths of the codes.
    """

    expression_backbone: ExpressionBackbone | None = None
    expression_jaw_pose: bool = False
    expression_global_pose: bool = False
    detail_conditioning: tuple[str, ...] = _DEFAULT_CONDITIONS
    blends_detail_normals: bool = True
    n_shape: int = 100
    n_tex: int = 50
    n_exp: int = 50
    n_detail: int = 128

    @property
    def code_lengths(self) -> dict[str, int]:
        """Length of each of `CODE_PARTS`; 236 together as published."""
        lengths = (self.n_shape, self.n_tex, self.n_exp, 6, 3, 27)
        return dict(zip(CODE_PARTS, lengths, strict=True))

    @property
    def expression_length(self) -> int:
        """Outputs of the expression encoder: the expression, then the poses it gives."""
        return self.n_exp + 3 * (self.expression_jaw_pose + self.expression_global_pose)

    @property
    def condition_length(self) -> int:
        """Inputs of the detail decoder; 181 as published."""
        lengths = dict(
            zip(CONDITIONS, (3, 3, self.n_shape, self.n_exp, self.n_detail), strict=True)
        )
        return sum(lengths[name] for name in self.detail_conditioning)


def read_settings(cfg: Path) -> EmocaSettings:
    """Read the `detail` section of a released model's cfg.yaml.

    Raises:
        UserError: it is not such a file, or describes networks other than EMOCA's and DECA's.
    """
    try:
        sections = yaml.safe_load(cfg.read_text(encoding="utf-8"))
        model = sections["detail"]["model"]
        return settings_of(model, f"{cfg}: detail.model")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(
            cfg, f"is not the cfg.yaml of a released model ({problem})", "unpack its archive again"
        ) from error


def settings_of(model: Mapping[str, Any], where: str) -> EmocaSettings:
    """The settings in the `model` part of a section of cfg.yaml.

    Raises:
        UserError: a network that the released models do not have, by the key that asks for it.
    """
    name = model.get("deca_class")
    if name not in _DECA_CLASSES:
        raise _unsupported(where, "deca_class", name, ("DECA", "ExpDECA"))
    expresses = _DECA_CLASSES[name]
    backbone = model.get("expression_backbone") if expresses else None
    if expresses and backbone not in _BACKBONES:
        raise _unsupported(where, "expression_backbone", backbone, _BACKBONES)
    _check_fixed(model, where)
    conditions = tuple(model.get("detail_conditioning") or _DEFAULT_CONDITIONS)
    unknown = [condition for condition in conditions if condition not in CONDITIONS]
    if unknown:
        raise _unsupported(where, "detail_conditioning", unknown[0], CONDITIONS)
    return EmocaSettings(
        expression_backbone=backbone,
        expression_jaw_pose=expresses and bool(model.get("exp_deca_jaw_pose")),
        expression_global_pose=expresses and bool(model.get("exp_deca_global_pose")),
        detail_conditioning=tuple(c for c in CONDITIONS if c in conditions),
        blends_detail_normals=False,
        **{name: int(model[name]) for name in ("n_shape", "n_tex", "n_exp", "n_detail")},
    )


# Keys that, where they stand, must say what this port does.
_FIXED: dict[str, tuple[Any, ...]] = {
    "e_flame_type": ("ResnetEncoder",),
    "e_detail_type": ("ResnetEncoder",),
    "detail_conditioning_type": ("concat",),
    "detailemo_conditioning": ([],),
    "n_detail_emo": (0,),
    "n_pose": (6,),
    "n_cam": (3,),
    "n_light": (27,),
    "image_size": (224,),
    "uv_size": (256,),
    "neural_renderer": (False,),
    "apply_displacement_masks": (False,),
}


def _check_fixed(model: Mapping[str, Any], where: str) -> None:
    for key, allowed in _FIXED.items():
        if model.get(key) is not None and model[key] not in allowed:
            raise _unsupported(where, key, model[key], allowed)


def _unsupported(where: str, key: str, found: Any, allowed: tuple[Any, ...]) -> UserError:
    choices = ", ".join(str(value) for value in allowed)
    return UserError(
        f"{where}.{key}", f"{found!r} is not a network of EMOCA or DECA", f"expected {choices}"
    )
