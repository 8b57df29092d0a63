"""Depth pictures of a face crop in 16 bits, from the fitted mesh or by ZoeDepth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sfe_core.errors import RunError, UserError
from sfe_core.faces.rendering import DEPTH_RANGE_M, Raster, depth_map

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]
Depth16 = NDArray[np.uint16]

DEPTH_MAXIMUM = 65535

DEPTH_BACKENDS: tuple[str, ...] = ("mesh", "zoedepth")


@dataclass(frozen=True)
class DepthCode:
    """What the 16-bit values of a depth picture mean; fixed per backend, never per picture.

    `low` and `high` are the quantity at values 0 and 65535; `unit` is "m" (metres towards the
    camera from the eyes' plane) or "1/m" (inverse distance from the camera). Larger is nearer
    in both. Pixels without a surface hold 0.
    """

    unit: str
    low: float
    high: float

    def encode(self, quantity: Floats) -> Depth16:
        """Stored values of a quantity in `unit`, clipped to the range, same shape."""
        share = (np.asarray(quantity, np.float64) - self.low) / (self.high - self.low)
        return (share.clip(0.0, 1.0) * DEPTH_MAXIMUM).round().astype(np.uint16)

    def decode(self, stored: Floats | Depth16) -> Floats:
        """The quantity behind stored values, same shape, float64."""
        return self.low + (self.high - self.low) * np.asarray(stored, np.float64) / DEPTH_MAXIMUM


class DepthBackend(Protocol):
    """Anything that gives a crop its depth."""

    code: DepthCode

    def depth(self, image: Pixels, raster: Raster, scale: float) -> Depth16:
        """Depth of a crop.

        Args:
            image: [S, S, 3] uint8, the crop.
            raster: the fitted mesh as seen in it, S × S.
            scale: pixels of the crop per metre on the face.

        Returns:
            [S, S] uint16, see `code`.
        """
        ...


def load_depth(name: str) -> DepthBackend:
    """Build a depth backend.

    Raises:
        UserError: unknown name, or its model files are not there.
    """
    if name == "mesh":
        return MeshDepth()
    if name == "zoedepth":
        from sfe_core.assets import locate

        return ZoeDepth(locate("zoedepth"))
    raise UserError(
        "preprocess.depth", f"{name!r} is unknown", f"choose one of {', '.join(DEPTH_BACKENDS)}"
    )


class MeshDepth:
    """Depth of the fitted mesh: metres in front of the eyes' plane, nothing where no mesh is."""

    code = DepthCode("m", -DEPTH_RANGE_M, DEPTH_RANGE_M)

    def depth(self, image: Pixels, raster: Raster, scale: float) -> Depth16:
        """See `DepthBackend.depth`; the image plays no part."""
        del image
        return (depth_map(raster, scale) * DEPTH_MAXIMUM).round().astype(np.uint16)


class ZoeDepth:
    """ZoeDepth's metric estimate (Bhat et al., arXiv:2302.12288), stored as inverse distance.

    Inverse, because the relief of a face is a few centimetres at an arm's length or two, and
    would drown in a range of ten metres.

    Args:
        folder: a transformers model folder (config.json, model.safetensors, and
            preprocessor_config.json if the defaults are not meant).

    Raises:
        RunError: the folder does not hold such a model.
    """

    code = DepthCode("1/m", 0.0, 4.0)

    def __init__(self, folder: Path) -> None:
        from transformers import ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

        try:
            self._model = ZoeDepthForDepthEstimation.from_pretrained(
                folder, local_files_only=True
            ).eval()
            described = (Path(folder) / "preprocessor_config.json").is_file()
            self._processor = (
                ZoeDepthImageProcessor.from_pretrained(folder, local_files_only=True)
                if described
                else ZoeDepthImageProcessor()
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise RunError(
                folder, f"no ZoeDepth model ({error})", "fetch the asset again"
            ) from error

    def depth(self, image: Pixels, raster: Raster, scale: float) -> Depth16:
        """See `DepthBackend.depth`; only the image is looked at."""
        del raster, scale
        import torch

        # The processor wants channels named: a picture one or three pixels high is ambiguous.
        inputs = self._processor(
            images=image, return_tensors="pt", input_data_format="channels_last"
        )
        with torch.inference_mode():
            outputs = self._model(**inputs)
        sized = self._processor.post_process_depth_estimation(
            outputs, source_sizes=[image.shape[:2]]
        )
        metres = sized[0]["predicted_depth"].float().numpy()
        return self.code.encode(1.0 / np.maximum(metres, 1e-3))
