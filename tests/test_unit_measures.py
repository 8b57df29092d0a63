"""Numbers of the action-unit benchmark against closed forms, and the rival that it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from scipy.stats import pearsonr, spearmanr

from sfe_core.diffusion.unit_attention import cross_attentions, unit_conditions
from tests.benchmarks.one_token_recipe import OneToken
from tests.benchmarks.unit_measures import (
    Figure,
    concordances,
    correlation,
    followed,
    leakage,
    presence_f1,
    unit_figures,
)
from tests.tiny_workspace import woken

LEVELS = np.arange(6.0)
UNITS = ("AU1", "AU4", "AU12")
MIXED = np.array([[0.5, 0.1, 0.0], [0.0, 1.0, -0.4], [0.2, 0.0, 0.8]])


def swept(mixing: np.ndarray, noise: float = 0.0, seeds: int = 2, faces: int = 5) -> np.ndarray:
    """[S, F, U, L, U] of readings that answer a command by a row of `mixing`."""
    exact = LEVELS[None, :, None] * mixing[:, None, :]
    random = np.random.default_rng(0).normal(size=(seeds, faces, *exact.shape))
    return exact + noise * random


def test_what_follows_exactly_has_perfect_numbers():
    found = unit_figures(swept(np.eye(3)), LEVELS, UNITS, resamples=20)
    for one in found.values():
        for figure, wanted in ((one.pearson, 1), (one.spearman, 1), (one.slope, 1), (one.mse, 0)):
            assert (figure.value, figure.low, figure.high) == pytest.approx((wanted,) * 3)
        assert one.unasked.value == 0


def test_slopes_and_leakage_are_those_of_the_mixing():
    assert leakage(swept(MIXED), LEVELS)[1, 4] == pytest.approx(MIXED)
    found = unit_figures(swept(MIXED), LEVELS, UNITS, resamples=20)
    assert found["AU4"].slope.value == pytest.approx(1.0)
    assert found["AU1"].unasked.value == pytest.approx((0.1 + 0.0) / 2 / 0.5)
    assert found["AU4"].worst == ("AU12", pytest.approx(0.4))
    assert found["AU1"].mse.value == pytest.approx((0.5 * LEVELS).dot(0.5 * LEVELS) / 6)


def test_concordance_is_one_where_all_is_as_asked_and_falls_with_the_scale():
    asked = np.array([(0.0, 0.0), (0.4, 0.1), (0.8, 0.2), (-0.5, 0.6)])
    read = np.broadcast_to(asked * (1.0, 0.5), (2, 5, 4, 2))
    found = concordances(read, asked, ("valence", "arousal"), resamples=20)
    assert found["valence"] == Figure(*(pytest.approx(1.0),) * 3)
    arousal = asked[:, 1]
    lins = arousal.var() / (1.25 * arousal.var() + (0.5 * arousal.mean()) ** 2)
    assert found["arousal"].value == pytest.approx(lins)


def test_correlations_are_scipys_and_their_intervals_hold_them():
    read = swept(np.eye(3), noise=2.0, faces=40)
    found = unit_figures(read, LEVELS, UNITS, resamples=200)
    asked = np.broadcast_to(LEVELS, (2, 40, 6)).ravel()
    for place, unit in enumerate(UNITS):
        own = read[:, :, place, :, place].ravel()
        figure = found[unit].pearson
        assert figure.value == pytest.approx(pearsonr(own, asked).statistic)
        assert found[unit].spearman.value == pytest.approx(spearmanr(own, asked).statistic)
        assert figure.low < figure.value < figure.high < figure.low + 0.3
    assert correlation(np.ones(6), LEVELS) == 0  # what never moves follows nothing


def test_sides_are_told_apart():
    truth = np.random.default_rng(1).uniform(0, 5, (30, 2, 3))
    people = np.repeat(np.arange(10), 3)
    right = followed(truth[None], truth, people, UNITS, resamples=50)
    swapped = followed(truth[None, :, ::-1], truth, people, UNITS, resamples=50)
    assert all(one.value == pytest.approx(1.0) for one in right.values())
    assert all(abs(one.value) < 0.4 for one in swapped.values())


def test_presence_is_that_of_the_stronger_half():
    truth = np.zeros((12, 2, 3))
    truth[::2, 0, 0], truth[::3, 1, 1], truth[:, :, 2] = 4.0, 3.0, 1.0
    people = np.repeat(np.arange(4), 3)
    found = presence_f1(np.stack([truth, truth[:, ::-1]]), truth, people, UNITS, resamples=20)
    assert [one.value for one in found.values()] == [1.0, 1.0, 0.0]  # the third is never there
    wrong = presence_f1(np.stack([truth, 5 - truth]), truth, people, UNITS, resamples=20)
    # Six are there; one run finds these, the other calls all twelve so: 2 * 12 / (2 * 12 + 6).
    assert wrong["AU1"].value == pytest.approx(0.8)
    assert wrong["AU1"].low < 0.8 < wrong["AU1"].high


def test_people_are_drawn_again_whole():
    """Pictures of one person that err alike are one witness, not many."""
    truth = np.random.default_rng(2).uniform(0, 5, (60, 2, 3))
    people = np.repeat(np.arange(6), 10)
    read = np.where((people < 3)[:, None, None], truth, -truth)[None]
    clustered = followed(read, truth, people, UNITS, resamples=200)["AU1"]
    single = followed(read, truth, np.arange(60), UNITS, resamples=200)["AU1"]
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)


def test_a_single_token_shifts_each_layer_as_a_whole(tiny_base):
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    units = woken(OneToken.beside(unet, UNITS))
    asked = unit_conditions(UNITS, [{"AU1": 2.0, "AU12L": 4.0}, {}])
    keys = units(asked)
    name, layer = next(iter(cross_attentions(unet).items()))
    query = torch.randn(2, layer.heads, 6, layer.to_k.out_features // layer.heads)
    found = keys.found(name, layer.heads, query)
    assert (found[0] - found[0][:, :1]).abs().max() < 1e-5 < found[0].abs().max()
    assert not found[1].any()  # nothing told, nothing added
    found.sum().backward()
    assert units.encoder.weight.grad.any()
    keys_moved, values_moved = (
        max(
            float(layer.weight.grad.abs().max())
            for layer in part.values()
            if layer.weight.grad is not None
        )
        for part in (units.projections.to_k, units.projections.to_v)
    )
    assert keys_moved < 1e-5 * values_moved
