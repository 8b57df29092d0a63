"""The figures shown while a run goes."""

from __future__ import annotations

from sfe_core.training.engine.runlog import live_figures


def test_terms_add_up_to_the_loss_and_absent_ones_are_left_out():
    numbers = {
        "raw/noise": 0.5,
        "weighted/noise": 0.46,
        "weighted/valence": 0.01,
        "total": 0.47,
        "gradient_norm": 0.1234,
        "lr/unet": 1e-4,
        "lr/guidance": 1e-4,
    }
    figures = live_figures(numbers, 123.4, 1_500_000_000, 0)
    assert list(figures.items()) == [
        ("loss", "0.4700"),
        ("noise", "0.4600"),
        ("valence", "0.0100"),
        ("gradient", "0.123"),
        ("learning rate", "0.0001"),
        ("images/s", "123"),
        ("memory", "1.50 GB"),
    ]


def test_a_skipped_update_shows_its_count():
    assert live_figures({}, 1.25, 10**9, 3) == {
        "images/s": "1.2",
        "memory": "1.00 GB",
        "skipped": "3",
    }
