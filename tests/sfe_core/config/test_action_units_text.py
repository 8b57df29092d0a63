"""The presets of action units as text: what their captions say, and that each fits its machine."""

from __future__ import annotations

import pytest

from sfe_core.assets import locate
from sfe_core.assets.needs import needed_assets
from sfe_core.config.loading import preset_config
from sfe_core.config.model import Config
from sfe_core.corpus.annotations.captioning import Captioner, read_sources
from sfe_core.corpus.annotations.labels import Label
from sfe_core.losses.composite import TERMS
from sfe_core.text_window import TextWindow
from sfe_core.training.engine.plan import check_strategy

FULL = ("action-units-text", "action-units-text-11gb", "action-units-text-zero2")
EVERY = (*FULL, "tiny-action-units-text")
SMILE = {"label_AU6": 2.0, "label_AU12": 4.0, "label_AU4": 0.0}
WOMAN = {"label_age": 28.0, "label_sex": "female", "label_ethnicity": "Asian"}


def caption(config: Config, extra: dict) -> str:
    captioner = Captioner(
        read_sources(config.captions.sources),
        config.preprocess.caption_template,
        {"a": "a text of somebody's"},
        settings=config.captions,
    )
    return captioner.caption("a", Label("happy", extra=extra))[0]


@pytest.mark.parametrize("name", EVERY)
def test_they_learn_captions_and_balance_units_and_people(name: str) -> None:
    config = preset_config(name)
    assert config.recipe == "stableface" and config.guidance.maps == ()
    terms = [term for term in TERMS if getattr(config.loss, term) > 0]
    assert terms == (["noise"] if name in FULL else ["noise", "units"])
    assert config.train.balance_units == config.train.balance_subjects == 1.0
    assert config.train.caption_dropout > 0  # guidance needs pictures without a text
    assert config.split.identity == "auto"


@pytest.mark.parametrize("name", FULL)
def test_captions_of_the_full_presets(name: str) -> None:
    config = preset_config(name)
    words = "close-up photo of a young Asian woman, lip corner puller, cheek raiser"
    assert caption(config, WOMAN | SMILE) == words
    assert caption(config, {}) == "close-up photo of a person"
    tags = preset_config(name, {"captions.sources": ["tags"], "captions.absent_units": 1})
    assert caption(tags, WOMAN | SMILE) == (
        "Asian,female,close-up,whole-face,front-face,young,lip-corner-puller,cheek-raiser,"
        "no-brow-lowerer"
    )


@pytest.mark.parametrize("name", [*FULL, "action-units"])
def test_nothing_gated_is_needed_before_training(name: str) -> None:
    needed = needed_assets(preset_config(name))
    assert not {asset.name for asset in needed["preprocess"]} & {
        "emoca-v2",
        "flame-2020",
        "zoedepth",
    }
    assert len(needed["train"]) == 1


def test_maps_turned_on_come_from_parts_of_the_installation_unless_others_are_named() -> None:
    maps = {"guidance.maps": ["landmarks", "mesh", "depth"]}
    config = preset_config("action-units", maps)
    assert config.guidance.maps == ("landmarks", "mesh", "depth")
    assert {"emoca-v2", "zoedepth"}.isdisjoint(a.name for a in needed_assets(config)["preprocess"])
    full = preset_config(
        "action-units",
        {**maps, "preprocess.reconstruction": "emoca", "preprocess.depth": "zoedepth"},
    )
    assert {"emoca-v2", "zoedepth"} <= {asset.name for asset in needed_assets(full)["preprocess"]}


@pytest.mark.parametrize("side", [128, 256, 512])
def test_sides(side: int) -> None:
    config = preset_config("action-units-text", {"model.resolution": side})
    assert config.model.resolution == side <= config.preprocess.crop_size


def test_what_each_trains_and_on_what() -> None:
    whole, small, shared = (preset_config(name).train for name in FULL)
    assert (whole.lora_rank, small.lora_rank, shared.lora_rank) == (0, 32, 0)
    assert small.batch_size == 1 and small.mixed_precision == "fp16"
    check_strategy("ddp", small.mixed_precision, small.lora_rank)
    check_strategy("zero2", shared.mixed_precision, shared.lora_rank)
    assert whole.effective_batch == small.effective_batch == shared.effective_batch


def test_the_embedded_base_reads_captions_of_as_many_units_as_are_named() -> None:
    config = preset_config("tiny-action-units-text")
    many = {f"label_AU{number}": 3.0 for number in (10, 12, 14, 15, 17, 20, 23, 24)}
    text = caption(config, {"label_age": 45.0, "label_sex": "female"} | many)
    assert text.startswith("a middle-aged woman, AU10, AU12") and "AU24" in text
    window = TextWindow.of_pipeline(locate(config.model.base))
    assert window is not None and window.measure([text])[0][1] == ""
