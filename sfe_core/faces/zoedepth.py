"""ZoeDepth through transformers, in batches, on crops or on whole photos.

Bhat et al., "ZoeDepth: Zero-shot Transfer by Combining Relative and Metric Depth",
arXiv:2302.12288.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sfe_core.arrays import Floats, Pixels
from sfe_core.errors import RunError, UserError
from sfe_core.faces.crop import crop
from sfe_core.faces.depth import DepthCode, DepthMaps, DepthView

if TYPE_CHECKING:
    from transformers.models.zoedepth.modeling_zoedepth import (
        ZoeDepthMultipleMetricDepthEstimationHeads,
    )

DEPTH_INPUTS = ("crop", "photo")
# Buffers that the backbone works out by itself, found in some published files.
_HARMLESS = "relative_position_index"
_NEAREST_M = 1e-3
# Pictures per forward pass; a CPU gains nothing from batches.
_GPU_BATCH = 8


class ZoeDepth:
    """ZoeDepth's metric estimate, stored as inverse distance.

    Inverse, because the relief of a face is a few centimetres at an arm's length or two, and
    would drown in a range of ten metres. The metres are `1 / code.decode(stored)`.

    Args:
        folder: a transformers model folder (config.json, model.safetensors, and
            preprocessor_config.json if the defaults are not meant).
        depth_input: "crop", or "photo" for the whole photo, whose depth is then cropped.
        device: torch device; None means CUDA where there is one.
        batch: pictures per forward pass; None means one on a CPU, eight on a GPU. Short batches
            are filled up, so that a picture's depth does not depend on its company.

    Raises:
        UserError: another `depth_input`.
        RunError: the folder does not hold such a model, or not all of it.
    """

    code = DepthCode("1/m", 0.0, 4.0)
    of_mesh = False

    def __init__(
        self,
        folder: Path,
        depth_input: str = "crop",
        device: str | None = None,
        batch: int | None = None,
    ) -> None:
        if depth_input not in DEPTH_INPUTS:
            raise UserError(
                "preprocess.depth_input", f"{depth_input!r}", f"allowed: {', '.join(DEPTH_INPUTS)}"
            )
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._of_photo = depth_input == "photo"
        self._batch = batch or (1 if self._device.startswith("cpu") else _GPU_BATCH)
        model, self._processor = _load(Path(folder))
        if hasattr(model.metric_head, "mlp_classifier"):
            model.metric_head = _RoutedPerImage(model.metric_head)
        self._model = model.to(self._device).eval().requires_grad_(False)

    def depth_many(self, views: Sequence[DepthView]) -> list[DepthMaps]:
        """See `DepthBackend.depth_many`; a photo with several faces is looked at once."""
        if not self._of_photo:
            metres = self.metres([view.crop for view in views])
            return [DepthMaps(self._encode(1.0 / depth)) for depth in metres]
        photos = {id(view.photo): view.photo for view in views}
        depths = zip(photos, self.metres(list(photos.values())), strict=True)
        inverse = {name: (1.0 / depth).astype(np.float32) for name, depth in depths}
        return [
            DepthMaps(
                self._encode(crop(inverse[id(view.photo)], view.transform, view.crop.shape[0])),
                self._encode(inverse[id(view.photo)]),
            )
            for view in views
        ]

    def _encode(self, inverse: Floats) -> NDArray[np.uint16]:
        return self.code.encode(inverse)

    def metres(self, images: Sequence[Pixels]) -> list[Floats]:
        """Distance from the camera [H, W] float32 for pictures [H, W, 3] uint8 of any sizes."""
        # One by one, the processor's own batches having to be of one size; channels are named,
        # because a picture one or three pixels high is ambiguous.
        inputs = [
            self._processor(
                np.array(image), return_tensors="pt", input_data_format="channels_last"
            )["pixel_values"][0]
            for image in images
        ]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for place, view in enumerate(inputs):
            by_shape.setdefault(tuple(view.shape), []).append(place)
        found: dict[int, Floats] = {}
        for shape, places in by_shape.items():
            for first in range(0, len(places), self._batch):
                some = places[first : first + self._batch]
                views = torch.zeros(self._batch, *shape)
                views[: len(some)] = torch.stack([inputs[place] for place in some])
                sizes = [images[place].shape[:2] for place in some]
                found.update(zip(some, self._forward(views, sizes), strict=True))
        return [found[place] for place in range(len(images))]

    @torch.inference_mode()
    def _forward(self, views: Tensor, sizes: list[tuple[int, int]]) -> list[Floats]:
        outputs = self._model(pixel_values=views.to(self._device))
        outputs.predicted_depth = outputs.predicted_depth[: len(sizes)].float().cpu()
        sized = self._processor.post_process_depth_estimation(outputs, source_sizes=sizes)
        return [one["predicted_depth"].clamp_min(_NEAREST_M).numpy() for one in sized]


class _RoutedPerImage(nn.Module):
    """The head of a model with several domains, each picture going through its own.

    As published, the classifier's votes are summed over the batch, so that the depth of an
    indoor picture changes when it is batched with outdoor ones.
    """

    def __init__(self, head: ZoeDepthMultipleMetricDepthEstimationHeads) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        outconv_activation: Tensor,
        bottleneck: Tensor,
        feature_blocks: Sequence[Tensor],
        relative_depth: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See transformers' `ZoeDepthMultipleMetricDepthEstimationHeads.forward`."""
        embedding = self.head.patch_transformer(self.head.conv2(bottleneck))[:, 0, :]
        logits = self.head.mlp_classifier(embedding)
        domain = logits.argmax(dim=-1)
        depth: Tensor | None = None
        for number in domain.unique():
            rows = torch.nonzero(domain == number)[:, 0]
            part, _ = self.head(
                outconv_activation=outconv_activation[rows],
                bottleneck=bottleneck[rows],
                feature_blocks=[block[rows] for block in feature_blocks],
                relative_depth=relative_depth[rows],
            )
            if depth is None:
                depth = part.new_zeros(len(domain), *part.shape[1:])
            depth[rows] = part
        assert depth is not None
        return depth, logits


def _load(folder: Path) -> tuple[Any, Any]:
    """The model and its image processor from a local folder."""
    from transformers import ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

    try:
        # Its hint does not know that `output_loading_info` gives a pair.
        loaded = cast(
            "tuple[ZoeDepthForDepthEstimation, dict[str, Any]]",
            ZoeDepthForDepthEstimation.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            ),
        )
        model, found = loaded
        described = (folder / "preprocessor_config.json").is_file()
        processor = (
            ZoeDepthImageProcessor.from_pretrained(folder, local_files_only=True)
            if described
            else ZoeDepthImageProcessor()
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            folder, f"is not a ZoeDepth model ({error})", "fetch the asset again"
        ) from error
    odd = [*found["missing_keys"], *found["unexpected_keys"], *found["mismatched_keys"]]
    odd = sorted(str(key) for key in odd if _HARMLESS not in str(key))
    if odd:
        raise RunError(
            folder,
            f"is not all of a ZoeDepth model ({odd[0]} and {len(odd) - 1} more keys)",
            "fetch the asset again",
        )
    return model, processor
