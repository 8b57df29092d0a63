"""Which networks the loss has seen: by the package's own record, else by the settings."""

from __future__ import annotations

from pathlib import Path

import yaml

from sfe_core.config.model import Config
from sfe_core.evaluation.origin import RUN_CONFIG, loss_networks


def settings(**loss: object) -> Config:
    return Config.model_validate({"loss": {"emotion_network": "a/my-emonet", **loss}})


def test_terms_without_weight_have_seen_nothing():
    nothing = dict.fromkeys(("perceptual", "valence", "arousal", "expression"), 0.0)
    package = Path("nowhere")
    assert loss_networks(settings(**nothing), package) == ()
    assert loss_networks(settings(**nothing | {"arousal": 0.1}), package) == ("my-emonet",)
    assert loss_networks(settings(**nothing | {"perceptual": 0.1}), package) == ("st-lpips",)


def test_the_package_tells_what_its_run_used(tmp_path: Path):
    recorded = settings(perceptual_network="lpips-vgg").model_dump(mode="json")
    recorded["loss"]["emotion_network"] = "emonet-8"
    (tmp_path / RUN_CONFIG).write_text(yaml.safe_dump(recorded), encoding="utf-8")
    assert loss_networks(settings(), tmp_path) == ("emonet-8", "lpips-vgg")


def test_a_torn_record_and_pictures_of_unknown_origin(tmp_path: Path):
    (tmp_path / RUN_CONFIG).write_text("[not: yaml", encoding="utf-8")
    assert loss_networks(settings(), tmp_path) == ("my-emonet", "st-lpips")
    assert loss_networks(settings(), None) == ()
