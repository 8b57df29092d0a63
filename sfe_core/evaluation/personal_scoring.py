"""The sets of the personal protocol, their scores, and the curve of identity and expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.album import ReadAlbum, finite_mean
from sfe_core.evaluation.bench import Bench
from sfe_core.evaluation.definitions import Definition, definitions
from sfe_core.evaluation.instruments.change_probe import NAME as CHANGE
from sfe_core.evaluation.metric_record import MetricRecord
from sfe_core.evaluation.metrics import ranks_of
from sfe_core.evaluation.numbers import Numbers
from sfe_core.evaluation.personal_commands import (
    FULL,
    NEUTRAL,
    PersonalCommand,
    at_strength,
    of_class,
    strengths_of,
)
from sfe_core.evaluation.protocol_reading import at
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.scoring import delta_of, score_of
from sfe_core.evaluation.statistics import recognition
from sfe_core.evaluation.statistics.expression_control import (
    edit_outcomes,
    halfway,
    mean_direction,
    person_cosine,
    ratio_of_means,
    sweep_linearity,
    sweep_monotone,
)
from sfe_core.evaluation.statistics.pooling import Resampled
from sfe_core.evaluation.statistics.resampling import Resamples, draw_resamples
from sfe_core.evaluation.summary import (
    Delta,
    Interval,
    Metric,
    PersonalOfSet,
    PersonalResult,
    Score,
    SetInfo,
    StrengthPoint,
)
from sfe_core.evaluation.yardstick import Labels, Yardstick
from sfe_core.files import derive_seed

BASE: Literal["base"] = "base"
_NEVER = Interval(value=None)
_KEPT = ("top", "recall_", "identity", "face_found")


@dataclass(frozen=True)
class PersonalSet:
    """Pictures that are scored together, eight expressions of each noise, in one order for all."""

    info: SetInfo
    readings: Readings
    yardstick: Yardstick


@dataclass(frozen=True)
class PersonalScores:
    """By the names that summary.json gives them; `resampled`: set, then metric."""

    metrics: dict[str, Metric]
    scores: dict[str, dict[str, Score]]
    deltas: dict[str, dict[str, Delta]]
    resampled: dict[str, dict[str, Resampled]]


@dataclass(frozen=True)
class PersonalCourse:
    """The protocol as it is run.

    Attributes:
        bench: what reads.
        commands: all pictures asked for.
        album: what was read off the person's photos.
        embedder: the instrument of identity.
        read: model to what was read off its pictures, in the order of `commands`; the base's, if it
            is there, under `BASE`: of it only the class prompt's were drawn.
    """

    bench: Bench
    commands: Sequence[PersonalCommand]
    album: ReadAlbum
    embedder: str
    read: Mapping[str, Readings]

    # ---- Sets and their scores -------------------------------------------------------------------

    def sets(self) -> dict[str, PersonalSet]:
        """The base's class prompt, each model's person at each strength, and its class prompt."""
        found: dict[str, PersonalSet] = {}
        if BASE in self.read:
            found[BASE] = self._set(BASE, "base, class prompt", "base", of_class(self.commands))
        for model in self._models:
            for strength in strengths_of(self.commands):
                name = self.name_of(model, strength)
                title = f"{model or 'person'}, strength {strength:g}"
                role = "tuned" if strength == FULL else "other"
                chosen = at_strength(self.commands, strength)
                found[name] = self._set(model, title, role, chosen, name)
            name, title = f"{model}_class" if model else "class", f"{model} class prompt".strip()
            found[name] = self._set(model, title, "other", of_class(self.commands), name)
        return found

    @property
    def _models(self) -> list[str]:
        return [name for name in self.read if name != BASE]

    @staticmethod
    def name_of(model: str, strength: float) -> str:
        """Of the person's set at a strength."""
        return f"{model or 'person'}_{strength:g}"

    def baseline(self) -> str:
        """The base's pictures, or the first model's at full strength, if there are several."""
        if BASE in self.read:
            return BASE
        return self.name_of(self._models[0], FULL) if len(self._models) > 1 else ""

    def resamples(self, commands: Sequence[PersonalCommand]) -> Resamples:
        """Of pictures, or of sweeps' first ones: those of one noise together."""
        who = np.array([one.who for one in commands], dtype=object)
        config = self.bench.workspace.config
        seed = derive_seed(config.sampling.seed, "personal", "bootstrap")
        return draw_resamples(len(who), config.evaluate.bootstrap, seed, who)

    def scored(self, sets: Mapping[str, PersonalSet]) -> PersonalScores:
        """Every metric of every set, and each set against the baseline, noise by noise."""
        resamples = self.resamples(of_class(self.commands))
        tools, baseline = self.bench.meter.instruments, self.baseline()
        defined = {name: self._definitions(one) for name, one in sets.items()}
        found = {
            name: {
                metric: score_of(each.of(sets[name].readings, name), each, resamples, tools)
                for metric, each in of.items()
            }
            for name, of in defined.items()
        }
        deltas: dict[str, dict[str, Delta]] = {}
        for name in sets if baseline else ():
            if name != baseline:
                deltas[name] = {
                    metric: delta_of(
                        defined[baseline][metric].of(sets[baseline].readings, baseline),
                        each.of(sets[name].readings, name),
                        resamples,
                    ).model_copy(update={"people": None})
                    for metric, each in defined[name].items()
                }
        first = next(iter(defined.values()))
        return PersonalScores(
            {metric: each.metric for metric, each in first.items()},
            {
                # What was drawn together are noises, and no people.
                name: {m: score.model_copy(update={"people": None}) for m, (score, _) in of.items()}
                for name, of in found.items()
            },
            deltas,
            {name: {m: kept for m, (_, kept) in of.items()} for name, of in found.items()},
        )

    def _definitions(self, one: PersonalSet) -> dict[str, Definition]:
        return definitions(one.yardstick, _keep)

    def _set(
        self,
        model: str,
        title: str,
        role: str,
        commands: Sequence[PersonalCommand],
        name: str = "",
    ) -> PersonalSet:
        readings = at(self.read[model], [one.name for one in commands])
        prefix = name or model
        info = SetInfo.model_validate(
            {"title": title, "role": role, "prefix": prefix, "pictures": len(commands)}
        )
        meter = self.bench.meter
        further = frozenset(meter.instruments) & (readings.columns.keys() | {"detector"})
        who = np.array([one.who for one in commands], dtype=object)
        held = self._held_against(len(commands))
        labels = asked_labels(asked_places(commands))
        return PersonalSet(
            info, readings, Yardstick(labels, {}, held, meter.perceptual, further, who)
        )

    def _held_against(self, count: int) -> Readings:
        """The album as if it were one photo of each picture: the person's mean vector."""
        photos = self.album.photos
        rows = at(photos, [str(photos.keys[0])] * count)
        repeated = {"embedding": np.tile(mean_direction(self.album.person), (count, 1))}
        return replace(rows, columns={**rows.columns, self.embedder: repeated})

    # ---- The curve -------------------------------------------------------------------------------

    def result(self, person: str) -> PersonalResult:
        """Identity and expression by strength, of every model."""
        different, of_whom = self.album.different, "photos of other people"
        if different is None and BASE in self.read:
            names = [one.name for one in of_class(self.commands)]
            different = finite_mean(self._identity(at(self.read[BASE], names)))
            of_whom = "the base's pictures of the class prompt"
        least = None
        if self.album.same is not None and different is not None and self.album.same > different:
            least = halfway(self.album.same, different)
        return PersonalResult(
            person=person,
            photos=len(self.album.photos.keys),
            embedder=self.bench.meter.instruments[self.embedder].backend,
            same=self.album.same,
            different=different,
            different_are="" if different is None else of_whom,
            least=least,
            sets={
                self.name_of(model, FULL): self._of_model(model, least) for model in self._models
            },
        )

    def _identity(self, readings: Readings) -> Doubles:
        return person_cosine(readings.column(self.embedder, "embedding"), self.album.person)

    def _of_model(self, model: str, least: float | None) -> PersonalOfSet:
        strengths = strengths_of(self.commands)
        chosen = [self._sweep(model, strength) for strength in (0.0, *strengths)]
        sweeps = [one for one in at_strength(self.commands, FULL) if one.emotion != NEUTRAL]
        resamples = self.resamples(sweeps)
        number = Numbers(resamples)
        points = [
            self._point(number, strength, one, least)
            for strength, one in zip((0.0, *strengths), chosen, strict=True)
        ]
        read = np.stack([one.probability for one in chosen], axis=1)
        asked = np.array([0.0, *strengths])
        full = chosen[1 + strengths.index(FULL)]
        gain = full.probability - chosen[0].probability
        return PersonalOfSet(
            title=model or "person",
            points=points,
            linearity=number.mean(sweep_linearity(read, asked)),
            monotone=number.mean(sweep_monotone(read), share=True),
            gain=number.of(ratio_of_means, gain, full.distance),
            locality=number.of(ratio_of_means, full.inside, full.outside),
            **self._class_of(model),
        )

    def _point(
        self, number: Numbers, strength: float, one: _Sweep, least: float | None
    ) -> StrengthPoint:
        nothing = np.full_like(one.shown, np.nan)
        parts = (nothing, nothing, nothing)
        if least is not None:
            found = edit_outcomes(one.shown, one.identity, least)
            parts = (found.done, found.lazy, found.overdone)
        done, lazy, overdone = (number.mean(part, share=True) for part in parts)
        return StrengthPoint(
            strength=strength,
            shown=number.mean(one.shown, share=True),
            probability=number.mean(one.probability, share=True),
            identity=number.mean(one.identity),
            done=done,
            lazy=lazy,
            overdone=overdone,
        )

    def _sweep(self, model: str, strength: float) -> _Sweep:
        """At one strength, a row per noise and expression; at 0 the same face at rest in each."""
        full = [one for one in at_strength(self.commands, FULL) if one.emotion != NEUTRAL]
        if strength:
            chosen = [one for one in at_strength(self.commands, strength) if one.emotion != NEUTRAL]
            names = [one.name for one in chosen]
        else:
            names = [one.beside for one in full]
        return self._read_sweep(at(self.read[model], names), asked_places(full))

    def _read_sweep(self, readings: Readings, asked: np.ndarray) -> _Sweep:
        judge = readings.recognisers[0]
        ranks = ranks_of(readings, judge, asked_labels(asked))
        shown = np.where(np.isnan(ranks), np.nan, (ranks == 1).astype(np.float64))
        return _Sweep(
            shown,
            probability_of(readings.column(judge, "logits"), asked),
            self._identity(readings),
            readings.column(self.bench.meter.perceptual, "distance"),
            readings.column(CHANGE, "inside"),
            readings.column(CHANGE, "outside"),
        )

    def _class_of(self, model: str) -> dict[str, Interval]:
        """What became of everybody else, beside the base where that was drawn."""
        commands = of_class(self.commands)
        number = Numbers(self.resamples(commands))
        names, asked = [one.name for one in commands], asked_places(commands)
        own = self._read_sweep(at(self.read[model], names), asked)
        found = {
            "class_shown": number.mean(own.shown, share=True),
            "class_spread": number.mean(own.distance),
            "class_kept": _NEVER,
            "spread_kept": _NEVER,
        }
        if BASE in self.read:
            base = self._read_sweep(at(self.read[BASE], names), asked)
            found["class_kept"] = number.change(base.shown, own.shown)
            found["spread_kept"] = number.of(ratio_of_means, own.distance, base.distance)
        return found


