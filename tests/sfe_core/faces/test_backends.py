"""The tables of backends: a name chooses, and no other list of the names lags behind."""

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from sfe_core.assets import needs
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.picture_sections import EvaluateConfig
from sfe_core.errors import UserError
from sfe_core.faces import backends


@pytest.mark.parametrize(
    ("load", "table"),
    [
        (backends.load_detector, backends.DETECTORS),
        (backends.load_reconstructor, backends.RECONSTRUCTIONS),
        (backends.load_depth, backends.DEPTHS),
    ],
)
def test_one_line_adds_a_backend_and_an_unknown_name_lists_all(
    load: Any, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = object()
    monkeypatch.setitem(table, "mine", lambda *args, **options: mine)
    assert load("mine") is mine
    with pytest.raises(UserError, match="'other' is unknown; choose one of .*, mine"):
        load("other")


@pytest.mark.parametrize(
    ("table", "assets", "config", "key"),
    [
        (backends.DETECTORS, needs.DETECTOR_ASSETS, PreprocessConfig, "detector"),
        (backends.DETECTORS, needs.DETECTOR_ASSETS, EvaluateConfig, "detector"),
        (
            backends.RECONSTRUCTIONS,
            needs.RECONSTRUCTION_ASSETS,
            PreprocessConfig,
            "reconstruction",
        ),
        (backends.DEPTHS, needs.DEPTH_ASSETS, PreprocessConfig, "depth"),
    ],
)
def test_every_backend_can_be_chosen_and_has_its_assets_listed(
    table: Mapping[str, Any], assets: Mapping[str, Any], config: Any, key: str
) -> None:
    assert set(table) == set(assets) == set(get_args(config.model_fields[key].annotation))
