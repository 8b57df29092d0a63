"""Ranks, top-k, recall and confusion on readings whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.statistics import recognition

LOGITS = np.array(
    [
        [9.0, 8, 7, 6, 5, 4, 3, 2],
        [1.0, 2, 3, 4, 5, 6, 7, 8],
        [0.0, 0, 5, 0, 9, 0, 0, 1],
    ]
)


def test_ranks_and_topk():
    ranks = recognition.asked_rank(LOGITS, np.array([0, 5, 2]))
    assert ranks.tolist() == [1, 3, 2]
    assert [recognition.within(ranks, k).mean() for k in (1, 2, 3)] == pytest.approx(
        [1 / 3, 2 / 3, 1]
    )


def test_an_indifferent_judge_is_not_taken_for_right():
    assert recognition.asked_rank(np.zeros((8, 8)), np.arange(8)).tolist() == [8] * 8


def test_pictures_without_an_asked_emotion_count_nowhere():
    asked = np.array([0, recognition.UNASKED, 2])
    ranks = recognition.asked_rank(LOGITS, asked)
    assert np.isnan(ranks).tolist() == [False, True, False]
    assert np.isnan(recognition.within(ranks, 1)).tolist() == [False, True, False]
    assert recognition.confusion(LOGITS, asked).sum() == 2


def test_confusion_has_asked_rows_and_seen_columns():
    matrix = recognition.confusion(LOGITS, np.array([0, 5, 2]))
    seen = {(EMOTIONS[i], EMOTIONS[j]): int(matrix[i, j]) for i, j in np.argwhere(matrix)}
    assert seen == {("neutral", "neutral"): 1, ("disgust", "contempt"): 1, ("sad", "fear"): 1}


def test_recall_is_the_diagonal_share_of_its_row():
    random = np.random.default_rng(1)
    logits, asked = random.normal(size=(200, 8)), random.integers(0, 8, 200)
    matrix = recognition.confusion(logits, asked)
    hits = recognition.within(recognition.asked_rank(logits, asked), 1)
    for emotion in range(8):
        recall = np.nanmean(recognition.of_emotion(hits, asked, emotion))
        assert recall == pytest.approx(matrix[emotion, emotion] / matrix[emotion].sum())


def test_probabilities_are_a_softmax_that_does_not_overflow():
    found = recognition.probabilities(np.array([[1000.0, 1000.0, 0.0]]))
    assert found.tolist() == [[0.5, 0.5, 0.0]]
