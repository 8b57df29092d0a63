"""The sentences that tell a reader how far the numbers go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.evaluation.limits import notes_on, resampling
from sfe_core.evaluation.pictures import DrawnPictures, GivenPictures
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.recognition import UNSEEN_LOGIT
from sfe_core.evaluation.statistics.references import References
from sfe_core.evaluation.summary import Reference
from sfe_core.evaluation.yardstick import Labels, Yardstick


def readings(count: int, blank: int = 0) -> Readings:
    faults = np.array(["blank"] * blank + [""] * (count - blank), dtype="<U16")
    keys = np.array([str(place) for place in range(count)])
    return Readings(keys, faults, {}, ("judge",))


def notes(
    count: int,
    reference: Reference,
    statistics: tuple[str, ...] = ("judge",),
    blank: int = 0,
    unlabelled: int = 0,
    names: tuple[str, ...] = ("base", "text", "guided", "real"),
    sets: dict | None = None,
    people: list[str | None] | None = None,
) -> list[str]:
    emotion = np.array([-1] * unlabelled + [0] * (count - unlabelled))
    labels = Labels(emotion, np.zeros(count), np.zeros(count))
    read = {name: readings(count, blank if name == "base" else 0) for name in names}
    photos = readings(count)
    yardstick = Yardstick(
        labels,
        dict.fromkeys(statistics, References.missing("")),
        photos,
        "st-lpips",
        people=None if people is None else np.array(people, dtype=object),
    )
    return notes_on(yardstick, read, reference, sets or {}, 64)


def test_nothing_is_said_where_all_is_well():
    assert notes(300, Reference(split="train", n=5000)) == []
    assert notes(3000, Reference(split="train", n=5000), ("inception",)) == []


def test_pictures_that_stand_in_two_rows_are_told(tmp_path: Path):
    base, own = DrawnPictures(tmp_path / "base"), DrawnPictures(tmp_path / "text")
    plenty = Reference(split="train", n=5000)
    assert notes(300, plenty, sets={"base": base, "text": own}) == []
    (note,) = notes(300, plenty, sets={"base": base, "text": base})
    assert "are the same pictures, drawn once" in note


def test_fid_warns_of_few_pictures_and_names_its_unbiased_companion():
    (note,) = notes(300, Reference(split="train", n=5000), ("inception",))
    assert "300 pictures are few" in note and "FID" in note and "KID has no such bias" in note
    (note,) = notes(3000, Reference(split="train", n=500), ("inception",))
    assert "500 reference photos are few" in note
    (note,) = notes(30, Reference(split="train", n=5000))
    assert "kernel distance has no such bias" in note
    # Of 300 pictures the judge's few features are full; ImageNet's are not, and are told once.
    (note,) = notes(300, Reference(split="train", n=5000), ("judge", "efficientnet-lite0"))
    assert "300 pictures are few: a Fréchet distance" in note and "is the one to read" in note
    assert len(notes(30, Reference(split="train", n=5000), ("judge", "efficientnet-lite0"))) == 1


def test_what_a_judge_does_not_know_is_counted():
    logits = np.zeros((16, 8))
    logits[:, 7] = UNSEEN_LOGIT
    labels = Labels(np.arange(16) % 8, np.zeros(16), np.zeros(16))
    photos = replace(readings(16), columns={"judge": {"logits": logits}})
    yardstick = Yardstick(labels, {"judge": References.missing("")}, photos, "st-lpips")
    found = notes_on(yardstick, {"real": photos}, Reference(split="train", n=5000), {}, 64)
    assert found[0] == (
        "judge does not know contempt: 2 of 16 pictures of a set are not readable by it, "
        "and in none of its numbers"
    )


def test_fewer_than_ten_people_are_told_and_what_was_resampled():
    reference = Reference(split="train", n=5000)
    (note,) = notes(300, reference, people=[f"p{place % 9}" for place in range(300)])
    assert note.startswith("only 9 people are on these pictures") and "below 10 people" in note
    assert notes(300, reference, people=[f"p{place % 10}" for place in range(300)]) == []
    assert notes(300, reference, people=[None] * 300) == []
    few = np.array(["a", None, "b", "a", ""], dtype=object)
    found = resampling(few, 5)
    assert (found.unit, found.people, found.unknown, found.units) == ("people", 2, 2, 4)
    assert found.told == (
        "over 2 people, each with all of their pictures, and 2 pictures of nobody known"
    )
    assert resampling(None, 5).told == "over 5 pictures, as if each were of somebody else"


def test_missing_references_labels_and_pictures_are_told():
    gone = Reference(split="train", n=0, reason="the train split has fewer than two photos")
    found = notes(300, gone, blank=2, unlabelled=5, names=("base", "text", "real"))
    text = " | ".join(found)
    assert "5 of 300 photos have no emotion label" in text
    assert "no distance to real photos: the train split" in text
    assert "base: 2 blank, left out of every number" in text
    assert "no guidance encoders" in text


def test_of_given_folders_leftovers_and_ignorance_are_told(tmp_path: Path):
    for name in ("0", "stray"):
        Image.effect_noise((9, 9), 50).save(tmp_path / f"{name}.png")
    sets = {"theirs": GivenPictures(tmp_path, ["0", "1"])}
    found = notes(300, Reference(split="train", n=5000), names=("theirs", "real"), sets=sets)
    assert any("theirs: 1 files go by no key" in note for note in found)
    assert any("not known what their model's loss has seen" in note for note in found)
