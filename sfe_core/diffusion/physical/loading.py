"""Reading a rig from whatever holds one: a package, the folder of one network, a published .pt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sfe_core.diffusion.handed_over import INDEX
from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.published_weights import load_published_rig
from sfe_core.diffusion.weight_files import find_weights, misfit
from sfe_core.errors import RunError, UserError

RIG_FOLDER = "rig"  # of a package
_PUBLISHED = (".pt", ".pth")
_REMEDY = "give a package of recipe physical, a folder of its network, or a published model*.pt"


def rig_place(place: Path, where: str) -> Path:
    """The file of published weights, or the folder that holds the network itself.

    Args:
        place: a package, the folder of one network, or a published .pt.
        where: the field or option it came from, for the error.

    Raises:
        UserError: it is none of these.
    """
    if place.is_file() and place.suffix in _PUBLISHED:
        return place
    inner = place / RIG_FOLDER if (place / INDEX).is_file() else place
    if (inner / "config.json").is_file():
        return inner
    what = "holds no network of recipe physical" if place.exists() else "does not exist"
    raise UserError(f"{where}: {place}", what, _REMEDY)


def rig_config(place: Path, where: str = "model.base") -> dict[str, Any]:
    """The settings of a rig, as `DiffusionRig` takes them, without reading the weights of a folder.

    Raises:
        UserError: it holds none, or its weights do not fit them.
    """
    found = rig_place(place, where)
    if found.is_file():
        return dict(load_published_rig(found).config)
    try:
        config = json.loads((found / "config.json").read_text(encoding="utf-8"))
        named = config.get("_class_name")
        if named != DiffusionRig.__name__:
            raise UserError(f"{where}: {found}", f"is a {named}, not a rig", _REMEDY)
        problem = misfit(found, DiffusionRig, config)
    except (OSError, ValueError, TypeError, AttributeError, RunError) as error:
        raise UserError(f"{where}: {found}", f"cannot be read ({error})", _REMEDY) from error
    if problem:
        raise UserError(f"{where}: {found}", f"its weights do not fit it: {problem}", _REMEDY)
    return {name: value for name, value in config.items() if not name.startswith("_")}


def load_rig(place: Path, where: str = "model.base") -> DiffusionRig:
    """A rig on the CPU, in float32 and evaluation mode.

    Args:
        place: see `rig_place`.
        where: the field or option it came from, for the error.

    Raises:
        UserError: it holds none, is torn, or its weights do not fit its settings.
    """
    found = rig_place(place, where)
    if found.is_file():
        return load_published_rig(found)
    rig_config(place, where)
    files = find_weights(found)
    assert files is not None  # told by rig_config
    rig = DiffusionRig.from_pretrained(
        found, torch_dtype=torch.float32, local_files_only=True, variant=files.variant
    )
    return rig.eval()
