"""The choice of detector, reconstruction and depth by name.

A backend is added by one file, which fulfils `detection.UprightDetector`,
`reconstruction.Reconstructor` or `depth.DepthBackend`, and one line in the table here. Its name
must then be allowed by the key of sfe.yaml that chooses it, and have its assets listed in
`assets.needs`; a test names what was forgotten.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, cast

from sfe_core.assets import locate
from sfe_core.errors import UserError
from sfe_core.faces.depth import DepthBackend, MeshDepth
from sfe_core.faces.detection import UprightDetector
from sfe_core.faces.reconstruction import HeadMaker, Reconstructor


def _get(place: str) -> Any:
    """A class or function of this room, `module:name`; imported only now, as some bring torch."""
    return pkgutil.resolve_name(f"sfe_core.faces.{place}")


DETECTORS: dict[str, Callable[..., UprightDetector]] = {
    "dlib": lambda size, every, **_: _get("detectors.dlib_detector:DlibDetector")(size, every),
    "face-alignment": lambda size, every, boxes, device: _get(
        "detectors.fan_detector:FaceAlignmentDetector"
    )(device, boxes, size, every),
}

RECONSTRUCTIONS: dict[str, Callable[..., Reconstructor]] = {
    "anny": lambda *_: _get("anny.anny_reconstruction:AnnyReconstructor")(),
    "emoca": lambda *files: _get("emoca.reconstruction:load_emoca")("emoca", *files),
    "deca": lambda *files: _get("emoca.reconstruction:load_emoca")("deca", *files),
}

DEPTHS: dict[str, Callable[..., DepthBackend]] = {
    "mesh": lambda *_: MeshDepth(),
    "zoedepth": lambda *rest: _get("zoedepth:ZoeDepth")(locate("zoedepth"), *rest),
}


def load_detector(
    name: str = "dlib",
    min_face_px: int = 32,
    box_detector: str = "sfd",
    device: str | None = None,
    every: bool = False,
) -> UprightDetector:
    """Build a detector of upright faces.

    Args:
        name: one of `DETECTORS`.
        min_face_px: faces down to this size are worth enlarging the photo for, pixels.
        box_detector: for face-alignment, see `fan_detector.BOX_DETECTORS`.
        device: torch device for networks; None means CUDA where there is one.
        every: look for faces of all sizes, even where a sure one is found.

    Raises:
        UserError: unknown name, or its library or weights are not installed.
    """
    build = _chosen(DETECTORS, name, "detector")
    return build(size=min_face_px, every=every, boxes=box_detector, device=device)


def load_reconstructor(
    name: str, device: str | None = None, model: str | None = None, flame: str = "flame-2020"
) -> Reconstructor:
    """Build a reconstruction of heads.

    Args:
        name: one of `RECONSTRUCTIONS`.
        device: torch device for the networks; None means CUDA where there is one.
        model: networks of emoca and deca, asset name or path; None means the backend's default.
        flame: FLAME below emoca and deca, asset name or path.

    Raises:
        UserError: unknown name, or its model files are not there.
        RunError: its files are not what they should be.
    """
    return _chosen(RECONSTRUCTIONS, name, "preprocess.reconstruction")(device, model, flame)


def load_maker(
    name: str, device: str | None = None, model: str | None = None, flame: str = "flame-2020"
) -> HeadMaker:
    """Build a reconstruction that makes heads out of their codes; see `load_reconstructor`.

    Raises:
        UserError: also where it cannot.
    """
    made = load_reconstructor(name, device, model, flame)
    if not hasattr(made, "remake"):
        raise UserError(
            "preprocess.reconstruction", f"{name} cannot change its heads", "choose another"
        )
    return cast(HeadMaker, made)


def load_depth(name: str, depth_input: str = "crop", device: str | None = None) -> DepthBackend:
    """Build a depth backend.

    Args:
        name: one of `DEPTHS`.
        depth_input: what ZoeDepth looks at, "crop" or "photo".
        device: torch device for networks; None means CUDA where there is one.

    Raises:
        UserError: unknown name, or its model files are not there.
        RunError: the model files are not what they should be.
    """
    return _chosen(DEPTHS, name, "preprocess.depth")(depth_input, device)


def _chosen(table: Mapping[str, Callable[..., Any]], name: str, key: str) -> Callable[..., Any]:
    if name not in table:
        raise UserError(key, f"{name!r} is unknown", f"choose one of {', '.join(table)}")
    return table[name]