@dataclass(frozen=True)
class _Sweep:
    """[P] each, nan where unread: what judge and embedder say, and the change from `beside`."""

    shown: Doubles
    probability: Doubles
    identity: Doubles
    distance: Doubles
    inside: Doubles
    outside: Doubles


def asked_places(commands: Sequence[PersonalCommand]) -> np.ndarray:
    """[N], place in EMOTIONS of what each picture is asked for."""
    return np.array([EMOTIONS.index(one.emotion) for one in commands], dtype=np.intp)


def asked_labels(places: np.ndarray) -> Labels:
    """Emotions [N] as labels; nothing is asked of valence and arousal."""
    nothing = np.full(len(places), np.nan)
    return Labels(places, nothing, nothing)


def probability_of(logits: Doubles, asked: np.ndarray) -> Doubles:
    """The share that a recogniser gives the asked emotion: [N] in [0, 1], nan where unread.

    An emotion that it does not know has no share.
    """
    known = recognition.known_emotions(logits)
    shares = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    shares = shares / shares.sum(axis=1, keepdims=True)
    found = np.take_along_axis(shares, asked[:, None], axis=1)[:, 0]
    return np.where(known[asked], found, np.nan)


def _keep(record: MetricRecord) -> bool:
    """Whether a metric has a meaning where no photo is to be drawn again."""
    return record.name.startswith(_KEPT) and record.name != "top1_of_photos"
