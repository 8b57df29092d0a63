"""Scores, differences and tests over readings whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.distances import FrechetReference, KernelReference
from sfe_core.evaluation.intervals import draw_resamples
from sfe_core.evaluation.measuring import Instrument
from sfe_core.evaluation.metrics import Labels, References, catalogue, measurables
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.scoring import Scoreboard, score_all

JUDGE, NETWORK = "judge", "network"
INSTRUMENTS = {
    name: Instrument(name, "0" * 64, "rule") for name in ("judge", "perceptual", "detector")
}
RANDOM = np.random.default_rng(3)
REFERENCE = RANDOM.normal(size=(90, 5))
REFERENCES = References(FrechetReference(REFERENCE), KernelReference(REFERENCE))


def labels(count: int) -> Labels:
    emotion = np.arange(count) % 8
    return Labels(emotion, np.cos(emotion), np.sin(emotion))


def readings(count: int, right: int) -> Readings:
    """The first `right` pictures show the asked emotion, the others the next one."""
    emotion = np.arange(count) % 8
    seen = np.where(np.arange(count) < right, emotion, (emotion + 1) % 8)
    asked = labels(count)
    return Readings(
        keys=np.array([f"k{n}" for n in range(count)]),
        faults=np.full(count, "", dtype="<U16"),
        features=np.random.default_rng(count).normal(size=(count, 5)),
        logits=4.0 * np.eye(8)[seen],
        valence=asked.valence,
        arousal=asked.arousal + 0.2,
        perceptual=np.full(count, 0.25),
        detected=np.ones(count),
        landmark_error=np.full(count, 3.0),
    )


def score(
    given: dict[str, Readings], asked: Labels, references: References = REFERENCES
) -> Scoreboard:
    count = len(asked.emotion)
    sets = {v: measurables(r, asked, references, JUDGE, NETWORK) for v, r in given.items()}
    resamples = draw_resamples(count, 300, seed=1)
    return score_all(sets, given, asked, catalogue(JUDGE, NETWORK), INSTRUMENTS, resamples)


def without(read: Readings, rows: list[int]) -> Readings:
    """The same readings, with some pictures that could not be measured."""
    changed = {"faults": read.faults.copy()}
    changed["faults"][rows] = "blank"
    names = ("features", "logits", "valence", "arousal", "perceptual", "detected")
    for name in (*names, "landmark_error"):
        changed[name] = getattr(read, name).copy()
        changed[name][rows] = np.nan
    return replace(read, **changed)


def test_every_metric_of_the_catalogue_is_scored_for_every_set():
    board = score({"base": readings(24, 6), "real": readings(24, 20)}, labels(24))
    assert set(board.scores["base"]) == set(catalogue(JUDGE, NETWORK))
    assert all(s.value is not None and s.low <= s.value <= s.high for s in _all(board, "base"))
    assert {s.backend for s in _all(board, "base")} == {"judge", "perceptual", "detector"}


def _all(board: Scoreboard, variant: str):
    return list(board.scores[variant].values())


def test_known_readings_have_known_scores():
    found = score({"base": readings(24, 6)}, labels(24)).scores["base"]
    assert found["top1"].value == 0.25 and found["top1"].n == 24
    assert found["valence_ccc"].value == pytest.approx(1.0)
    assert found["arousal_rmse"].value == pytest.approx(0.2)
    assert found["landmark_error"].value == 3.0
    assert found["perceptual_network"].value == 0.25
    assert found["recall_neutral"].value == pytest.approx(1 / 3)
    assert found["recall_contempt"].value == 0.0 and found["recall_contempt"].n == 3
    # Three of three wrong says little; resampling alone would say "surely 0".
    assert found["recall_contempt"].high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_differences_are_paired():
    board = score({"base": readings(24, 6), "guided": readings(24, 18)}, labels(24))
    delta = board.deltas["guided"]["top1"]
    assert delta.value == 0.5 and 0.2 < delta.low < 0.5 < delta.high < 0.8
    test = board.tests["guided"]
    assert (test.gained, test.lost) == (12, 0)
    assert test.p_value == pytest.approx(2 * 0.5**12)
    same = board.deltas["guided"]["frechet_judge"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_real_photos_are_not_compared_with_the_base():
    board = score({"base": readings(9, 3), "real": readings(9, 9)}, labels(9))
    assert board.deltas == {} and board.tests == {}


def test_faulty_pictures_leave_every_number_and_every_pair():
    broken = without(readings(24, 6), [0, 1, 10])
    board = score({"base": broken, "text": readings(24, 18)}, labels(24))
    assert board.scores["base"]["top1"].value == pytest.approx(4 / 21)
    assert {s.n for n, s in board.scores["base"].items() if "recall" not in n} == {21}
    assert board.deltas["text"]["top1"].n == 21
    assert board.deltas["text"]["top1"].value == pytest.approx(11 / 21)
    assert board.deltas["text"]["kernel_judge"].n == 21
    assert np.sum(board.confusion["base"]) == 21


def test_without_labels_the_emotion_metrics_say_so_and_the_others_stand():
    nothing = np.full(12, np.nan)
    unlabelled = Labels(np.full(12, -1), nothing, nothing)
    board = score({"base": readings(12, 6), "text": readings(12, 12)}, unlabelled)
    found = board.scores["base"]
    assert found["top1"].value is None and "no picture" in found["top1"].reason
    assert found["valence_ccc"].value is None and "valence" in found["valence_ccc"].reason
    assert found["recall_happy"].value is None and "happy" in found["recall_happy"].reason
    assert found["frechet_judge"].value is not None and found["landmark_error"].value == 3.0
    assert board.tests == {} and board.deltas["text"]["top1"].reason


def test_one_picture_has_values_without_intervals_and_no_distance():
    found = score({"base": readings(1, 1)}, labels(1)).scores["base"]
    assert (found["top1"].value, found["top1"].low) == (1.0, None)
    assert "one picture" in found["top1"].reason
    assert found["frechet_judge"].value is None
    assert "two pictures" in found["frechet_judge"].reason


def test_without_a_reference_the_distances_say_why():
    nothing = References(None, None, "no train split")
    found = score({"base": readings(9, 3)}, labels(9), nothing).scores["base"]
    assert found["kernel_judge"].value is None
    assert found["frechet_judge"].reason == "no train split"


def test_no_face_found_anywhere_is_a_rate_of_zero_and_no_error():
    faceless = replace(readings(9, 3), detected=np.zeros(9), landmark_error=np.full(9, np.nan))
    found = score({"base": faceless}, labels(9)).scores["base"]
    assert found["face_found"].value == 0.0
    assert found["landmark_error"].value is None and "no face" in found["landmark_error"].reason


def test_the_interval_of_a_frechet_distance_ends_at_zero_and_a_kernels_need_not():
    near = replace(readings(24, 6), features=REFERENCE[:24])
    found = score({"real": near}, labels(24)).scores["real"]
    assert found["frechet_judge"].low >= 0.0
    assert found["kernel_judge"].low < 0.0


def test_emotions_stand_in_their_fixed_order():
    names = [n for n in catalogue(JUDGE, NETWORK) if n.startswith("recall_")]
    assert names == [f"recall_{name}" for name in EMOTIONS]
