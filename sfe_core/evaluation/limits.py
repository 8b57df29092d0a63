"""What limits the numbers of an evaluation, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.pictures import DrawnPictures, GivenPictures, PictureSet
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics import recognition
from sfe_core.evaluation.statistics.intervals import FEWEST
from sfe_core.evaluation.summary import VARIANTS, InstrumentInfo, Reference, Resampling
from sfe_core.evaluation.yardstick import INCEPTION, Yardstick

SMALL_SET = 100
# A covariance of Inception's 2048 features has full rank only beyond as many pictures; of the 1280
# of EfficientNet-lite0 the same is asked.
FULL_RANK = 2048


def notes_on(
    yardstick: Yardstick,
    readings: Mapping[str, Readings],
    reference: Reference,
    sets: Mapping[str, PictureSet],
    resolution: int,
) -> list[str]:
    """Everything a reader must know before quoting a number; empty where all is well.

    Args:
        yardstick: what the pictures were held against.
        readings: by set.
        reference: the photos that distances are to.
        sets: the pictures, by set.
        resolution: side at which they were measured, pixels.
    """
    labels = yardstick.labels
    notes, count = [], len(labels.emotion)
    unlabelled = int((labels.emotion < 0).sum())
    if unlabelled:
        notes.append(f"{unlabelled} of {count} photos have no emotion label: left out of Top-k")
    notes += _not_readable(yardstick)
    if "text" in readings and "guided" not in readings:
        notes.append("the package has no guidance encoders: fine-tuned, guided is left out")
    if _same_pictures(sets, "base", "text"):
        notes.append(
            "the fine-tuning left the base as it was: base and fine-tuned, text are the same "
            "pictures, drawn once"
        )
    few = int(min((read.faults == "").sum() for read in readings.values()))
    notes += _of_sample_size(yardstick, few, reference)
    few_people = resampling(yardstick.people, count).warning
    notes += [few_people] if few_people else []
    for name, read in readings.items():
        faults = ", ".join(f"{number} {fault}" for fault, number in read.faulty().items())
        if faults:
            notes.append(f"{VARIANTS.get(name, name)}: {faults}, left out of every number")
    for name, pictures in sets.items():
        if isinstance(pictures, GivenPictures):
            if pictures.unused:
                notes.append(f"{name}: {pictures.unused} files go by no key of the split")
            notes += [f"{name}: {difference}" for difference in pictures.differences(resolution)]
    if few < FEWEST:
        notes.append(f"fewer than {FEWEST} pictures: no intervals, and no number to quote")
    if any(isinstance(pictures, GivenPictures) for pictures in sets.values()):
        notes.append("of pictures made elsewhere it is not known what their model's loss has seen")
    return notes


def _same_pictures(sets: Mapping[str, PictureSet], one: str, other: str) -> bool:
    folders = [
        found.folder for found in (sets.get(one), sets.get(other)) if type(found) is DrawnPictures
    ]
    return len(folders) == 2 and folders[0] == folders[1]


def not_independent(instruments: Mapping[str, InstrumentInfo]) -> list[str]:
    """Judges that the fine-tuning optimised against, in a sentence each."""
    return [
        f"{name} is the network that the fine-tuning optimised against: what it sees proves nothing"
        for name, tool in instruments.items()
        if tool.seen_by_loss and tool.kind in ("judge", "witness", "units", "identity")
    ]


def _not_readable(yardstick: Yardstick) -> list[str]:
    """What each recogniser does not know of what was asked for, and how many pictures that is."""
    asked, photos, found = yardstick.labels.emotion, yardstick.photos, []
    for name in photos.recognisers:
        logits = photos.column(name, "logits")
        if logits.ndim != 2:
            continue  # it read nothing
        known = recognition.known_emotions(logits)
        lost = (asked >= 0) & (recognition.readable(asked, known) < 0)
        if lost.any():
            unknown = " and ".join(EMOTIONS[place] for place in np.unique(asked[lost]))
            found.append(
                f"{name} does not know {unknown}: {lost.sum()} of {len(asked)} pictures of a set "
                "are not readable by it, and in none of its numbers"
            )
    return found


def resampling(people: np.ndarray | None, count: int) -> Resampling:
    """What intervals over `count` pictures are drawn from; `people`: see `draw_resamples`."""
    names = [] if people is None else [name for name in people if isinstance(name, str) and name]
    return Resampling(
        unit="people" if names else "pictures",
        people=len(set(names)),
        unknown=count - len(names),
    )


def _of_sample_size(yardstick: Yardstick, count: int, reference: Reference) -> list[str]:
    if reference.reason:
        return [f"no distance to real photos: {reference.reason}"]
    fewest = min(count, reference.n)
    which = f"{count} pictures" if count == fewest else f"{reference.n} reference photos"
    recognisers = yardstick.photos.recognisers
    few = dict.fromkeys(
        "FID" if network == INCEPTION else "Fréchet distance"
        for network in yardstick.references
        if fewest < (SMALL_SET if network in recognisers else FULL_RANK)
    )
    unbiased = {"FID": "KID", "Fréchet distance": "the kernel distance"}
    return [
        f"{which} are few: a {name} grows as pictures get fewer, so compare it only at this very "
        f"number; {unbiased[name]} has no such bias, and is the one to read"
        for name in few
    ]
