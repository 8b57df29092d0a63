"""Files of published weights: sizes told from tensors, and each misfit named in one line."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.published_weights import load_published_rig, rig_settings
from sfe_core.errors import UserError
from tests.sfe_core.diffusion.physical.rigs import inputs, small_rig

_FIRST = "denoisingUNet.input_blocks.0.0.weight"
_CODE = "denoisingUNet.input_blocks.1.0.cond_emb_layers.1.weight"


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 64},
        {"image_size": 128, "encoder_kind": "resnet50"},
        {"image_size": 256, "extra_width": 250},
        {"image_size": 512, "latent_width": 32},
        {"image_size": 256, "attention_sizes": (32, 16, 8), "blocks_per_level": 1},
        {"image_size": 64, "base_width": 96, "multipliers": (1, 2, 2), "encoder_width": 16},
    ],
)
def test_sizes_are_told_by_the_tensors(settings):
    with torch.device("meta"):
        rig = DiffusionRig(**settings)
        told = rig_settings(rig.state_dict(), "model.pt")
        again = DiffusionRig(**told)
    assert told["image_size"] == settings["image_size"]
    shapes = {name: tensor.shape for name, tensor in rig.state_dict().items()}
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes
    for name in ("encoder_kind", "latent_width", "extra_width", "encoder_width"):
        assert told[name] == rig.config[name]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_file_draws_the_same(tmp_path, prefix):
    rig = small_rig()
    state = {prefix + name: tensor for name, tensor in rig.state_dict().items()}
    torch.save(state, tmp_path / "model005000.pt")
    again = load_published_rig(tmp_path / "model005000.pt")
    assert not again.training
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs()), rig(**inputs()), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"denoisingUNet.out.2.bias": None}, "no denoisingUNet.out.2.bias"),
        ({"denoisingUNet.label_emb.weight": torch.zeros(1)}, "unknown denoisingUNet.label_emb"),
        (
            {_FIRST: torch.zeros(32, 3, 3, 3)},
            r"0.0.weight is \[32, 3, 3, 3\], not \[32, 12, 3, 3\]",
        ),
        ({"denoisingUNet.output_blocks.2.2.in_layers.2.weight": None}, "no .*output_blocks.2.2"),
        ({"denoisingUNet.input_blocks.4.1.qkv.weight": None}, "no .*input_blocks.4.1.qkv.weight"),
        ({"encoder.fc.weight": None}, "is not a model of DiffusionRig .no encoder.fc.weight"),
        ({_CODE: torch.zeros(64, 2)}, "by 2 numbers, fewer than the encoder's 6"),
        ({_CODE: torch.zeros(64)}, r"cond_emb_layers.1.weight is \[64\]"),
        (
            {
                "denoisingUNet.out.0.bias": None,
                "extra": torch.zeros(1),
                "encoder.fc.bias": torch.zeros(2),
            },
            r"no denoisingUNet.out.0.bias; unknown extra; encoder.fc.bias is \[2\], not \[6\]",
        ),
    ],
)
def test_a_misfit_is_named(tmp_path, changes: dict[str, Any], said):
    state = small_rig().state_dict()
    assert all(name in state for name, tensor in changes.items() if tensor is None)
    state |= changes
    path = tmp_path / "model000001.pt"
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, path)
    with pytest.raises(UserError, match=said) as caught:
        load_published_rig(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


class Dangerous:
    def __reduce__(self) -> tuple:
        return (print, ("a pickle ran",))


def test_other_files_are_refused_in_one_line(tmp_path, capsys):
    files = {name: tmp_path / name for name in ("absent.pt", "pickle.pt", "opt.pt", "text.pt")}
    files["pickle.pt"].write_bytes(pickle.dumps({"a": Dangerous()}, protocol=2))
    torch.save({"state": {0: {"step": 3}}, "param_groups": []}, files["opt.pt"])
    files["text.pt"].write_text("no weights")
    files["empty.pt"] = tmp_path / "empty.pt"
    torch.save({}, files["empty.pt"])
    for path in files.values():
        with pytest.raises(UserError, match=r"model\*.pt of DiffusionRig") as caught:
            load_published_rig(path)
        assert "\n" not in str(caught.value)
    assert "a pickle ran" not in capsys.readouterr().out
