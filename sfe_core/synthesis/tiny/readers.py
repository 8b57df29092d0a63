"""The readers of faces that are made: what each learns from, by which loss, scored by what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from sfe_core.arrays import Doubles
from sfe_core.controls.facial_actions import UNITS
from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.faces.recognition.tiny_identity import TinyIdentityNet
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet
from sfe_core.faces.recognition.tiny_units import TinyUnitsJudge, TinyUnitsNet
from sfe_core.synthesis.tiny.faces import Faces
from sfe_core.synthesis.tiny.settings import SETTINGS, Settings

Table = dict[str, dict[str, float]]  # row → column → value
FALSE_ACCEPTANCE = 0.01


def column(sets: Sequence[Faces], name: str) -> np.ndarray:
    """A label of the faces of several sets, one after the other."""
    return np.concatenate([getattr(faces, name) for faces in sets])


def units_of(sets: Sequence[Faces]) -> np.ndarray:
    """Intensities [N, 2, 18] of the left and right halves, 0 to 5."""
    return np.stack([column(sets, "units_left"), column(sets, "units_right")], 1)


class EmotionObjective(nn.Module):
    """Cross-entropy on the emotion, squared error on valence and arousal."""

    emotion: Tensor
    affect: Tensor

    def __init__(self, sets: Sequence[Faces], settings: Settings) -> None:
        super().__init__()
        affect = np.stack([column(sets, name) for name in ("valence", "arousal")], 1)
        self.register_buffer("emotion", torch.from_numpy(column(sets, "emotion")).long())
        self.register_buffer("affect", torch.from_numpy(affect).float())

    def forward(
        self, reading: EmotionReading, rows: Tensor, mirrored: Tensor, progress: float
    ) -> Tensor:
        """Mean over a batch, see `Objective`."""
        read = torch.stack([reading.valence, reading.arousal], 1).float()
        loss = F.cross_entropy(reading.logits.float(), self.emotion[rows], label_smoothing=0.05)
        return loss + F.mse_loss(read, self.affect[rows])


class UnitsObjective(nn.Module):
    """Squared error of each unit and side over the unit's variance: rare ones count as much."""

    target: Tensor
    weight: Tensor

    def __init__(self, sets: Sequence[Faces], settings: Settings) -> None:
        super().__init__()
        target = torch.from_numpy(units_of(sets)).float()
        spread = target.var((0, 1), correction=0).clamp_min(0.05)
        self.register_buffer("target", target)
        self.register_buffer("weight", 1 / spread)

    def forward(self, read: Tensor, rows: Tensor, mirrored: Tensor, progress: float) -> Tensor:
        """Mean over a batch, see `Objective`; in a mirror left is right."""
        target = self.target[rows]
        target = torch.where(mirrored[:, None, None], target.flip(1), target)
        return ((read.float() - target).square() * self.weight).mean()


class IdentityObjective(nn.Module):
    """CosFace: softmax over the people by cosine, the own person's made smaller by a margin.

    H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018,
    https://arxiv.org/abs/1801.09414, equation 4. The margin grows over the first third of the
    training: from random vectors it would never be reached.
    """

    person: Tensor

    def __init__(self, sets: Sequence[Faces], settings: Settings, width: int = 128) -> None:
        super().__init__()
        people, number = np.unique(column(sets, "identity"), return_inverse=True)
        self.register_buffer("person", torch.from_numpy(number).long())
        self.centres = nn.Parameter(F.normalize(torch.randn(len(people), width)))
        self.scale, self.margin = settings.identity_scale, settings.identity_margin

    def forward(self, vectors: Tensor, rows: Tensor, mirrored: Tensor, progress: float) -> Tensor:
        """Mean over a batch, see `Objective`."""
        person = self.person[rows]
        cosines = vectors.float() @ F.normalize(self.centres).T
        margin = self.margin * min(1.0, 3 * progress)
        own = F.one_hot(person, cosines.shape[1])
        return F.cross_entropy(self.scale * (cosines - margin * own), person)


