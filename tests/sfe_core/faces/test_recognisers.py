"""The recognisers: shapes, ranges, gradients, and loading of what was saved."""

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.faces.emonet import EmoNet, load_emonet
from sfe_core.faces.recognisers import TinyEmotionJudge, TinyEmotionNet, load_recogniser


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


@pytest.mark.parametrize("classes", [5, 8])
def test_emonet_loads_the_published_layout(classes, tmp_path):
    torch.manual_seed(0)
    network = EmoNet(classes).eval()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / "emonet.pth")
    loaded = load_emonet(tmp_path / "emonet.pth")
    images = torch.rand(2, 3, 256, 256)
    out, features, maps = loaded.read(images)
    assert out.shape == (2, classes + 2) and features.shape == (2, 256)
    assert maps.shape == (2, 68, 64, 64)
    reading = load_recogniser(tmp_path / "emonet.pth")(images.mul(2).sub(1))
    assert torch.allclose(reading.logits, out[:, :-2], atol=1e-4)


def test_emonet_has_the_published_size():
    count = sum(parameter.numel() for parameter in EmoNet(8).parameters())
    assert round(count / 1e6, 2) == 13.96


def test_emonet_refuses_missing_and_foreign_keys(tmp_path):
    state = EmoNet(8).state_dict()
    del state["l1.bias"]
    torch.save(state, tmp_path / "torn.pth")
    with pytest.raises(UserError, match="l1.bias"):
        load_emonet(tmp_path / "torn.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(UserError, match="not an EmoNet"):
        load_emonet(tmp_path / "text.pth")
