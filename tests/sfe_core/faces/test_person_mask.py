"""The person mask: its contract, and its numbers beside TensorFlow.js."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from sfe_core.assets.registry import registry
from sfe_core.assets.store import folder_of
from sfe_core.errors import UserError
from sfe_core.faces.person_mask import PersonMask, load_person_mask
from tests.outside_weights import randomised

FETCHED = folder_of(registry()["selfie"]) / "selfie.safetensors"  # of this machine


@pytest.mark.skipif(not FETCHED.is_file(), reason="sfe assets fetch selfie")
def test_it_masks_what_the_published_graph_masks():
    photo = Image.fromarray(data.astronaut()).resize((256, 256), Image.Resampling.BOX)
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        mask = load_person_mask(FETCHED)(image)[0, 0].numpy()
    # TensorFlow.js on the same pixels. Its file rounds the sixth of hard swishes to half
    # precision: with that the masks agree to 1e-5, without it to 0.03 at the edge.
    assert mask.mean() == pytest.approx(0.544257, abs=1e-3)
    for place, wanted in {(60, 110): 1, (200, 120): 1, (20, 20): 0, (128, 240): 0}.items():
        assert mask[place] == pytest.approx(wanted, abs=1e-2)


def test_a_mask_has_the_pictures_size_and_passes_gradient():
    network = randomised(PersonMask())
    images = (torch.rand(2, 3, 96, 80) * 2 - 1).requires_grad_()
    mask = network(images)
    assert mask.shape == (2, 1, 96, 80) and mask.min() >= 0 and mask.max() <= 1
    mask.sum().backward()
    assert images.grad.abs().sum() > 0


def test_a_file_of_another_network_is_told(tmp_path):
    save_file({"stem.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "one.safetensors")
    with pytest.raises(UserError, match="does not fit: no stem.bias"):
        load_person_mask(tmp_path / "one.safetensors")
    with pytest.raises(UserError, match="sfe assets fetch selfie"):
        load_person_mask()
