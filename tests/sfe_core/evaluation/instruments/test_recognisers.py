"""Which recognisers measure: each by its own weights, whatever its folder is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.evaluation.choices import choose
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.instruments.probes import weights_sha256
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge
from tests.sfe_core.conftest import with_settings
from tests.tiny import make_tiny_recogniser


def saved(folder: Path, seed: int = 1) -> str:
    torch.manual_seed(seed)
    TinyEmotionJudge(32, (16, 24), (1, 1)).save_pretrained(folder)
    return str(folder)


def meter(
    workspace: Workspace, judge: str, loss: str, *further: str, witnesses: tuple[str, ...] = ()
) -> Meter:
    settings = {"judge": judge, "recognisers": ("loss", *further), "witnesses": witnesses}
    changed = with_settings(workspace, evaluate=settings, loss={"emotion_network": loss})
    return Meter(choose(changed).workspace.config)


def test_a_judge_of_the_same_folder_name_as_the_loss_network_stays_the_judge(
    evaluated_once: Workspace, tmp_path: Path
):
    judge = saved(tmp_path / "a" / "net")
    loss = saved(tmp_path / "b" / "net", seed=2)
    found = meter(evaluated_once, judge, loss)
    first, second = found.recognisers
    assert first == "net" and second.startswith("net-")
    hashes = [
        weights_sha256(TinyEmotionJudge.from_pretrained(folder).float()) for folder in (judge, loss)
    ]
    tools = [found.instruments[name] for name in (first, second)]
    assert [tool.weights_sha256 for tool in tools] == hashes
    assert [tool.kind for tool in tools] == ["judge", "recogniser"]


@pytest.mark.parametrize("name", ["detector", "st-lpips"])
def test_a_recogniser_called_like_another_instrument_replaces_none(
    evaluated_once: Workspace, tmp_path: Path, name: str
):
    judge = saved(tmp_path / name)
    found = meter(evaluated_once, judge, "tiny-emotion-loss")
    assert found.recognisers[0].startswith(f"{name}-")
    assert found.instruments[name].kind in ("detector", "perceptual")
    assert found.instruments[found.recognisers[0]].kind == "judge"


def test_the_losss_own_weights_cannot_judge_under_another_path(
    evaluated_once: Workspace, tmp_path: Path
):
    copy = shutil.copytree(locate("tiny-emotion-loss"), tmp_path / "independent")
    with pytest.raises(UserError, match="evaluate.judge: .*the weights of loss.emotion_network"):
        meter(evaluated_once, str(copy), "tiny-emotion-loss")


def test_a_loss_without_emotion_terms_has_seen_no_judge(evaluated_once: Workspace, tmp_path: Path):
    copy = shutil.copytree(locate("tiny-emotion-loss"), tmp_path / "independent")
    nothing = dict.fromkeys(("valence", "arousal", "expression", "features"), 0.0)
    workspace = with_settings(evaluated_once, loss=nothing)
    assert meter(workspace, str(copy), "tiny-emotion-loss").recognisers == ("independent",)


def test_one_network_by_two_paths_reads_once(evaluated_once: Workspace, tmp_path: Path):
    one = str(make_tiny_recogniser(tmp_path / "a" / "one"))
    other = shutil.copytree(one, tmp_path / "b" / "other")
    judge = evaluated_once.config.evaluate.judge
    names = meter(evaluated_once, judge, one, str(other)).recognisers
    assert names == ("random-judge", "one")


def test_witnesses_stand_after_the_judge_and_each_network_stands_once(
    evaluated_once: Workspace, tmp_path: Path
):
    judge, loss = saved(tmp_path / "judge"), saved(tmp_path / "loss", seed=2)
    other = saved(tmp_path / "other", seed=3)
    found = meter(evaluated_once, judge, loss, witnesses=(judge, other, loss))
    kinds = {name: found.instruments[name].kind for name in found.recognisers}
    assert kinds == {"judge": "judge", "other": "witness", "loss": "witness"}


def test_a_witness_that_is_named_and_not_there_is_told_before_any_work(evaluated_once: Workspace):
    judge = evaluated_once.config.evaluate.judge
    with pytest.raises(UserError, match="no-such-witness"):
        meter(evaluated_once, judge, "tiny-emotion-loss", witnesses=("no-such-witness",))
