"""What summary.json holds: the numbers of one split, and all that is needed to read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "sfe.evaluation/2"
# Settings that shape the pictures, not how they are measured: two models may differ in them.
DRAWING_SECTIONS = ("model", "guidance", "sampling")
PERSON = "person"  # in per_image.csv: who is on the photo
FEW_PEOPLE = 10  # fewer are too few for their intervals to be quoted
REAL = "real"  # the set of the photos themselves
JUDGE = "judge"  # what the judge goes by in a summary that names no recogniser
# The sets that every evaluation has, by title.
VARIANTS: dict[str, str] = {
    "base": "base",
    "text": "fine-tuned, text",
    "guided": "fine-tuned, guided",
    REAL: "real photos",
}
MetricGroup = Literal[
    "emotion",
    "affect",
    "units",
    "unit",
    "distribution",
    "perceptual",
    "identity",
    "guidance",
    "text",
]
Verdict = Literal["better", "worse", "even"]
InstrumentKind = Literal[
    "judge",
    "witness",
    "recogniser",
    "detector",
    "perceptual",
    "statistics",
    "identity",
    "text",
    "mask",
    "units",
    "reconstruction",
    "noise",
]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetInfo(_Record):
    """One set of pictures: a column of the tables."""

    title: str = Field(description="for people")
    role: Literal["base", "tuned", "real", "other"]
    prefix: str = Field(description="of its columns in per_image.csv, before the underscore")
    pictures: int | None = Field(None, description="where sets differ in how many they ask for")


class InstrumentInfo(_Record):
    """A network or detector that measured, and how pictures were brought to its size."""

    backend: str
    kind: InstrumentKind
    weights_sha256: str = Field("", description="empty where it keeps its weights to itself")
    resize: str
    seen_by_loss: bool = Field(False, description="the fine-tuning optimised against it")


class Metric(_Record):
    """What a number means."""

    title: str = Field(description="for people")
    unit: Literal["", "share", "%"] = Field(description="share: 0 to 1, shown as percent")
    better: Literal["lower", "higher"]
    headline: bool = Field(description="stands in the short table")
    digits: int = Field(description="shown after the point")
    group: MetricGroup = "emotion"
    instrument: str = Field("", description="name in `instruments`")
    description: str = Field("", description="one sentence, for the report")
    chance: float | None = Field(None, description="value that guessing gives, where known")

    @property
    def heading(self) -> str:
        """The title and an arrow to the better side."""
        return f"{self.title} {'↑' if self.better == 'higher' else '↓'}"

    @property
    def unit_sign(self) -> str:
        """` %` after shares and percentages, nothing after the rest."""
        return "" if self.unit == "" else " %"

    def number(self, value: float, signed: bool = False) -> str:
        """A value in the metric's unit and digits, with a true minus sign."""
        scaled = value * 100.0 if self.unit == "share" else value
        text = f"{scaled:{'+' if signed else ''}.{self.digits}f}"
        return text.replace("-", "\N{MINUS SIGN}")

    def change(self, value: float) -> str:
        """A difference: `+8.3 points` between shares, `−0.012` elsewhere."""
        return self.number(value, signed=True) + ("" if self.unit == "" else " points")

    def show(self, score: Score | Delta | None, signed: bool = False) -> str:
        """A score as `41.7 % [29.2, 54.2]`; `n/a` where there is none."""
        if score is None or score.value is None:
            return "n/a"
        text = self.number(score.value, signed) + self.unit_sign
        if score.low is None or score.high is None:
            return text
        return f"{text} [{self.number(score.low, signed)}, {self.number(score.high, signed)}]"

    def verdict(self, delta: Delta) -> Verdict:
        """Whether the interval of a difference leaves zero out, and on which side."""
        if delta.low is None or delta.high is None or delta.low <= 0.0 <= delta.high:
            return "even"
        return "better" if (delta.low > 0) == (self.better == "higher") else "worse"