def emotion_scores(read: Doubles, reference: Doubles, sets: Sequence[Faces]) -> dict[str, float]:
    """Top-1 share, and root mean squared error of valence and arousal; readings [N, 8 + 2]."""
    right = read[:, : len(EMOTIONS)].argmax(1) == column(sets, "emotion")
    scores = {"top1": float(right.mean())}
    for place, name in ((-2, "valence"), (-1, "arousal")):
        errors = read[:, place] - column(sets, name)
        scores[f"{name}_rmse"] = float(np.sqrt(np.mean(errors**2)))
    return scores


def emotion_details(read: Doubles, sets: Sequence[Faces]) -> Table:
    """Of each emotion, the share of its faces that are read right."""
    predicted, truth = read[:, : len(EMOTIONS)].argmax(1), column(sets, "emotion")
    return {
        name: {"read right": float((predicted[truth == number] == number).mean())}
        for number, name in enumerate(EMOTIONS)
        if (truth == number).any()
    }


def correlation(first: Doubles, second: Doubles) -> Doubles:
    """Pearson's r of each column of two tables [N, ...]; nan where one of them does not vary."""
    one, other = first - first.mean(0), second - second.mean(0)
    spread = np.sqrt((one**2).mean(0) * (other**2).mean(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, (one * other).mean(0) / spread, np.nan)


def units_scores(read: Doubles, reference: Doubles, sets: Sequence[Faces]) -> dict[str, float]:
    """Mean over units and sides of Pearson's r and of the absolute error; readings [N, 36]."""
    truth = units_of(sets)
    read = read.reshape(truth.shape)
    return {
        "mean r": float(np.nanmean(correlation(read, truth))),
        "mean absolute error": float(np.abs(read - truth).mean()),
    }


def units_details(read: Doubles, sets: Sequence[Faces]) -> Table:
    """Of each unit, Pearson's r on the left and on the right half, and the absolute error."""
    truth = units_of(sets)
    read = read.reshape(truth.shape)
    found, errors = correlation(read, truth), np.abs(read - truth).mean((0, 1))
    return {
        name: {
            "r left": float(found[0, number]),
            "r right": float(found[1, number]),
            "mean absolute error": float(errors[number]),
        }
        for number, name in enumerate(UNITS)
    }


def verification(
    first: Doubles, second: Doubles, first_people: np.ndarray, second_people: np.ndarray
) -> dict[str, float]:
    """How well cosines tell one person's pairs from others', over all pairs of different faces.

    Args:
        first: [N, D] unit vectors.
        second: [N, D] of the same N faces, perhaps made worse; a face is never paired with itself.
        first_people, second_people: [N] who is on each.

    Returns:
        Area under the ROC curve, true positives where 1 % of the false pairs pass, mean cosines.
    """
    apart = ~np.eye(len(first), dtype=bool)
    cosines = (first @ second.T)[apart]
    same = (first_people[:, None] == second_people[None])[apart]
    ranks, own = rankdata(cosines), int(same.sum())
    others = len(same) - own
    area = (ranks[same].sum() - own * (own + 1) / 2) / (own * others)
    limit = np.quantile(cosines[~same], 1 - FALSE_ACCEPTANCE)
    return {
        "AUC": float(area),
        "TPR at 1 % FPR": float((cosines[same] > limit).mean()),
        "same person": float(cosines[same].mean()),
        "different people": float(cosines[~same].mean()),
    }


def identity_scores(read: Doubles, reference: Doubles, sets: Sequence[Faces]) -> dict[str, float]:
    """`verification` of pictures against other photographs as they are."""
    people = column(sets, "identity")
    return verification(reference, read, people, people)


def _no_details(read: Doubles, sets: Sequence[Faces]) -> Table:
    return {}


def as_columns(output: Any) -> Tensor:
    """A network's output as one float row a picture: [B, K]."""
    if isinstance(output, EmotionReading):
        output = torch.cat([output.logits, output.valence[:, None], output.arousal[:, None]], 1)
    return output.flatten(1).float()


@dataclass(frozen=True)
class Task:
    """What is learnt.

    Attributes:
        name: its number of updates is `NAME_updates` in the settings.
        objective: of the sets; a module that gives the loss of a network's output, the rows, which
            of them are mirrored, and the share of the training that is done.
        scores: of readings, the readings of the same faces as photographed, and the sets.
        details: a finer table of readings as photographed.
    """

    name: str
    objective: Callable[[Sequence[Faces], Settings], nn.Module]
    scores: Callable[[Doubles, Doubles, Sequence[Faces]], dict[str, float]]
    details: Callable[[Doubles, Sequence[Faces]], Table] = _no_details


@dataclass(frozen=True)
class Reader:
    """A network to be made.

    Attributes:
        name: of the asset.
        what: a sentence for its card.
        task: what it learns.
        network: makes it, for pictures of a side in pixels.
        learns_from: names of face sets.
        tested_on: names of face sets of unseen identities.
        seed: of weights, order and views.
        also_on: more sets of unseen identities, which it reads as photographed.
        people: first and one past the last of those it may learn from, see `rows_to_learn`.
    """

    name: str
    what: str
    task: Task
    network: Callable[[int], Any]
    learns_from: tuple[str, ...]
    tested_on: tuple[str, ...]
    seed: int
    also_on: tuple[str, ...] = ()
    people: tuple[int, int] | None = None


def rows_to_learn(faces: Faces, people: tuple[int, int] | None, seed: int) -> np.ndarray:
    """Which faces of a set a reader learns from.

    All, unless there are people on them that it may not see: then, of its own, as many of each
    emotion as there are of the rarest. Such sets are the base's, most of whom look neutral or
    smile, as on the web; their wide framing is worth learning, their shares are not.
    """
    if people is None:
        return np.arange(len(faces.identity))
    own = (faces.identity >= people[0]) & (faces.identity < people[1])
    if own.all():
        return np.arange(len(own))
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(own))
    kinds = [rows[faces.emotion[rows] == emotion] for emotion in np.unique(faces.emotion[rows])]
    fewest = min((len(kind) for kind in kinds), default=0)
    return np.sort(np.concatenate([np.empty(0, np.int64), *(kind[:fewest] for kind in kinds)]))


