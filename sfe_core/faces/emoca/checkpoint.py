"""Loading the published checkpoints of EMOCA and DECA, key by key.

Two layouts: a folder as EMOCA's archives unpack (`cfg.yaml` and `detail/checkpoints/*.ckpt`, for
EMOCA, EMOCA_v2_… and DECA alike), and DECA's own `deca_model.tar`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sfe_core.errors import UserError
from sfe_core.faces.emoca.detail import DetailDecoder
from sfe_core.faces.emoca.encoders import FaceEncoder
from sfe_core.faces.emoca.settings import EmocaSettings, read_settings
from sfe_core.faces.tensor_reading import read_checkpoint

DECA_FILE = "deca_model.tar"
_PAGE = "https://emoca.is.tue.mpg.de or https://deca.is.tue.mpg.de"

# Keys of the checkpoints that reading faces does not need, by how they begin.
HARMLESS_EXTRAS: dict[str, str] = {
    "deca.flame.": "FLAME's own arrays; they come from its file",
    "deca.flametex.": "the albedo model; it comes from its file",
    "deca.render.": "the mesh template and constants of the renderer",
    "deca.uv_face_eye_mask": "comes from its file",
    "deca.fixed_uv_dis": "comes from its file",
    "deca.displacement_mask": "not applied by any released model",
    "deca.perceptual_loss.": "training loss (ID-MRF)",
    "deca.id_loss.": "training loss (face recognition)",
    "deca.vgg_loss.": "training loss (VGG)",
    "emonet_loss.": "training loss (emotion)",
    "au_loss.": "training loss (action units)",
    "lipread_loss.": "training loss (lip reading)",
}
# In `deca_parallel` the expression head keeps a second name for the coarse encoder.
_REPEATED = "E_expression.resnet."
# A FLAME whose mean head differs by more than this is another FLAME.
_TEMPLATE_TOLERANCE_M = 1e-4


@dataclass(frozen=True)
class EmocaNetworks:
    """A loaded model, frozen, in evaluation mode.

    Attributes:
        flame_template: [V, 3] the mean head it was trained with, metres, where the file has it.
    """

    settings: EmocaSettings
    encoder: FaceEncoder
    decoder: DetailDecoder
    flame_template: Tensor | None = None


def load_networks(path: Path) -> EmocaNetworks:
    """Load a model as downloaded.

    Args:
        path: an unpacked folder with cfg.yaml (or that file), a `deca_model.tar`, or a folder
            that holds just one of these, at any depth of two.

    Raises:
        UserError: there is no such model, several, or its keys or shapes are not EMOCA's, DECA's.
    """
    home = find_model(Path(path))
    if home.is_file():
        return _load_deca(home)
    settings = read_settings(home / "cfg.yaml")
    checkpoint = best_checkpoint(home)
    state = read_checkpoint(checkpoint).get("state_dict")
    if not isinstance(state, dict):
        raise UserError(checkpoint, "holds no state_dict", "unpack the archive again")
    return _assemble(settings, _without_extras(state, checkpoint), checkpoint)


def find_model(path: Path) -> Path:
    """The model's folder, or its `deca_model.tar`; see `load_networks`."""
    if path.is_file():
        return path.parent if path.name == "cfg.yaml" else path
    patterns = [
        f"{depth}{name}" for depth in ("", "*/", "*/*/") for name in ("cfg.yaml", DECA_FILE)
    ]
    found = [model for pattern in patterns for model in sorted(path.glob(pattern))]
    # A folder that is a model itself may well contain further files of these names.
    nearest = [model for model in found if model.parent == path] or found
    if len(nearest) != 1:
        listed = ", ".join(str(model.relative_to(path)) for model in nearest)
        raise UserError(
            path,
            f"holds {listed}" if listed else f"holds neither cfg.yaml nor {DECA_FILE}",
            f"give the folder of one model, unpacked from {_PAGE}",
        )
    return nearest[0].parent if nearest[0].name == "cfg.yaml" else nearest[0]