class Score(_Record):
    """One number of one set of pictures, with all that is needed to compare it fairly."""

    value: float | None
    low: float | None = Field(description="lower end of the 95 % bootstrap interval")
    high: float | None = Field(description="upper end")
    n: int = Field(description="pictures behind it")
    people: int | None = Field(
        None, description="resampled with all their pictures; null: nobody known, pictures were"
    )
    reason: str = Field("", description="why the value or its interval is missing")
    backend: str = Field(description="network or detector that measured it")
    weights_sha256: str = Field(description="of its weights; empty where it keeps them to itself")
    resize: str = Field(description="how pictures were brought to its size")


class PairedTest(_Record):
    """A test on Top-1 of the same pictures."""

    gained: int = Field(description="right here, wrong in the base")
    lost: int = Field(description="wrong here, right in the base")
    p_value: float
    test: str = Field("McNemar exact", description="its name")


class Delta(_Record):
    """A score minus the base's, over the pictures that both have, resampled together."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    people: int | None = Field(None, description="resampled; null: pictures were")
    reason: str = ""
    p_value: float | None = Field(None, description="two-sided, of the paired test")
    test: str = Field("", description="name of the paired test")


class Resampling(_Record):
    """What the bootstrap drew, and the paired tests flipped."""

    unit: Literal["people", "pictures"] = Field(
        description="people with all their pictures; single pictures where nobody is known"
    )
    people: int = Field(description="that are known")
    unknown: int = Field(description="pictures of nobody known, each drawn by itself")

    @property
    def units(self) -> int:
        """How many were drawn."""
        return self.people + self.unknown

    @property
    def told(self) -> str:
        """As `over 48 people, each with all of their pictures`."""
        if self.unit == "pictures":
            return f"over {self.unknown} pictures, as if each were of somebody else"
        beside = f", and {self.unknown} pictures of nobody known" if self.unknown else ""
        return f"over {self.people} people, each with all of their pictures{beside}"

    @property
    def warning(self) -> str:
        """What to know where people are few; empty where they are not, or not known."""
        if self.unit == "pictures" or self.units >= FEW_PEOPLE:
            return ""
        return (
            f"only {self.units} people are on these pictures: what holds of so few may not hold of "
            f"others, so quote no interval or test below {FEW_PEOPLE} people"
        )


class Reference(_Record):
    """The real photos that Fréchet and kernel distance are held against."""

    split: str
    n: int
    reason: str = Field("", description="why there is none")
    sha256: str = Field("", description="over the reference photos")


class ReliabilityBin(_Record):
    """Pictures that a recogniser is about equally sure of."""

    low: float = Field(description="lower edge of the probability it gives to what it sees first")
    high: float
    n: int
    confidence: float | None = Field(description="mean probability; null where n is 0")
    accuracy: float | None = Field(description="share in which what it sees first was asked for")
    accuracy_low: float | None = Field(None, description="lower end of the 95 % interval")
    accuracy_high: float | None = None


class Reliability(_Record):
    """Whether a recogniser is right as often as it is sure (Guo et al. 2017)."""

    n: int
    ece: float | None = Field(description="expected calibration error, 0 to 1")
    bins: list[ReliabilityBin]


class RecogniserResult(_Record):
    """What one emotion recogniser sees in each set; rows and columns follow the eight emotions."""

    confusion: dict[str, list[list[int]]] = Field(description="set: row asked, column seen")
    as_photo: dict[str, list[list[int]]] = Field(
        description="set: row seen in the photo of the same key, column seen in the picture"
    )
    reliability: dict[str, Reliability]
    unreadable: list[str] = Field(
        [], description="emotions it does not know: pictures that ask for one are in no number"
    )


class Interval(_Record):
    """A number and its 95 % interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = Field(0, description="pictures behind it")

    @property
    def shown(self) -> str:
        """`0.91 [0.88, 0.93]`."""
        if self.value is None:
            return "n/a"
        ends = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{ends}".replace("-", "\N{MINUS SIGN}")


