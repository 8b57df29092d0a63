"""A run that predicts v to a zero terminal SNR: trained, and saved with its schedule."""

from __future__ import annotations

import pytest
from diffusers import DDIMScheduler

from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from sfe_core.runs.start import plan_training, train
from sfe_core.training.engine import loop
from sfe_core.training.options import TrainOptions
from tests.sfe_core.conftest import with_settings

ZERO = {"prediction": "v_prediction", "zero_terminal_snr": True}
ON_CPU = TrainOptions(cpu_processes=1, run="zero")


def test_the_checkpoint_carries_the_schedule(workspace, monkeypatch):
    monkeypatch.setattr(loop, "sample", lambda *_: {})
    changed = with_settings(
        workspace,
        model=ZERO,
        train={"steps": 1, "snr_gamma": None, "input_perturbation": 0.1, "noise_offset": 0.05},
        loss={"noise_loss": "huber", "pixel_max_timestep": 600, "decode_chunk": 1},
    )
    summary = train(changed, ON_CPU, Reporter())
    saved = DDIMScheduler.from_pretrained(summary.checkpoint / "scheduler")
    assert saved.config.prediction_type == "v_prediction"
    assert saved.alphas_cumprod[-1] == 0
    assert summary.losses["noise"] > 0


def test_settings_that_do_not_go_together_stop_before_anything_is_loaded(workspace):
    wrong = {
        "model.zero_terminal_snr": {"model": {"zero_terminal_snr": True}},
        "loss.pixel_min_timestep": {"loss": {"pixel_min_timestep": 500, "pixel_max_timestep": 400}},
        "asset taesd": {"loss": {"pixel_decoder": "taesd"}},
    }
    for field, sections in wrong.items():
        with pytest.raises(UserError, match=field):
            plan_training(with_settings(workspace, **sections), ON_CPU)
    # What no active term reads is not asked for.
    off = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0, "pixel_decoder": "taesd"}
    plan_training(with_settings(workspace, loss=off), ON_CPU)


def test_min_snr_over_a_zero_terminal_snr_is_remarked_on(workspace):
    notes = plan_training(with_settings(workspace, model=ZERO), ON_CPU).notes
    assert any("train.snr_gamma: null" in note for note in notes)
    quiet = with_settings(workspace, model=ZERO, train={"snr_gamma": None})
    assert not any("snr_gamma" in note for note in plan_training(quiet, ON_CPU).notes)


def test_faces_without_the_label_that_is_aimed_at_are_told(workspace):
    rows = read_manifest(workspace.corpus / MANIFEST)
    train = rows.index[rows["split"] == "train"]
    rows.loc[train[:3], "valence"] = float("nan")
    rows.loc[train[:2], "emotion"] = None
    write_manifest(workspace.corpus / MANIFEST, rows)

    def told(**loss: object) -> list[str]:
        notes = plan_training(with_settings(workspace, loss=loss), ON_CPU).notes
        return [note.split(":")[0] for note in notes if "label" in note]

    of = f"of {len(train)} faces have no"
    assert told() == []
    assert told(emotion_target="label") == [f"3 {of} valence label"]
    assert told(expression_loss="cross-entropy") == [f"2 {of} emotion label"]
    assert told(emotion_target="label", valence=0) == []
