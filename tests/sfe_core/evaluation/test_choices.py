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
    assert left_out == [
        "left out: hsemotion-b0, emonet-8 (judges from outside); "
        "run `sfe assets fetch hsemotion-b0 emonet-8`"
    ]


@pytest.mark.usefixtures("known")
def test_what_is_named_is_taken_at_its_word():
    config, left_out = settled(witnesses=["emonet-8"])
    assert (config.evaluate.witnesses, left_out) == (("emonet-8",), [])
    config, left_out = settled(witnesses=["emonet-8", "auto"])
    assert config.evaluate.witnesses == ("emonet-8", "tiny-emotion-loss")
    config, left_out = settled(witnesses=[])
    assert (config.evaluate.witnesses, left_out) == ((), [])
