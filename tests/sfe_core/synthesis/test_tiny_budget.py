"""Fitting the build of the tiny weights into a time."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.synthesis.tiny.budget import (
    KEPT_BACK,
    MOST_PASSES,
    Speeds,
    face_sets,
    fit,
    full_seconds,
    measure,
    seconds_of,
)
from sfe_core.synthesis.tiny.settings import SETTINGS, settings_of

CPU = Speeds(faces=12.0, vae_crops=40.0, vae_whole=10.0, readers=60.0, base={32: 50.0})
GPU = Speeds(
    faces=100.0,
    vae_crops=9e3,
    vae_whole=3e3,
    readers=2e4,
    base={32: 3000.0, 64: 5000.0, 128: 7000.0, 256: 7500.0},
)


@pytest.mark.parametrize("seconds", [600, 1500, 10800])
@pytest.mark.parametrize("speeds", [CPU, GPU])
def test_all_stages_together_fit_into_the_time(seconds, speeds):
    fitted = fit(SETTINGS, seconds, speeds)
    stages = full_seconds(fitted, speeds)
    stages["base"] = fitted.base_steps * fitted.base_batch / speeds.base[fitted.base_batch]
    assert sum(stages.values()) <= seconds * (1 - KEPT_BACK) * 1.03
    passes = fitted.base_steps * fitted.base_batch / fitted.base_faces.count
    assert sum(stages.values()) > 0.75 * seconds or passes > 0.9 * MOST_PASSES


def test_no_stage_grows_but_the_base():
    fitted = fit(SETTINGS, 1e6, CPU)
    assert face_sets(fitted) == face_sets(SETTINGS)
    assert fitted.vae_crop_steps == SETTINGS.vae_crop_steps
    assert fitted.identity_updates == SETTINGS.identity_updates
    assert fitted.base_steps > SETTINGS.base_steps


def test_a_batch_is_doubled_where_it_is_worth_it_and_its_rate_by_the_root():
    assert fit(SETTINGS, 1500, CPU).base_batch == 32
    fitted = fit(SETTINGS, 1500, GPU)
    assert fitted.base_batch == 128  # 256 would gain 7 %
    assert fitted.base_learning_rate == pytest.approx(2 * SETTINGS.base_learning_rate)


def test_looks_at_the_base_stay_rare_in_a_short_run():
    fitted = fit(SETTINGS, 600, CPU)
    assert fitted.base_score_every % fitted.base_checkpoint_every == 0
    assert fitted.base_score_every * fitted.base_batch >= 19000


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("25m", 1500), ("1.5h", 5400)])
def test_lengths_of_time(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["25", "0m", "m", "-3h", "25 m", "two"])
def test_what_is_no_length_of_time_is_told(text):
    with pytest.raises(UserError, match="say 90s, 25m or 3h"):
        seconds_of(text)


def test_settings_survive_json():
    fitted = fit(SETTINGS, 600, CPU)
    assert settings_of(json.loads(json.dumps(asdict(fitted)))) == fitted


@pytest.mark.slow
def test_every_speed_is_measured():
    small = replace(
        SETTINGS,
        render_px=128,
        vae_channels=(16, 16, 16, 16),
        vae_batch=2,
        reader_batch=4,
        unet_channels=(16, 16, 16),
        base_batch=2,
    )
    speeds = measure(small, 1, torch.device("cpu"), load_perceptual("st-lpips"))
    assert min(speeds.faces, speeds.vae_crops, speeds.vae_whole, speeds.readers) > 0
    assert speeds.vae_crops > speeds.vae_whole
    assert set(speeds.base) == {2}