def best_checkpoint(home: Path) -> Path:
    """The checkpoint of the detail stage with the lowest validation loss, which its name ends in.

    `last.ckpt` never counts; a single checkpoint counts whatever its name.

    Raises:
        UserError: there is none, or several whose names tell no loss.
    """
    folder = home / "detail" / "checkpoints"
    candidates = [path for path in sorted(folder.rglob("*.ckpt")) if path.stem != "last"]
    if len(candidates) == 1:
        return candidates[0]
    losses = {path: loss for path in candidates if (loss := _loss_in(path.stem)) is not None}
    if not losses:
        raise UserError(
            folder,
            f"{len(candidates)} checkpoints (*.ckpt) there, none with its loss in its name",
            "unpack the whole archive, keep one checkpoint",
        )
    return min(losses, key=lambda path: losses[path])


def _loss_in(stem: str) -> float | None:
    try:
        return float(stem.rsplit("=", 1)[-1])
    except ValueError:
        return None


def _load_deca(path: Path) -> EmocaNetworks:
    stored = read_checkpoint(path)
    parts = ("E_flame", "E_detail", "D_detail")
    missing = [part for part in parts if not isinstance(stored.get(part), dict)]
    if missing:
        raise UserError(path, f"has no {', '.join(missing)}", f"use {DECA_FILE} from {_PAGE}")
    state = {f"deca.{part}.{key}": value for part in parts for key, value in stored[part].items()}
    return _assemble(EmocaSettings(), state, path)


def _without_extras(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Drop what is known to be harmless; check the coarse encoder's second name."""
    kept: dict[str, Tensor] = {}
    for key, value in state.items():
        inner = key.removeprefix("deca.")
        if inner.startswith(_REPEATED):
            first = state.get(f"deca.E_flame.{inner.removeprefix(_REPEATED)}")
            if first is None or not torch.equal(first, value):
                raise UserError(path, f"{key} differs from E_flame's", "fetch it again")
        elif key == "deca.flame.v_template" or not key.startswith(tuple(HARMLESS_EXTRAS)):
            kept[key] = value
    return kept


def _assemble(settings: EmocaSettings, state: dict[str, Tensor], path: Path) -> EmocaNetworks:
    template = state.pop("deca.flame.v_template", None)
    # Without memory or time for weights that are replaced right away.
    with torch.device("meta"):
        encoder, decoder = FaceEncoder(settings), DetailDecoder(settings.condition_length)
    model = nn.ModuleDict({"encoder": encoder, "D_detail": decoder})
    renamed = {_our_key(key): value for key, value in state.items()}
    expected = model.state_dict()
    missing, extra = sorted(expected.keys() - renamed), sorted(renamed.keys() - expected)
    if missing or extra:
        found = [f"no {key.removeprefix('encoder.')}" for key in missing[:2]]
        found += [f"unknown {key.removeprefix('encoder.')}" for key in extra[:2]]
        problem = f"{len(missing)} keys missing, {len(extra)} too many ({', '.join(found)})"
        raise UserError(path, problem, "its cfg.yaml and checkpoint belong to different models?")
    for key, value in renamed.items():
        if value.shape != expected[key].shape:
            shapes = f"{tuple(value.shape)}, expected {tuple(expected[key].shape)}"
            raise UserError(f"{path}: {key}", f"has shape {shapes}", "fetch it again")
    model.load_state_dict({key: _owned(value) for key, value in renamed.items()}, assign=True)
    model.eval().requires_grad_(False)
    return EmocaNetworks(settings, encoder, decoder, None if template is None else template.clone())


def _our_key(key: str) -> str:
    inner = key.removeprefix("deca.")
    return inner if inner.startswith("D_detail.") else f"encoder.{inner}"


def _owned(value: Tensor) -> Tensor:
    """A copy in memory: the file is only mapped, and may be replaced while we run."""
    return value.float().clone() if value.is_floating_point() else value.clone()


def check_flame(networks: EmocaNetworks, template: Tensor, where: str) -> None:
    """Refuse a FLAME other than the one that the codes speak of.

    Args:
        networks: as loaded; DECA's own file does not say which FLAME it means.
        template: [V, 3] mean head of the FLAME at hand, metres.
        where: that FLAME's place, for the message.

    Raises:
        UserError: their mean heads differ.
    """
    trained = networks.flame_template
    if trained is None:
        return
    same = trained.shape == template.shape
    distance = float((trained - template).abs().max()) if same else float("inf")
    if distance > _TEMPLATE_TOLERANCE_M:
        raise UserError(
            where,
            f"its mean head differs by {distance * 1000:.2f} mm from the one in the checkpoint",
            "use generic_model.pkl of FLAME 2020, which EMOCA and DECA were trained with",
        )
