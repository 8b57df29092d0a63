"""The readers of action units: shapes, gradients, loading."""

import pytest
import torch

from sfe_core.controls.facial_actions import UNITS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.tiny_units import TinyUnitsJudge, TinyUnitsNet
from sfe_core.faces.recognition.unit_readers import load_unit_reader


@pytest.mark.parametrize("kind", [TinyUnitsNet, TinyUnitsJudge])
def test_unit_readers_read_both_halves_of_any_size_and_pass_gradient(kind, tmp_path):
    network = kind(UNITS).eval()
    images = torch.rand(2, 3, 96, 96).mul(2).sub(1).requires_grad_()
    read = network(images)
    assert read.shape == (2, 2, 18) and network.units == UNITS
    read.sum().backward()
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()
    network.save_pretrained(tmp_path / "net")
    loaded = load_unit_reader(tmp_path / "net")
    assert torch.equal(loaded(images), read) and loaded.units == UNITS
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_folder_that_reads_no_units_is_a_one_line_error(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "TinyEmotionNet"}')
    with pytest.raises(UserError, match="not a reader of action units"):
        load_unit_reader(tmp_path)
