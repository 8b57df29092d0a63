"""Trackers by name: each gets the numbers and pictures, a missing one is named early."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate import PartialState

from sfe_core.errors import RunError, UserError
from sfe_core.runs.start import train
from sfe_core.training.engine import trackers
from sfe_core.training.engine.trackers import Trackers, require_trackers
from sfe_core.training.options import TrainOptions
from tests.listening import Listener

PICTURE = np.full((4, 8, 3), 200, np.uint8)
CONFIG = {"train": {"steps": 5}}


def use(names, run):
    PartialState()  # accelerate's logging asks for it
    used = Trackers(names, run, CONFIG)
    used.numbers({"total": 0.5, "raw/noise": 0.25}, 3)
    used.picture("samples", PICTURE, 3)
    used.close()


def test_a_tracker_that_is_not_installed_is_named_before_the_run(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else 1)
    require_trackers(["tensorboard"])
    with pytest.raises(UserError, match="wandb is not installed; pip install wandb"):
        require_trackers(["tensorboard", "wandb"])


KEY = "password 0123456789012345678901234567890123456789"


@pytest.mark.parametrize(
    ("variables", "netrc", "logged_in"),
    [
        ({}, None, False),
        ({}, "machine github.com login me password x", False),
        ({"WANDB_MODE": "online"}, "", False),
        ({}, f"machine api.wandb.ai login user {KEY}", True),
        ({"WANDB_BASE_URL": "https://our.wandb"}, f"machine api.wandb.ai login user {KEY}", False),
        ({"WANDB_BASE_URL": "https://our.wandb"}, f"machine our.wandb login user {KEY}", True),
        ({"WANDB_API_KEY": "x"}, None, True),
        ({"WANDB_MODE": "offline"}, None, True),
        ({"WANDB_MODE": "disabled"}, None, True),
    ],
)
def test_nobody_logged_in_is_told_before_the_run(
    tmp_path, monkeypatch, variables, netrc, logged_in
):
    monkeypatch.setattr(trackers, "find_spec", lambda name: 1)
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": str(tmp_path)} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    if netrc is not None:
        path = tmp_path / ".netrc"
        path.write_text(netrc)
        path.chmod(0o600)
    if logged_in:
        require_trackers(["wandb"])
        return
    with pytest.raises(UserError, match="wandb: nobody is logged in; run `wandb login`, or set"):
        require_trackers(["tensorboard", "wandb"])


def test_a_tracker_starts_before_anything_is_encoded(workspace, monkeypatch):
    class Refuses:
        def __init__(self, *arguments, **options):
            raise ConnectionError("no network")

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "tensorboard", Refuses)
    listener = Listener()
    with pytest.raises(RunError, match="tensorboard: does not start"):
        train(workspace, TrainOptions(cpu_processes=1), listener)
    assert not listener.done


def test_a_service_that_refuses_is_one_line(tmp_path, monkeypatch):
    class Refuses:
        def __init__(self, *arguments, **options):
            raise ConnectionError("no network")

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "wandb", Refuses)
    with pytest.raises(RunError, match=r"train.trackers: wandb: does not start \(no network\)"):
        Trackers(["wandb"], tmp_path, CONFIG)


def test_wandb_offline_keeps_one_run_over_restarts(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for _ in range(2):
        use(["wandb"], tmp_path)
    folders = [path for path in (tmp_path / "wandb").glob("offline-run-*") if path.is_dir()]
    ids = {path.name.rsplit("-", 1)[1] for path in folders}
    assert ids == {(tmp_path / "wandb-id").read_text()}
    assert list(tmp_path.rglob("media/images/*.png"))


def test_trackio_keeps_numbers_in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    run = tmp_path / "first"
    run.mkdir()
    use(["trackio"], run)
    kept = trackio.Api().runs("sfe")
    assert [one.name for one in kept] == ["first"]