class CurvePoint(Interval):
    """The mean reading where about this much of a unit was asked for."""

    asked: float


class UnitsOfSet(_Record):
    """What was read of action units in one set; rows of `leakage` follow `UnitsResult.units`."""

    leakage: list[list[float | None]] = Field(
        description="row asked, column read: read intensity per asked one, all units at once"
    )
    unasked: list[Interval] = Field(
        description="of each asked unit, the mean of the others' slopes over its own"
    )
    curves: list[list[CurvePoint]] = Field(description="of each unit, by intensity asked for")


class UnitsResult(_Record):
    """Action units, asked against read."""

    units: list[str] = Field(description="FACS names of those asked for and read")
    judge: str = Field(description="the network that read them")
    labels_read_by: list[str] = Field(
        [], description="networks that read the labels, if any; none is the judge"
    )
    sets: dict[str, UnitsOfSet]


class StrengthPoint(_Record):
    """The person's pictures at one strength of the expressions asked for, neutral left out."""

    strength: float
    shown: Interval = Field(description="share whose asked expression the judge sees first")
    probability: Interval = Field(description="that the judge gives the asked expression")
    identity: Interval = Field(description="cosine to the album's held-out photos")
    done: Interval = Field(description="share that is still the person and shows what was asked")
    lazy: Interval = Field(description="share that is the person and does not show it")
    overdone: Interval = Field(description="share that is the person no more")


class PersonalOfSet(_Record):
    """How far one model's pictures of a person follow the expressions asked for."""

    title: str
    points: list[StrengthPoint] = Field(description="by strength, the face at rest first")
    linearity: Interval = Field(description="Pearson of strength and probability, mean of sweeps")
    monotone: Interval = Field(description="share of sweeps that never fall back")
    gain: Interval = Field(
        description="probability gained over the face at rest, per perceptual distance to it"
    )
    locality: Interval = Field(
        description="change from rest where faces move, over that elsewhere, at full strength"
    )
    class_shown: Interval = Field(description="share of the class prompt's pictures shown as asked")
    class_kept: Interval = Field(description="that, less the base's")
    class_spread: Interval = Field(
        description="perceptual distance of the class prompt's pictures to each other"
    )
    spread_kept: Interval = Field(description="that, over the base's")


class PersonalResult(_Record):
    """One person with every expression: what was gained in expression and lost in identity."""

    person: str = Field(description="as prompts name them")
    photos: int = Field(description="held-out photos that identity is held against")
    embedder: str = Field(description="the network that tells identity")
    same: float | None = Field(description="cosine of the person's other photos to these")
    different: float | None = Field(description="cosine of other people to these")
    different_are: str = Field(description="who they are: photos, or the base's pictures")
    least: float | None = Field(description="midway: from here on it is the person")
    sets: dict[str, PersonalOfSet]


class PartOfEdit(_Record):
    """How a part of the face, fitted again off edited pictures, is what was asked of it."""

    part: Literal["expression", "pose", "light", "shape"]
    asked: bool = Field(description="it was to change; else it was to stay as on the photo")
    error: Interval = Field(
        description="of what is found against what was asked: mean of three angles in degrees, "
        "else root mean square of the codes"
    )
    change: Interval = Field(description="the error of an edit that changes nothing")
    correlation: Interval = Field(
        description="Pearson of found and asked over pictures, each code less its mean, all codes "
        "together"
    )
    reach: Interval = Field(description="share of the asked change that is found, along it")


class EditsOfMode(_Record):
    """What was read off a rig's edits of one mode; own: photos drawn back from their buffers."""

    mode: Literal["photo", "own", "expression", "pose", "light", "all"]
    pictures: int
    parts: list[PartOfEdit]
    identity: Interval = Field(description="cosine of picture and photo")
    identity_kept: Interval = Field(description="that, less the same photo's drawn back")
    distance: Interval = Field(description="perceptual, to the photo")
    outside: Interval = Field(
        description="mean absolute difference to the photo where neither head is, grey levels"
    )
    outside_distance: Interval = Field(description="perceptual, of what lies there alone")
    noise: Interval = Field(description="standard deviation, grey levels")
    noisy: Interval = Field(description="share that sfe edit calls noisy")
    face_found: Interval = Field(description="share with a face to be found")


