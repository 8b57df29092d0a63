"""HSEmotion files: tensors come out right, and nothing in the pickle is run."""

import pytest
import timm
import torch

from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.hsemotion import load_hsemotion, read_pickled_module
from sfe_core.faces.recognition.recognisers import load_recogniser


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_b0", num_classes=10).eval()
    network.classifier = torch.nn.Sequential(network.classifier)
    path = tmp_path_factory.mktemp("hsemotion") / "enet_b0_8_va_mtl.pt"
    torch.save(network, path)
    return network, path


def test_whole_module_file_gives_the_same_reading_in_our_order(published):
    network, path = published
    images = torch.rand(2, 3, 224, 224).mul(2).sub(1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = network((images.add(1).div(2) - mean) / std)
        reading = load_recogniser(path)(images)
    happy, anger = EMOTIONS.index("happy"), EMOTIONS.index("anger")
    assert torch.allclose(reading.logits[:, happy], expected[:, 4], atol=1e-4)
    assert torch.allclose(reading.logits[:, anger], expected[:, 0], atol=1e-4)
    assert torch.allclose(reading.arousal, expected[:, 9], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "side"), [("tf_efficientnet_b0", 224), ("tf_efficientnet_b2", 260)]
)
def test_models_of_emotions_alone_read_no_affect(name, side, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=8).eval()
    torch.save(network, tmp_path / "enet_8.pt")
    loaded = load_recogniser(tmp_path / "enet_8.pt")
    assert (loaded.input_px, loaded.reads_affect, loaded.classes) == (side, False, 8)
    with torch.no_grad():
        reading = loaded(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert reading.logits.shape == (2, 8) and reading.logits.isfinite().all()
    assert reading.valence.isnan().all() and reading.arousal.isnan().all()


def test_reading_runs_no_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save(Bomb(), tmp_path / "bomb.pt")
    with pytest.raises(UserError, match="holds no weights"):
        read_pickled_module(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


def test_other_networks_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "other.pt")
    with pytest.raises(UserError, match="classifier of shape None"):
        load_hsemotion(tmp_path / "other.pt")
    seven = torch.nn.ModuleDict({"classifier": torch.nn.Linear(1280, 7)})
    torch.save(seven, tmp_path / "enet_b0_7.pt")
    with pytest.raises(UserError, match=r"shape \(7, 1280\).*eight emotions"):
        load_hsemotion(tmp_path / "enet_b0_7.pt")


def test_a_torn_network_names_what_is_missing(published, tmp_path):
    network, _ = published
    whole = network.conv_stem
    network.conv_stem = torch.nn.Identity()
    torch.save(network, tmp_path / "torn.pt")
    network.conv_stem = whole
    with pytest.raises(UserError, match="no conv_stem.weight"):
        load_hsemotion(tmp_path / "torn.pt")
