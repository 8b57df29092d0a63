"""Confusions and calibration against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.statistics.calibration import BINS, recognition_result, reliability
from sfe_core.evaluation.statistics.recognition import UNSEEN_LOGIT

HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")


def sees(emotion: int, probability: float) -> np.ndarray:
    """Logits whose softmax gives `emotion` this probability, and the others equal shares."""
    shares = np.full(8, (1.0 - probability) / 7)
    shares[emotion] = probability
    return np.log(shares)


def test_ece_is_the_mean_gap_weighted_by_pictures():
    # Ten at 0.95, all right: gap 0.05. Five at 0.65, one right: gap |0.2 - 0.65| = 0.45.
    logits = np.stack([sees(HAPPY, 0.95)] * 10 + [sees(HAPPY, 0.65)] * 5)
    asked = np.array([HAPPY] * 10 + [HAPPY] + [SAD] * 4)
    found = reliability(logits, asked)
    assert found.ece == pytest.approx((10 * 0.05 + 5 * 0.45) / 15)
    filled = {(one.low, one.high): one for one in found.bins if one.n}
    assert set(filled) == {(0.9, 1.0), (0.6, 0.7)}
    assert filled[0.6, 0.7].accuracy == pytest.approx(0.2)
    assert filled[0.6, 0.7].confidence == pytest.approx(0.65)
    # Wilson's interval of 1 in 5: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    z = 1.959963984540054
    middle, spread = 0.2 + z * z / 10, z * np.sqrt(0.16 / 5 + z * z / 100)
    scale = 1 + z * z / 5
    assert filled[0.6, 0.7].accuracy_low == pytest.approx((middle - spread) / scale)
    assert filled[0.6, 0.7].accuracy_high == pytest.approx((middle + spread) / scale)


def test_one_that_is_right_as_often_as_it_is_sure_has_no_error():
    logits = np.stack([sees(HAPPY, 0.75)] * 8)
    found = reliability(logits, np.array([HAPPY] * 6 + [SAD] * 2))
    assert found.ece == pytest.approx(0.0, abs=1e-12)
    assert len(found.bins) == BINS and sum(one.n for one in found.bins) == found.n == 8


def test_nothing_to_judge_by_has_no_error_to_tell():
    found = reliability(np.empty((0, 8)), np.empty(0, dtype=np.intp))
    assert found.n == 0 and found.ece is None
    assert all(one.n == 0 and one.accuracy is None for one in found.bins)


def test_confusions_leave_out_what_is_not_there():
    photo = np.stack([sees(HAPPY, 0.9), sees(SAD, 0.9), sees(SAD, 0.9)])
    drawn = np.stack([sees(SAD, 0.9), sees(SAD, 0.9), np.full(8, np.nan)])
    found = recognition_result({"guided": drawn, "real": photo}, np.array([HAPPY, HAPPY, -1]))
    asked, real = np.array(found.confusion["guided"]), np.array(found.confusion["real"])
    assert asked.sum() == 2 and asked[HAPPY, SAD] == 2
    assert real.sum() == 2 and real[HAPPY, HAPPY] == 1 and real[HAPPY, SAD] == 1
    # Against the photo: one changed from happy to sad, one stayed sad, the missing one is no row.
    against = np.array(found.as_photo["guided"])
    assert against.sum() == 2 and against[HAPPY, SAD] == 1 and against[SAD, SAD] == 1
    same = np.array(found.as_photo["real"])
    assert np.trace(same) == same.sum() == 3
    assert found.reliability["guided"].n == 2


def test_emotions_that_it_does_not_know_are_in_no_number():
    contempt = EMOTIONS.index("contempt")
    seen = np.stack([sees(HAPPY, 0.9), sees(SAD, 0.9)])
    seen[:, contempt] = UNSEEN_LOGIT
    found = recognition_result({"real": seen}, np.array([HAPPY, contempt]))
    assert found.unreadable == ["contempt"]
    asked = np.array(found.confusion["real"])
    assert asked.sum() == asked[HAPPY, HAPPY] == 1
    assert found.reliability["real"].n == 1
    assert recognition_result({"real": seen[:, :8] * 0}, np.array([0, 1])).unreadable == []


def test_without_photos_nothing_is_held_against_them():
    found = recognition_result({"base": sees(HAPPY, 0.9)[None]}, np.array([HAPPY]))
    assert found.as_photo == {} and set(found.confusion) == {"base"}
