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


def test_what_a_recogniser_does_not_know_is_neither_right_nor_wrong():
    logits = np.tile([3.0, 2, 1, 0, 0, 0, 0, recognition.UNSEEN_LOGIT], (3, 1))
    ranks = recognition.asked_rank(logits, np.array([0, 2, 7]))
    assert ranks.tolist()[:2] == [1, 3] and np.isnan(ranks[2])


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


def test_guessing_is_among_the_emotions_that_a_recogniser_knows():
    logits = np.random.default_rng(2).normal(size=(9, 8))
    asked = np.array([0, 1, 4, 7, recognition.UNASKED])
    eight = recognition.known_emotions(logits)
    assert [recognition.chance(eight, k) for k in (1, 2, 3)] == [0.125, 0.25, 0.375]
    assert recognition.readable(asked, eight).tolist() == asked.tolist()
    logits[:, 5:] = recognition.UNSEEN_LOGIT
    logits[0] = np.nan  # a picture that could not be read
    five = recognition.known_emotions(logits)
    assert five.tolist() == [True] * 5 + [False] * 3
    assert [recognition.chance(five, k) for k in (1, 3)] == pytest.approx([1 / 5, 3 / 5])
    assert recognition.readable(asked, five).tolist() == [0, 1, 4, -1, -1]
    assert recognition.known_emotions(np.full((2, 8), np.nan)).all()


def test_guesses_of_a_random_recogniser_are_right_as_often_as_chance_says():
    random = np.random.default_rng(3)
    logits, asked = random.normal(size=(40_000, 8)), random.integers(0, 8, 40_000)
    logits[:, 5:] = recognition.UNSEEN_LOGIT
    ranks, known = recognition.asked_rank(logits, asked), recognition.known_emotions(logits)
    for k in (1, 2, 3):
        found = np.nanmean(recognition.within(ranks, k))
        assert found == pytest.approx(recognition.chance(known, k), abs=0.01)


def test_the_share_of_the_photos_is_over_keys_that_both_have():
    right = np.array([1.0, 0.0, 1.0, np.nan, 1.0])
    photo = np.array([1.0, 1.0, 0.0, 1.0, np.nan])
    assert recognition.share_of_photos(right, photo) == pytest.approx(2 / 2)
    assert recognition.share_of_photos(right[:2], photo[:2]) == pytest.approx(1 / 2)
    both = np.stack([right[:2], right[1:3]]), np.stack([photo[:2], photo[1:3]])
    assert recognition.share_of_photos(*both).tolist() == [0.5, 1.0]
    assert np.isnan(recognition.share_of_photos(np.ones(2), np.zeros(2)))