EMOTION = Task("emotion", EmotionObjective, emotion_scores, emotion_details)
UNITS_TASK = Task("units", UnitsObjective, units_scores, units_details)
IDENTITY = Task("identity", IdentityObjective, identity_scores)

LOSS_PEOPLE, JUDGE_PEOPLE = SETTINGS.loss_faces.identities, SETTINGS.judge_faces.identities

READERS: tuple[Reader, ...] = (
    Reader(
        "tiny-emotion-loss",
        "Reads emotion, valence and arousal; used inside the training loss.",
        EMOTION,
        lambda side: TinyEmotionNet(input_size=side),
        ("loss", "base"),
        ("validation",),
        seed=11,
        also_on=("unseen",),
        people=LOSS_PEOPLE,
    ),
    Reader(
        "tiny-emotion-judge",
        "Reads emotion, valence and arousal; scores pictures and is used by no loss.",
        EMOTION,
        lambda side: TinyEmotionJudge(input_size=side),
        ("judge", "base"),
        ("validation",),
        seed=22,
        also_on=("unseen",),
        people=JUDGE_PEOPLE,
    ),
    Reader(
        "tiny-units-loss",
        "Reads the intensities of 18 action units in each half of a face; for a loss.",
        UNITS_TASK,
        lambda side: TinyUnitsNet(units=UNITS, input_size=side),
        ("loss", "units_loss", "base"),
        ("units_validation",),
        seed=33,
        also_on=("validation", "unseen"),
        people=LOSS_PEOPLE,
    ),
    Reader(
        "tiny-units-judge",
        "Reads the intensities of 18 action units in each half of a face; is used by no loss.",
        UNITS_TASK,
        lambda side: TinyUnitsJudge(units=UNITS, input_size=side),
        ("judge", "units_judge", "base"),
        ("units_validation",),
        seed=44,
        also_on=("validation", "unseen"),
        people=JUDGE_PEOPLE,
    ),
    Reader(
        "tiny-identity",
        "Turns a face into 128 numbers, near for one person and far for others.",
        IDENTITY,
        lambda side: TinyIdentityNet(input_size=side),
        ("loss", "judge", "base"),
        ("validation", "units_validation"),
        seed=55,
        also_on=("unseen",),
    ),
)