class PhysicalOfSet(_Record):
    """How one rig edits."""

    title: str
    modes: list[EditsOfMode]
    combined: dict[str, Interval] = Field(
        {}, description="part: its error in edits by all, over that in edits by it alone"
    )
    combined_reach: dict[str, Interval] = Field(
        {}, description="part: how far edits by all go along the asked change, over those by it"
    )


class PhysicalResult(_Record):
    """Edits of held-out photos by a rig, fitted again."""

    photos: int = Field(description="held-out photos that were edited")
    edits: int = Field(description="of each photo and mode")
    embedder: str = Field(description="the network that tells identity")
    edited_by: str = Field(description="the reconstruction that the edits used")
    found_by: str = Field(description="the reconstruction that fitted the pictures again")
    sets: dict[str, PhysicalOfSet]

    @property
    def independent(self) -> bool:
        """Whether another reconstruction than the edits' own looked."""
        return self.edited_by != self.found_by


class PublishedScore(_Record):
    """A number published for StableFaceEmotion, beside the metric here that it is nearest to."""

    metric: str = Field(description="name in `metrics`")
    title: str
    base: float
    tuned: float
    unit: Literal["", "share", "%"]
    digits: int = Field(description="published after the point")
    n: int = Field(description="pictures behind it")
    differences: list[str] = Field(description="what was measured unlike here; empty: comparable")


class Provenance(_Record):
    """What was measured, by what."""

    sfe: str
    torch: str
    base: str
    package: str = Field(description="folder name below packaged/")
    weights_sha256: dict[str, str] = Field(description="variant: of the model that drew it")
    corpus_sha256: str
    loss_networks: list[str] = Field(description="networks the fine-tuning optimised against")
    settings: dict[str, Any] = Field(
        description="section evaluate; model, guidance and sampling of pictures drawn here"
    )


