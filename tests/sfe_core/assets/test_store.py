"""Names to paths, and the errors on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.assets.conversion import CONVERSIONS
from sfe_core.assets.needs import needed_assets
from sfe_core.assets.registry import CHECKSUMS_FILE, EMBEDDED, registry
from sfe_core.assets.seal import measure_embedded
from sfe_core.assets.store import assets_root, folder_of, how_to_get, locate
from sfe_core.config.loading import preset_config
from sfe_core.config.presets import preset_names
from sfe_core.config.training_sections import NO_BASE
from sfe_core.errors import UserError


def test_every_asset_says_what_for_which_licence_and_how():
    for name, asset in registry().items():
        assert asset.purpose and asset.licence, name
        assert asset.page.startswith("https://"), name
        assert asset.embedded or asset.files, name
        assert how_to_get(asset), name
        members = asset.taken_from.members if asset.taken_from else ()
        assert asset.taken_from is None or asset.taken_from.conversion in CONVERSIONS
        for file in (*asset.files, *members):
            assert ".." not in Path(file.path).parts and not Path(file.path).is_absolute()
            assert file.sha256 is None or len(file.sha256) == 64
            assert file.url is None or file.url.startswith("https://")


def test_a_digest_in_a_torch_hub_file_name_agrees_with_the_registered_one():
    named = 0
    for asset in registry().values():
        for file in asset.files:
            stem = file.path.rsplit(".", 1)[0]
            prefix = stem.rsplit("-", 1)[-1]
            if file.sha256 and file.url and len(prefix) in (8, 10):
                assert file.sha256.startswith(prefix), file.path
                named += 1
    assert named >= 4


def test_checksums_of_the_shipped_weights_are_those_of_the_files():
    import json

    assert json.loads(CHECKSUMS_FILE.read_text(encoding="utf-8")) == measure_embedded()
    total = sum(file["size"] for files in measure_embedded().values() for file in files)
    assert total <= 90_000_000


@pytest.mark.parametrize("preset", preset_names())
def test_every_model_name_in_a_preset_is_registered(preset):
    config = preset_config(preset)
    for name in (config.model.base, config.loss.emotion_network, config.evaluate.judge):
        assert name in registry() or name == NO_BASE
    for step, assets in needed_assets(config).items():
        assert assets or (step == "train" and config.model.base == NO_BASE)


def test_the_tiny_preset_needs_nothing_that_is_fetched():
    for assets in needed_assets(preset_config("tiny")).values():
        assert {asset.source for asset in assets} <= {"embedded", "package"}


def test_embedded_and_packaged_assets_are_found():
    assert locate("anny-head") == EMBEDDED / "anny-head"
    assert locate("dlib-landmarks").name == "shape_predictor_68_face_landmarks.dat"
    assert (locate("st-lpips") / "alex_shift_tolerant.pth").is_file()


def test_a_missing_download_names_licence_page_and_command():
    with pytest.raises(UserError) as caught:
        locate("emonet-8")
    for part in ("emonet-8", "CC BY-NC-ND 4.0", "github.com/face-analysis", "sfe assets fetch"):
        assert part in str(caught.value)


def test_a_missing_gated_file_names_the_place_it_belongs(own_assets_root):
    with pytest.raises(UserError) as caught:
        locate("flame-2020")
    assert str(own_assets_root / "flame-2020" / "generic_model.pkl") in str(caught.value)
    assert "https://flame.is.tue.mpg.de" in str(caught.value)


def test_a_file_put_in_place_is_found(own_assets_root):
    target = own_assets_root / "emonet" / "emonet_8.pth"
    target.parent.mkdir()
    target.write_bytes(b"weights")
    assert locate("emonet-8") == target


def test_paths_pass_through_and_wrong_ones_do_not(tmp_path):
    assert locate(tmp_path) == tmp_path
    with pytest.raises(UserError, match="does not exist"):
        locate(tmp_path / "nothing")
    with pytest.raises(UserError, match="did you mean emonet-8"):
        locate("emonet8")


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SFE_ASSETS", str(tmp_path / "x"))
    assert assets_root() == tmp_path / "x"
    assert folder_of(registry()["vgg16"]) == tmp_path / "x" / "torchvision"
    monkeypatch.delenv("SFE_ASSETS")
    assert assets_root().is_absolute()
