"""Targets: from the photo or from labels, gaps filled by the photo, read only where needed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.losses.emotion_target import EmotionLabels, TargetRule

NAN = float("nan")


class Seeing(nn.Module):
    """Sees the same in every photo: emotion 3 of `classes`, valence 0.25, arousal -0.75."""

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.classes, self.calls = classes, 0
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> EmotionReading:
        self.calls += 1
        count = len(images)
        logits = torch.full((count, self.classes), -30.0)
        logits[:, 3] = 30.0
        valence, arousal = torch.full((count,), 0.25), torch.full((count,), -0.75)
        return EmotionReading(
            logits + self.weight, valence + self.weight, arousal, torch.ones(count, 4)
        )


def labels(emotion: list[int], valence: list[float], arousal: list[float]) -> EmotionLabels:
    return EmotionLabels(torch.tensor(emotion), torch.tensor(valence), torch.tensor(arousal))


PHOTOS = torch.zeros(3, 3, 8, 8)


def test_from_the_photo_without_gradient():
    rule = TargetRule(frozenset({"logits", "valence", "arousal", "features"}))
    target = rule.target(Seeing(), PHOTOS, None)
    assert target["valence"].tolist() == [0.25] * 3 and target["arousal"].tolist() == [-0.75] * 3
    assert target["logits"].shape == (3, 8) and target["features"].shape == (3, 4)
    assert "emotion" not in target
    assert not target["logits"].requires_grad and not target["valence"].requires_grad


def test_complete_labels_spare_reading_the_photo():
    recogniser = Seeing()
    rule = TargetRule(frozenset(), frozenset({"emotion", "valence", "arousal"}))
    target = rule.target(recogniser, PHOTOS, labels([0, 7, 3], [0.5, -1, 1], [0, 0.5, 1]))
    assert recogniser.calls == 0
    assert target["emotion"].argmax(1).tolist() == [0, 7, 3]
    assert target["emotion"].sum(1).tolist() == [1, 1, 1]
    assert target["valence"].tolist() == [0.5, -1, 1]
    assert "logits" not in target


def test_a_face_without_label_aims_at_its_photo():
    rule = TargetRule(frozenset(), frozenset({"emotion", "valence"}))
    target = rule.target(Seeing(), PHOTOS, labels([0, -1, 3], [NAN, -1, 1], [NAN, NAN, NAN]))
    assert target["valence"].tolist() == [0.25, -1, 1]
    torch.testing.assert_close(target["emotion"], torch.eye(8)[[0, 3, 3]])


def test_no_labels_at_all_is_the_photo():
    rule = TargetRule(frozenset(), frozenset({"emotion", "valence"}))
    target = rule.target(Seeing(), PHOTOS, None)
    torch.testing.assert_close(target["emotion"], torch.eye(8)[[3, 3, 3]])
    assert target["valence"].tolist() == [0.25] * 3


def test_an_emotion_the_recogniser_does_not_know_is_no_label_to_it():
    rule = TargetRule(frozenset(), frozenset({"emotion"}), classes=5)
    target = rule.target(Seeing(5), PHOTOS, labels([4, 5, 7], [0, 0, 0], [0, 0, 0]))
    torch.testing.assert_close(target["emotion"], torch.eye(5)[[4, 3, 3]])


@pytest.mark.parametrize("places", [[2, 0], slice(1, 3)])
def test_labels_of_some_faces(places):
    whole = labels([0, 1, 2], [0.0, 0.1, 0.2], [0.5, 0.6, 0.7])
    some = whole.of(places)
    assert some.emotion.tolist() == torch.arange(3)[places].tolist()
    assert torch.equal(some.arousal, whole.arousal[places])