class EvaluationSummary(BaseModel):
    """All numbers of one split. `folder` and `report` are paths and not part of summary.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: str = Field(SCHEMA, description="name and version of this layout")
    split: str
    keys_sha256: str = Field("", description="over the keys of the split")
    pictures: int = Field(description="keys in the split")
    resolution: int = Field(description="side at which everything was measured, pixels")
    emotions: dict[str, int] = Field(description="how often each was asked for")
    reference: Reference
    resampling: Resampling | None = Field(
        None, description="what intervals and paired tests are over"
    )
    sets: dict[str, SetInfo] = Field({}, description="in the order of the columns")
    baseline: str = Field("base", description="the set that deltas are against; empty: none")
    instruments: dict[str, InstrumentInfo] = {}
    metrics: dict[str, Metric]
    scores: dict[str, dict[str, Score]] = Field(description="set, then metric")
    deltas: dict[str, dict[str, Delta]] = Field(description="set, then metric: minus baseline")
    tests: dict[str, PairedTest] = Field(description="set: Top-1 against the baseline")
    baselines: dict[str, dict[str, float]] = Field(
        {}, description="metric, then name: levels to hold a score against"
    )
    confusion: dict[str, list[list[int]]] = Field(
        description="set: what the judge sees, row asked, column seen"
    )
    recognitions: dict[str, RecogniserResult] = Field({}, description="instrument: what it sees")
    units: UnitsResult | None = Field(None, description="null where none were asked for or read")
    personal: PersonalResult | None = Field(None, description="of --protocol personal alone")
    physical: PhysicalResult | None = Field(None, description="of --protocol physical alone")
    published: list[PublishedScore] = []
    excluded: dict[str, dict[str, int]] = Field(description="set, then fault: pictures")
    notes: list[str] = Field(description="what limits these numbers")
    provenance: Provenance
    folder: Path = Field(exclude=True)

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.folder / "report.html"

    @property
    def titles(self) -> dict[str, str]:
        """Set → title, in the order of the columns."""
        return {name: self.set_info(name).title for name in self.scores}

    def set_info(self, name: str) -> SetInfo:
        """What is known of a set; summaries may leave `sets` empty for the usual four."""
        return self.sets.get(name) or usual_set(name)

    @property
    def counted(self) -> str:
        """How many pictures the numbers are of: "72 pictures", or set by set where some lack."""
        apart = {name: one.pictures for name, one in self.sets.items() if one.pictures is not None}
        if apart:
            return ", ".join(f"{number} pictures {self.titles[n]}" for n, number in apart.items())
        lacking = {name: sum(faults.values()) for name, faults in self.excluded.items() if faults}
        if not lacking:
            return f"{self.pictures} pictures per set"
        counts = ", ".join(
            f"{self.pictures - lacking.get(name, 0)} {title}" for name, title in self.titles.items()
        )
        return f"{self.pictures} pictures asked for; measured: {counts}"

    def with_role(self, *roles: str) -> list[str]:
        """Names of the measured sets that have one of these roles."""
        return [name for name in self.scores if self.set_info(name).role in roles]

    @property
    def tuned(self) -> str:
        """The fine-tuned set to show where there is room for one; empty where there is none."""
        found = self.with_role("tuned")
        return "guided" if "guided" in found else (found[-1] if found else "")

    @property
    def table(self) -> list[dict[str, str]]:
        """The short table as display strings: `metric`, then one column per set."""
        return [
            {
                "metric": metric.heading,
                **{
                    title: metric.show(self.scores[variant].get(name))
                    for variant, title in self.titles.items()
                },
            }
            for name, metric in self.metrics.items()
            if metric.headline
        ]

    @property
    def judge(self) -> str:
        """The instrument that plays the judge; the first recogniser where none is marked."""
        for name in self.recognitions:
            if name in self.instruments and self.instruments[name].kind == "judge":
                return name
        return next(iter(self.recognitions), JUDGE)

    @property
    def recognised(self) -> dict[str, RecogniserResult]:
        """Instrument → what it sees, the judge first; a summary without any has the judge's."""
        if not self.recognitions:
            return {JUDGE: RecogniserResult(confusion=self.confusion, as_photo={}, reliability={})}
        return {self.judge: self.recognitions[self.judge], **self.recognitions}

    def metric_suffix(self, instrument: str) -> str:
        """What follows `top1`, `recall_happy` and so on: nothing for the judge."""
        return "" if instrument == self.judge else f"_{instrument}"

    def backend_name(self, instrument: str) -> str:
        """The network behind an instrument, as people call it."""
        if instrument in self.instruments:
            return self.instruments[instrument].backend
        scores = next(iter(self.scores.values()), {})
        return scores["top1"].backend if "top1" in scores else instrument

    def as_json(self) -> dict[str, Any]:
        """What summary.json holds."""
        return self.model_dump(mode="json")


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names and values."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def usual_set(name: str) -> SetInfo:
    """Title, role and column prefix of a set, by its name alone.

    Drawn sets and the photos are known; any other name is a folder of pictures made elsewhere. The
    prefixes are those of StableFaceEmotion's evaluation, whose fine-tuned pictures are guided here.
    """
    known = {"base": ("base", "base"), "text": ("tuned", "text"), "guided": ("tuned", "fine")}
    role, prefix = known.get(name, ("real", "orig") if name == REAL else ("tuned", name))
    return SetInfo(title=VARIANTS.get(name, name), role=role, prefix=prefix)


def summary_schema() -> str:
    """The JSON Schema (draft 2020-12) of summary.json, as text."""
    schema = EvaluationSummary.model_json_schema(mode="serialization")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**dialect, **schema}, indent=2, ensure_ascii=False) + "\n"
