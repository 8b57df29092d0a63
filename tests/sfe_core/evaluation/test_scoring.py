"""Scores, differences and tests over readings whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.definitions import definitions
from sfe_core.evaluation.instruments.probes import Instrument
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.scoring import Scoreboard, score_all
from sfe_core.evaluation.statistics.recognition import UNSEEN_LOGIT
from sfe_core.evaluation.statistics.references import References, reference_statistics
from sfe_core.evaluation.statistics.resampling import draw_resamples
from sfe_core.evaluation.yardstick import Labels, Yardstick

JUDGE, OTHER, NETWORK, IDENTITY = "judge", "other", "network", "identity_dlib"
KINDS = {
    JUDGE: "judge",
    OTHER: "recogniser",
    NETWORK: "perceptual",
    "detector": "detector",
    "dists": "perceptual",
    "clip": "text",
    IDENTITY: "identity",
}
INSTRUMENTS = {name: Instrument(name, "0" * 64, "rule", kind) for name, kind in KINDS.items()}
RANDOM = np.random.default_rng(3)
REFERENCES = reference_statistics(RANDOM.normal(size=(90, 5)))


def labels(count: int) -> Labels:
    emotion = np.arange(count) % 8
    return Labels(emotion, np.cos(emotion), np.sin(emotion))


def readings(count: int, right: int) -> Readings:
    """The first `right` pictures show the asked emotion, the others the next one."""
    emotion = np.arange(count) % 8
    seen = np.where(np.arange(count) < right, emotion, (emotion + 1) % 8)
    asked = labels(count)
    recognised = {
        "logits": 4.0 * np.eye(8)[seen],
        "valence": asked.valence,
        "arousal": asked.arousal + 0.2,
        "features": np.random.default_rng(count).normal(size=(count, 5)),
    }
    return Readings(
        keys=np.array([f"k{n}" for n in range(count)]),
        faults=np.full(count, "", dtype="<U16"),
        columns={
            JUDGE: recognised,
            OTHER: recognised | {"logits": np.roll(recognised["logits"], 1, axis=1)},
            NETWORK: {"distance": np.full(count, 0.25)},
            "dists": {"distance": np.full(count, 0.5)},
            "clip": {"similarity": np.full(count, 0.3)},
            "detector": {
                "detected": np.ones(count),
                "landmark_error": np.full(count, 3.0),
                "pose_error": np.full(count, 4.0),
                "depth_order": np.full(count, 0.9),
            },
            IDENTITY: {"embedding": np.eye(5)[np.arange(count) % 5] + 0.1},
        },
        recognisers=(JUDGE, OTHER),
    )


def score(
    given: dict[str, Readings], asked: Labels, references: References = REFERENCES, people=None
) -> Scoreboard:
    photos = given.get("real", next(iter(given.values())))
    further = frozenset(["dists", "clip", IDENTITY])
    yardstick = Yardstick(asked, {JUDGE: references}, photos, NETWORK, further, people)
    resamples = draw_resamples(len(asked.emotion), 300, seed=1, people=people)
    return score_all(given, yardstick, INSTRUMENTS, resamples)


def without(read: Readings, rows: list[int]) -> Readings:
    """The same readings, with some pictures that could not be measured."""
    faults, columns = read.faults.copy(), {}
    faults[rows] = "blank"
    for instrument, measured in read.columns.items():
        columns[instrument] = {name: values.copy() for name, values in measured.items()}
        for values in columns[instrument].values():
            values[rows] = np.nan
    return replace(read, faults=faults, columns=columns)


def with_columns(read: Readings, instrument: str, **changed: np.ndarray) -> Readings:
    """The same readings but for some columns of an instrument."""
    columns = {**read.columns, instrument: {**read.columns[instrument], **changed}}
    return replace(read, columns=columns)


def test_every_metric_is_scored_for_every_set():
    board = score({"base": readings(24, 6), "real": readings(24, 20)}, labels(24))
    assert set(board.scores["base"]) == set(board.scores["real"]) == set(board.metrics)
    # The other one is never right.
    assert (
        board.scores["base"].pop("top1_of_photos_other").reason == f"{OTHER} sees no photo as asked"
    )
    assert all(s.value is not None and s.low <= s.value <= s.high for s in _all(board, "base"))
    assert {s.backend for s in _all(board, "base")} == set(KINDS)
    for name, metric in board.metrics.items():
        assert metric.instrument in KINDS and metric.description and metric.title, name


def test_the_photos_are_not_held_against_themselves():
    found = score({"base": readings(24, 6), "real": readings(24, 20)}, labels(24)).scores["real"]
    for name in ("same_top1", "same_top3", "top1_of_photos", IDENTITY):
        assert found[name].value is None and "photos themselves" in found[name].reason


def test_a_second_recogniser_has_scores_of_its_own():
    board = score({"base": readings(24, 24)}, labels(24))
    found = board.scores["base"]
    assert found["top1"].value == 1.0 and found["top1_other"].value == 0.0
    assert found["top1_other"].backend == OTHER
    assert found["recall_happy"].value == 1.0 and found["recall_happy_other"].value == 0.0
    assert board.recognitions[OTHER].confusion["base"] != board.confusion["base"]
    titles = [metric.title for metric in board.metrics.values()]
    assert "Emotion Top-1 (other)" in titles and len(set(titles)) == len(titles)


def test_each_reader_is_held_against_its_own_ceiling():
    given = {"base": readings(24, 6), "guided": readings(24, 18), "real": readings(24, 20)}
    board = score(given, labels(24))
    found = {name: board.scores[name]["top1_of_photos"] for name in given}
    assert found["base"].value == pytest.approx(6 / 20)
    assert found["guided"].value == pytest.approx(18 / 20)
    assert found["guided"].low < 18 / 20 < found["guided"].high
    assert found["real"].value is None and "photos themselves" in found["real"].reason
    delta = board.deltas["guided"]["top1_of_photos"]
    assert delta.value == pytest.approx(12 / 20) and delta.low > 0
    other = board.scores["guided"]["top1_of_photos_other"]
    assert other.value is None and other.reason == "other sees no photo as asked"
    assert other.backend == OTHER and board.metrics["top1_of_photos_other"].headline


def test_levels_of_identity_stand_beside_its_score():
    people = np.array(["a", "b", "c", "d", "e"] * 5)
    board = score({"base": readings(25, 6), "real": readings(25, 20)}, labels(25), people=people)
    levels = board.baselines[IDENTITY]
    assert levels["same person"] == pytest.approx(1.0)
    alike = (np.eye(5) + 0.1) / np.linalg.norm(np.eye(5)[0] + 0.1)
    assert levels["different people"] == pytest.approx(float(alike[0] @ alike[1]))
    assert board.scores["base"][IDENTITY].value == pytest.approx(1.0)
    assert score({"base": readings(25, 6)}, labels(25)).baselines == {}


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
    assert 0.7 < found["recall_contempt"].high < 0.9


def test_differences_are_paired():
    board = score({"base": readings(24, 6), "guided": readings(24, 18)}, labels(24))
    delta = board.deltas["guided"]["top1"]
    assert delta.value == 0.5 and 0.2 < delta.low < 0.5 < delta.high < 0.8
    test = board.tests["guided"]
    assert (test.gained, test.lost) == (12, 0)
    assert test.p_value == pytest.approx(2 * 0.5**12)
    delta = board.deltas["guided"]["top1"]
    assert (delta.test, delta.p_value) == ("McNemar exact", pytest.approx(2 * 0.5**12))
    same = board.deltas["guided"]["frechet_judge"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert (same.p_value, same.test) == (None, "")
    same = board.deltas["guided"]["landmark_error"]
    assert (same.value, same.p_value, same.test) == (0.0, 1.0, "Wilcoxon signed rank")


def test_people_are_resampled_with_all_their_pictures():
    people = np.array([f"p{place // 8}" for place in range(48)])
    given = {"base": readings(48, 16), "guided": readings(48, 40)}
    alone, together = (score(given, labels(48), people=who) for who in (None, people))
    for name in ("top1", "arousal_ccc", "frechet_judge", "kernel_judge", "recall_happy"):
        single, clustered = (board.scores["base"][name] for board in (alone, together))
        assert (single.people, clustered.people) == (None, 6)
        assert clustered.value == single.value and clustered.n == single.n
        assert (clustered.low, clustered.high) != (single.low, single.high)
    # Two of the six are right throughout: far less is known than of 48 pictures.
    wide, narrow = (board.scores["base"]["top1"] for board in (together, alone))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    changes = [board.deltas["guided"]["top1"] for board in (alone, together)]
    assert [change.test for change in changes] == ["McNemar exact", "sign flips of people"]
    # Three people became right: both signs of three.
    assert changes[1].p_value == together.tests["guided"].p_value == 2 * 0.5**3
    assert together.tests["guided"].test == "sign flips of people"
    moved = together.deltas["guided"]["landmark_error"]
    assert (moved.people, moved.test) == (6, "sign flips of people")


def test_recall_of_the_reference_resamples_the_references_people():
    people = np.array([f"p{place // 30}" for place in range(90)])
    known = score({"base": readings(24, 6)}, labels(24), replace(REFERENCES, people=people))
    assert known.scores["base"]["recall_judge"].people == 3
    assert (
        score({"base": readings(24, 6)}, labels(24)).scores["base"]["recall_judge"].people is None
    )


def test_real_photos_are_not_compared_with_the_base():
    board = score({"base": readings(9, 3), "real": readings(9, 9)}, labels(9))
    assert board.deltas == {} and board.tests == {}


def test_the_first_given_set_is_the_baseline_where_none_is_called_base():
    given = {"theirs": readings(24, 6), "ours": readings(24, 18), "real": readings(24, 20)}
    board = score(given, labels(24))
    assert board.baseline == "theirs" and set(board.deltas) == {"ours"}
    alone = score({"theirs": readings(24, 6), "real": readings(24, 20)}, labels(24))
    assert alone.baseline == "" and alone.deltas == {}


def test_faulty_pictures_leave_every_number_and_every_pair():
    broken = without(readings(24, 6), [0, 1, 10])
    board = score({"base": broken, "text": readings(24, 18)}, labels(24))
    assert board.scores["base"]["top1"].value == pytest.approx(4 / 21)
    counted = board.scores["base"].items()
    assert {s.n for n, s in counted if "recall_" not in n and "photos_other" not in n} == {21}
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
    assert "fewer than 3 pictures" in found["top1"].reason
    assert found["frechet_judge"].value is None
    assert "two pictures" in found["frechet_judge"].reason


def test_without_a_reference_the_distances_say_why():
    nothing = References.missing("no train split")
    found = score({"base": readings(9, 3)}, labels(9), nothing).scores["base"]
    assert found["kernel_judge"].value is None
    for name in ("frechet_judge", "precision_judge", "recall_judge"):
        assert found[name].reason == "no train split"


def test_no_face_found_anywhere_is_a_rate_of_zero_and_no_error():
    none = np.full(9, np.nan)
    faceless = with_columns(
        readings(9, 3), "detector", detected=np.zeros(9), landmark_error=none, pose_error=none
    )
    found = score({"base": faceless}, labels(9)).scores["base"]
    assert found["face_found"].value == 0.0
    assert found["landmark_error"].value is None and "no face" in found["landmark_error"].reason


def test_the_interval_of_a_frechet_distance_ends_at_zero_and_a_kernels_need_not():
    near = with_columns(readings(24, 6), JUDGE, features=REFERENCES.kernel.features[:24])
    found = score({"real": near}, labels(24)).scores["real"]
    assert found["frechet_judge"].low >= 0.0
    assert found["kernel_judge"].low < 0.0


def test_emotions_stand_in_their_fixed_order():
    metrics = score({"base": readings(9, 3)}, labels(9)).metrics
    names = [
        n for n in metrics if n.startswith("recall_") and n.removeprefix("recall_") in EMOTIONS
    ]
    assert names == [f"recall_{name}" for name in EMOTIONS]


def test_on_inceptions_features_the_distances_go_by_their_known_names():
    yardstick = Yardstick(labels(9), {"inception": REFERENCES}, readings(9, 3), NETWORK)
    metrics = {name: found.metric for name, found in definitions(yardstick).items()}
    names = [name for name, metric in metrics.items() if metric.group == "distribution"]
    assert names == ["fid", "kid", "precision", "recall"]
    assert all(metrics[name].instrument == "inception" for name in names)
    assert "dists" not in metrics and IDENTITY not in metrics


def test_distances_on_several_networks_features_stand_side_by_side_under_their_names():
    held = dict.fromkeys((JUDGE, "inception", "efficientnet-lite0"), REFERENCES)
    yardstick = Yardstick(labels(9), held, readings(9, 3), NETWORK)
    metrics = {name: found.metric for name, found in definitions(yardstick).items()}
    shown = {
        name: metric.title
        for name, metric in metrics.items()
        if metric.group == "distribution" and metric.headline
    }
    assert shown == {
        "fid": "FID",
        "kid": "KID",
        "precision": "Precision",
        "recall": "Recall",
        "frechet_judge": "Fréchet (judge)",
        "kernel_judge": "Kernel distance (judge)",
        "frechet_efficientnet-lite0": "Fréchet (efficientnet-lite0)",
        "kernel_efficientnet-lite0": "Kernel distance (efficientnet-lite0)",
    }


def test_chance_follows_the_emotions_that_each_recogniser_knows():
    read = readings(24, 6)
    logits = read.columns[OTHER]["logits"].copy()
    logits[:, 5:] = UNSEEN_LOGIT
    board = score({"base": with_columns(read, OTHER, logits=logits)}, labels(24))
    metrics = board.metrics
    assert [metrics[f"top{k}"].chance for k in (1, 2, 3)] == [0.125, 0.25, 0.375]
    assert metrics["recall_contempt"].chance == 0.125
    for k in (1, 2, 3):
        assert metrics[f"top{k}_other"].chance == pytest.approx(k / 5)
    assert metrics["recall_happy_other"].chance == pytest.approx(1 / 5)
    assert metrics["recall_contempt_other"].chance is None
    # 15 of the 24 pictures ask for one of the five that the other one knows.
    found = board.scores["base"]
    assert (found["top1"].n, found["top1_other"].n) == (24, 15)
    assert found["recall_contempt_other"].value is None
    assert found["recall_contempt_other"].reason == "other does not know contempt"
    assert board.recognitions[OTHER].unreadable == ["disgust", "anger", "contempt"]
    assert np.sum(board.recognitions[OTHER].confusion["base"]) == 15


def test_identity_is_that_of_the_embedder_it_is_named_after():
    read, second = readings(9, 3), "identity_second"
    opposite = {"embedding": -read.columns[IDENTITY]["embedding"]}
    photos = replace(read, columns={**read.columns, second: read.columns[IDENTITY]})
    drawn = replace(read, columns={**read.columns, second: opposite})
    further = frozenset([IDENTITY, second])
    yardstick = Yardstick(labels(9), {JUDGE: REFERENCES}, photos, NETWORK, further)
    tools = INSTRUMENTS | {second: replace(INSTRUMENTS[IDENTITY], backend=second)}
    resamples = draw_resamples(9, 50, seed=1)
    found = score_all({"base": drawn, "real": photos}, yardstick, tools, resamples).scores["base"]
    assert found[IDENTITY].value == pytest.approx(1.0)
    assert found[second].value == pytest.approx(-1.0)
