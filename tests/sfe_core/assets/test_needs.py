"""The models of a loss, by field and by weights."""

from __future__ import annotations

import shutil

import pytest

from sfe_core.assets.needs import (
    hash_models,
    loss_models,
    require_independent_identity_judge,
    require_independent_judge,
)
from sfe_core.assets.store import locate
from sfe_core.config.model import Config
from sfe_core.config.stableface_sections import LossConfig
from sfe_core.errors import UserError
from tests.tiny import make_tiny_recogniser

EMOTION_TERMS = ("valence", "arousal", "expression", "features", "crafting_expression")
NOTHING = dict.fromkeys((*EMOTION_TERMS, "perceptual"), 0.0)


@pytest.mark.parametrize(
    ("weights", "fields"),
    [
        ({}, set()),
        *(({term: 0.1}, {"loss.emotion_network", "loss.pixel_decoder"}) for term in EMOTION_TERMS),
        ({"units": 0.1}, {"loss.units_network", "loss.pixel_decoder"}),
        ({"identity": 0.1}, {"loss.identity_network", "loss.pixel_decoder"}),
        ({"alignment": 0.1}, set()),
        ({"perceptual": 0.1}, {"loss.perceptual_network", "loss.pixel_decoder"}),
    ],
)
def test_only_networks_of_terms_with_a_weight_have_a_part(weights, fields):
    loss = LossConfig(**{**NOTHING, **weights, "pixel_decoder": "taesd"})
    assert set(loss_models(loss)) == fields
    vae = loss.model_copy(update={"pixel_decoder": "vae"})
    assert set(loss_models(vae)) == fields - {"loss.pixel_decoder"}


def test_hashes_follow_the_weights_not_the_path(tmp_path):
    one = make_tiny_recogniser(tmp_path / "one", seed=1)
    other = make_tiny_recogniser(tmp_path / "other", seed=2)
    copy = shutil.copytree(one, tmp_path / "copy")
    assert hash_models([str(one)]) == hash_models([str(copy)]) != hash_models([str(other)])
    pairs = [hash_models([str(one), str(last)]) for last in (other, copy)]
    assert pairs[0] != pairs[1] and hash_models([str(copy), str(other)]) == pairs[0]


def test_a_judge_of_the_losss_weights_is_refused_and_one_that_is_gone_is_not(tmp_path):
    one = make_tiny_recogniser(tmp_path / "a" / "net", seed=1)
    other = make_tiny_recogniser(tmp_path / "b" / "net", seed=2)
    copy = shutil.copytree(one, tmp_path / "copy")

    def config(judge: object, **loss: float) -> Config:
        settings = {"emotion_network": str(one), **loss}
        return Config.model_validate({"evaluate": {"judge": str(judge)}, "loss": settings})

    with pytest.raises(UserError, match=r"evaluate.judge: .*/copy: holds the weights of"):
        require_independent_judge(config(copy))
    require_independent_judge(config(other))
    require_independent_judge(config(tmp_path / "gone"))
    require_independent_judge(config(copy, **NOTHING))


def test_a_judge_of_identity_that_the_loss_asks_is_refused_by_whatever_path(tmp_path):
    copy = shutil.copytree(locate("tiny-identity"), tmp_path / "copy")

    def config(judge: str, network: object = "tiny-identity", weight: float = 0.1) -> Config:
        loss = {"identity": weight, "identity_network": str(network)}
        return Config.model_validate({"evaluate": {"identity": judge}, "loss": loss})

    for network in ("tiny-identity", copy):
        with pytest.raises(UserError, match=r"evaluate.identity: tiny-identity: .*such as dlib"):
            require_independent_identity_judge(config("tiny-identity", network))
    require_independent_identity_judge(config("tiny-identity", weight=0.0))
    for judge in ("dlib", "auto", "none"):
        require_independent_identity_judge(config(judge))
