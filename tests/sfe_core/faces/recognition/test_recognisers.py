"""The recognisers: shapes, ranges, gradients, and loading of what was saved."""

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.tiny_networks import make_stem
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet


@pytest.mark.parametrize("kind", [TinyEmotionNet, TinyEmotionJudge])
def test_tiny_recognisers_read_any_size_and_pass_gradient(kind):
    network = kind().eval()
    images = torch.rand(2, 3, 96, 96).mul(2).sub(1).requires_grad_()
    reading = network(images)
    assert reading.logits.shape == (2, 8)
    assert reading.valence.abs().max() <= 1 and reading.arousal.abs().max() <= 1
    (reading.logits.sum() + reading.valence.sum() + reading.arousal.sum()).backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [TinyEmotionNet, TinyEmotionJudge])
def test_saved_recogniser_comes_back_frozen_and_the_same(kind, tmp_path):
    network = kind().eval()
    network.save_pretrained(tmp_path / "net")
    loaded = load_recogniser(tmp_path / "net")
    images = torch.rand(2, 3, 64, 64).mul(2).sub(1)
    assert torch.equal(loaded(images).logits, network(images).logits)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_folder_that_is_no_recogniser_is_a_one_line_error(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "Other"}')
    with pytest.raises(UserError, match="not an emotion recogniser"):
        load_recogniser(tmp_path)


@pytest.mark.parametrize("side", [64, 128])
def test_every_pixel_has_as_many_ways_into_the_loss_network(side):
    stem = make_stem(side, 1)
    torch.nn.init.ones_(stem.weight)
    images = torch.zeros(1, 3, side, side, requires_grad=True)
    hidden = stem(images)
    assert hidden.shape == (1, 1, 64, 64)
    hidden.sum().backward()
    inside = images.grad[:, :, 2:-2, 2:-2]
    assert torch.equal(inside, inside[:, :, :1, :1].expand_as(inside))
