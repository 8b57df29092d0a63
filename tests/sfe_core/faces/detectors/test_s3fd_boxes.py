"""S3FD's boxes beside the face-alignment library's own decoding, and in batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from face_alignment.detection.sfd.bbox import nms
from face_alignment.detection.sfd.detect import get_predictions
from face_alignment.detection.sfd.net_s3fd import s3fd

from sfe_core.faces.detectors.s3fd_boxes import MEAN_BGR, S3fdBoxes, decode_boxes, suppress


def random_outputs(pictures: int, side: int, seed: int) -> list[torch.Tensor]:
    """Six levels of logits and offsets; about one cell in ten is sure of a face."""
    generator = torch.Generator().manual_seed(seed)
    outputs = []
    for level in range(6):
        cells = max(1, side // (4 * 2**level))
        logits = torch.randn(pictures, 2, cells, cells, generator=generator)
        logits[:, 1] -= 1.8
        outputs += [logits, torch.randn(pictures, 4, cells, cells, generator=generator)]
    return outputs


def library_boxes(outputs: list[torch.Tensor]) -> np.ndarray:
    """One picture's boxes as the library finds them."""
    arrays = [out.clone() for out in outputs]
    for place in range(0, len(arrays), 2):
        arrays[place] = arrays[place].softmax(dim=1)
    boxes = get_predictions([array.numpy() for array in arrays], 1)[0]
    kept = boxes[nms(boxes, 0.3)]
    return kept[kept[:, 4] > 0.5]


@pytest.mark.parametrize("seed", range(5))
def test_boxes_are_the_librarys(seed: int) -> None:
    outputs = random_outputs(1, 128, seed)
    (found,) = decode_boxes(outputs)
    ours, theirs = suppress(found), library_boxes(outputs)
    assert len(found) > len(ours) > 3
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-3)


def test_a_batch_is_decoded_as_its_pictures_are() -> None:
    outputs = random_outputs(3, 64, 9)
    together = decode_boxes(outputs)
    for place, boxes in enumerate(together):
        (alone,) = decode_boxes([out[place : place + 1] for out in outputs])
        assert np.array_equal(boxes, alone)


def test_nothing_found_is_an_empty_table() -> None:
    outputs = random_outputs(2, 64, 0)
    for logits in outputs[::2]:
        logits[:, 1] = -20.0
    assert [boxes.shape for boxes in decode_boxes(outputs)] == [(0, 5), (0, 5)]
    assert suppress(np.zeros((0, 5))).shape == (0, 5)


class ColourNetwork(torch.nn.Module):
    """Sure of a face in the cells of stride 4 that are red; remembers the shapes it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, batch: torch.Tensor) -> list[torch.Tensor]:
        self.shapes.append(tuple(batch.shape))
        red = torch.nn.functional.avg_pool2d(batch[:, 2:3] - batch[:, :1], 4) > 120
        outputs = []
        for level in range(6):
            cells = [max(1, side // (4 * 2**level)) for side in batch.shape[2:]]
            score = torch.full((len(batch), 1, *cells), -9.0)
            if level == 0:
                score = torch.where(red, 9.0, -9.0)
            offsets = torch.zeros(len(batch), 4, *cells)
            outputs += [torch.cat([torch.zeros_like(score), score], dim=1), offsets]
        return outputs


def spotted(height: int, width: int, x: int, y: int) -> np.ndarray:
    """A picture of the mean colour with one red cell, its corner at (x, y)."""
    picture = np.tile(np.array(MEAN_BGR[::-1], np.uint8), (height, width, 1))
    picture[y : y + 4, x : x + 4] = (255, 0, 0)
    return picture


@pytest.mark.parametrize("batch", [1, 4])
def test_pictures_of_like_size_share_a_pass_and_keep_their_places(batch: int) -> None:
    pictures = [
        spotted(90, 120, 40, 20), spotted(100, 100, 60, 8), spotted(50, 50, 8, 8),
        spotted(128, 128, 4, 100),
    ]  # fmt: skip
    network = ColourNetwork()
    found = S3fdBoxes(network, "cpu", batch).find_many(pictures)
    centres = [(box[0, :2] + box[0, 2:4]) / 2 for box in found]
    assert np.allclose(centres, [(42, 22), (62, 10), (10, 10), (6, 102)])
    if batch == 4:
        assert network.shapes == [(4, 3, 128, 128), (4, 3, 64, 64)]


def test_company_and_batch_change_no_bit() -> None:
    torch.manual_seed(0)
    network = s3fd().eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels in (2, 4):
            torch.nn.init.normal_(layer.weight, std=0.3)
            torch.nn.init.normal_(layer.bias, std=1.0)
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 60, 64, 3), dtype=np.uint8))
    finder = S3fdBoxes(network, "cpu", 2)
    together = finder.find_many(pictures)
    assert sum(map(len, together)) > 0
    for place, picture in enumerate(pictures):
        assert np.array_equal(finder.find_many([picture])[0], together[place])
