"""ZoeDepth at a tiny size with random weights, and what it does with batches, sizes, odd files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

from sfe_core.errors import RunError, UserError
from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.depth import DepthView
from sfe_core.faces.rendering import Raster
from sfe_core.faces.zoedepth import ZoeDepth
from tests.zoedepth_files import KITTI, NYU, write_zoedepth

NO_MESH = Raster(
    np.full((48, 48), -1, np.int32), np.zeros((48, 48, 3)), np.zeros((48, 48)),
    np.zeros((48, 48, 3)),
)  # fmt: skip


@pytest.fixture(scope="module")
def one_domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zoedepth(tmp_path_factory.mktemp("one"), [NYU])


@pytest.fixture(scope="module")
def two_domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zoedepth(tmp_path_factory.mktemp("two"), [NYU, KITTI])


def pictures(count: int, height: int = 48, width: int = 48) -> list[np.ndarray]:
    """Noise of growing strength round growing greys."""
    random = np.random.default_rng(0)
    return [
        (random.random((height, width, 3)) * (40 + 200 * n / count)).astype(np.uint8)
        for n in range(count)
    ]


def view(photo: np.ndarray, transform: CropTransform) -> DepthView:
    return DepthView(photo, crop(photo, transform, 48), transform, NO_MESH, 1.0)


WHOLE = CropTransform(24, 24, 48)


def test_a_crop_gives_inverse_metres_at_its_size(one_domain: Path) -> None:
    backend = ZoeDepth(one_domain, device="cpu")
    (picture,) = pictures(1)
    (maps,) = backend.depth_many([view(picture, WHOLE)])
    assert maps.crop.shape == (48, 48) and maps.crop.dtype == np.uint16 and maps.photo is None
    metres = 1.0 / backend.code.decode(maps.crop).clip(1e-6)
    # Random weights, but the bins bound what the model can answer.
    assert metres.min() > 0.09 and metres.max() < 10.5
    (expected,) = backend.metres([picture])
    assert np.abs(1 / metres - 1 / expected).max() < 4 / 65535


@pytest.mark.parametrize("batch", [1, 4])
def test_pictures_are_as_alone_whatever_the_batch(two_domains: Path, batch: int) -> None:
    backend = ZoeDepth(two_domains, device="cpu", batch=batch)
    some = [*pictures(3), *pictures(2, 40, 60)]
    together = backend.metres(some)
    assert [depth.shape for depth in together] == [(48, 48)] * 3 + [(40, 60)] * 2
    for place, picture in enumerate(some):
        assert np.array_equal(backend.metres([picture])[0], together[place])


def test_each_picture_goes_through_the_domain_that_it_would_alone(two_domains: Path) -> None:
    model = ZoeDepthForDepthEstimation.from_pretrained(two_domains).eval()
    processor = ZoeDepthImageProcessor.from_pretrained(two_domains)
    some = pictures(6)
    alone = [processor(picture, return_tensors="pt")["pixel_values"] for picture in some]
    with torch.inference_mode():
        plain = [model(one) for one in alone]
        votes = torch.cat([out.domain_logits for out in plain])
        # Make the classifier undecided between these pictures, so that both domains are used.
        last = model.metric_head.mlp_classifier.linear2
        lead = (votes[:, 1] - votes[:, 0]).sort().values
        last.bias[0] += (lead[2] + lead[3]) / 2
        plain = [model(one) for one in alone]
        batched = model(torch.cat(alone))
    domains = torch.cat([out.domain_logits for out in plain]).argmax(dim=1)
    assert set(domains.tolist()) == {0, 1}
    # The published head lets the batch vote ...
    gap = [(batched.predicted_depth[n] - plain[n].predicted_depth[0]).abs().max() for n in range(6)]
    assert max(gap) > 1e-2
    # ... ours does not.
    model.save_pretrained(two_domains.parent / "undecided")
    processor.save_pretrained(two_domains.parent / "undecided")
    ours = ZoeDepth(two_domains.parent / "undecided", device="cpu", batch=6).metres(some)
    for out, depth in zip(plain, ours, strict=True):
        sized = processor.post_process_depth_estimation(out, source_sizes=[(48, 48)])
        assert np.allclose(sized[0]["predicted_depth"].numpy(), depth, atol=1e-4)


def test_the_photos_depth_is_cropped_and_looked_at_once(
    one_domain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ZoeDepth(one_domain, "photo", device="cpu")
    (photo,) = pictures(1, 80, 100)
    asked = []
    original = backend.metres
    monkeypatch.setattr(
        backend, "metres", lambda images: asked.append(len(images)) or original(images)
    )
    first, second = CropTransform(44, 34, 48), CropTransform(60, 40, 30)
    maps = backend.depth_many([view(photo, first), view(photo, second)])
    assert asked == [1] and maps[0].photo.shape == (80, 100)
    assert np.array_equal(maps[0].photo, maps[1].photo)
    # A whole-pixel square of the crop's own size is a slice of the photo's map.
    assert np.abs(maps[0].crop.astype(int) - maps[0].photo[10:58, 20:68]).max() <= 1
    assert maps[1].crop.shape == (48, 48)


def test_files_of_something_else_are_refused(one_domain: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a ZoeDepth model"):
        ZoeDepth(tmp_path)
    for path in one_domain.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    index = {"backbone.encoder.layer.0.relative_position_index": torch.zeros(3)}
    save_file(weights | index, tmp_path / "model.safetensors", {"format": "pt"})
    ZoeDepth(tmp_path, device="cpu")  # known to be harmless
    name = next(key for key in weights if key.startswith("metric_head"))
    save_file(
        {key: value for key, value in weights.items() if key != name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(RunError, match="not all of a ZoeDepth.*metric_head"):
        ZoeDepth(tmp_path, device="cpu")
    with pytest.raises(UserError, match="crop, photo"):
        ZoeDepth(tmp_path, "face")
