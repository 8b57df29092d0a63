"""Which networks the loss has seen: by the package's own record, else by the settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sfe_core.assets.reference import ModelReference
from sfe_core.config.model import Config
from sfe_core.errors import UserError
from sfe_core.evaluation.instruments.probes import Instrument
from sfe_core.evaluation.origin import RUN_CONFIG, loss_networks, require_apart, seen_by_loss
from sfe_core.files import write_json
from tests.tiny import make_tiny_recogniser


def settings(**loss: object) -> Config:
    return Config.model_validate({"loss": {"emotion_network": "a/my-emonet", **loss}})


def test_terms_without_weight_have_seen_nothing():
    nothing = dict.fromkeys(("perceptual", "valence", "arousal", "expression"), 0.0)
    package = Path("nowhere")
    assert loss_networks(settings(**nothing), package) == ()
    assert loss_networks(settings(**nothing | {"arousal": 0.1}), package) == ("my-emonet",)
    assert loss_networks(settings(**nothing | {"perceptual": 0.1}), package) == ("st-lpips",)
    assert loss_networks(settings(**nothing | {"units": 0.1}), package) == ("tiny-units-loss",)
    for term, network in (("identity", "tiny-identity"), ("crafting_expression", "my-emonet")):
        assert loss_networks(settings(**nothing | {term: 0.1}), package) == (network,)


def test_a_judge_of_units_that_steered_a_package_is_refused(tmp_path: Path):
    recorded = settings(units=0.1, units_network="models/my-reader").model_dump(mode="json")
    (tmp_path / RUN_CONFIG).write_text(yaml.safe_dump(recorded), encoding="utf-8")
    judged = Config.model_validate({"evaluate": {"units_judge": "my-reader"}})
    with pytest.raises(UserError, match="steered the training of"):
        require_apart(judged, tmp_path)
    require_apart(Config.model_validate({"evaluate": {"units_judge": "another"}}), tmp_path)


def test_the_package_tells_what_its_run_used(tmp_path: Path):
    recorded = settings(perceptual_network="lpips-vgg").model_dump(mode="json")
    recorded["loss"]["emotion_network"] = "emonet-8"
    (tmp_path / RUN_CONFIG).write_text(yaml.safe_dump(recorded), encoding="utf-8")
    assert loss_networks(settings(), tmp_path) == ("emonet-8", "lpips-vgg")


def test_a_torn_record_and_pictures_of_unknown_origin(tmp_path: Path):
    (tmp_path / RUN_CONFIG).write_text("[not: yaml", encoding="utf-8")
    assert loss_networks(settings(), tmp_path) == ("my-emonet", "st-lpips")
    assert loss_networks(settings(), None) == ()


def test_a_recogniser_is_known_by_its_weights_not_by_its_folder(tmp_path: Path):
    net = make_tiny_recogniser(tmp_path / "a" / "net", seed=1)
    other = make_tiny_recogniser(tmp_path / "b" / "net", seed=2)
    copy = make_tiny_recogniser(tmp_path / "copy", seed=1)
    config = settings(emotion_network=str(net))

    def seen(folder: Path) -> bool:
        tool = Instrument(folder.name, "", "", "recogniser")
        return seen_by_loss(tool, ModelReference(str(folder)), config, tmp_path / "package")

    assert [seen(folder) for folder in (net, other, copy)] == [True, False, True]
    # The package knows best, whatever the workspace names now.
    models = {"loss.emotion_network": ModelReference(str(other)).sha256}
    write_json(tmp_path / "package" / "provenance.json", {"models": models})
    assert [seen(folder) for folder in (net, other, copy)] == [False, True, False]
    (tmp_path / "package" / "provenance.json").unlink()
    shutil.rmtree(net)  # then only the name is known
    assert [seen(folder) for folder in (other, copy)] == [True, False]


def test_a_perceptual_network_is_known_by_its_name():
    tools = [Instrument(name, "", "", "perceptual") for name in ("st-lpips", "dists")]
    package = Path("nowhere")
    assert [seen_by_loss(tool, None, settings(), package) for tool in tools] == [True, False]
    assert not seen_by_loss(tools[0], None, settings(), None)
