"""Of a rig's edits: how far each part of the face is what was asked, and what else changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.bench import Bench
from sfe_core.evaluation.definitions import Definition, definitions
from sfe_core.evaluation.instruments.edit_probes import NOISE, OUTSIDE, REFIT
from sfe_core.evaluation.metric_record import MetricRecord
from sfe_core.evaluation.numbers import Numbers
from sfe_core.evaluation.physical_codes import Codes, landmark_distance
from sfe_core.evaluation.physical_commands import (
    CHANGED,
    MODES,
    PARTS,
    Mode,
    Part,
    PhysicalCommand,
    of_mode,
)
from sfe_core.evaluation.physical_faces import AskedFaces
from sfe_core.evaluation.protocol_reading import at
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.scoring import score_of
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.expression_control import ratio_of_means
from sfe_core.evaluation.statistics.resampling import Resamples, draw_resamples
from sfe_core.evaluation.summary import (
    REAL,
    EditsOfMode,
    Interval,
    Metric,
    PartOfEdit,
    PhysicalOfSet,
    Score,
    SetInfo,
)
from sfe_core.evaluation.yardstick import Labels, Yardstick
from sfe_core.files import derive_seed

_TITLES: dict[Mode, str] = {
    "own": "unedited, drawn back",
    "expression": "expression alone",
    "pose": "pose alone",
    "light": "light alone",
    "all": "all three",
}
_KEPT = ("identity", "face_found")


@dataclass(frozen=True)
class FoundPart:
    """A part of N faces, found against asked.

    Attributes:
        found, asked, before: [N, D]; before is the unedited face.
        part: which.
    """

    part: Part
    found: Doubles
    asked: Doubles
    before: Doubles

    @property
    def error(self) -> Doubles:
        """[N] of each picture, see `part_error`."""
        return part_error(self.part, self.found, self.asked)

    @property
    def change(self) -> Doubles:
        """[N], what an edit that changes nothing would have of it."""
        return part_error(self.part, self.before, self.asked)

    @property
    def size(self) -> Doubles:
        """[N], how long the asked change is."""
        return np.linalg.norm(_less(self.part, self.asked, self.before), axis=1)

    @property
    def along(self) -> Doubles:
        """[N], how far the found change goes along the asked one; nan where none was asked."""
        asked, size = _less(self.part, self.asked, self.before), self.size
        moved = (_less(self.part, self.found, self.before) * asked).sum(axis=1)
        return np.divide(moved, size, out=np.full_like(size, np.nan), where=size > 1e-6)


def part_error(part: Part, found: Doubles, asked: Doubles) -> Doubles:
    """[N] of codes [N, D], see `codes_of`.

    Of a pose the mean of its angles' errors, degrees; of light the root mean square, percent of the
    mean irradiance; of expression and shape the landmarks' mean distance, millimetres.
    """
    off = _less(part, found, asked)
    if part == "pose":
        return np.abs(off).mean(axis=1)
    if part == "light":
        return 100.0 * np.sqrt((off**2).mean(axis=1))
    return landmark_distance(off)


def _less(part: Part, one: Doubles, other: Doubles) -> Doubles:
    off = np.asarray(one, np.float64) - other
    return (off + 180.0) % 360.0 - 180.0 if part == "pose" else off


@dataclass(frozen=True)
class PhysicalCourse:
    """The protocol as it is run.

    Attributes:
        bench: what reads.
        commands: all pictures asked for.
        photos: what was read off the photos that are edited.
        faces: what was asked, in the terms of the reconstruction that edits.
        independent: another reconstruction fitted the pictures again.
        embedder: the instrument of identity.
        read: model to what was read off its pictures, in the order of `commands`.
    """

    bench: Bench
    commands: Sequence[PhysicalCommand]
    photos: Readings
    faces: AskedFaces
    independent: bool
    embedder: str
    read: Mapping[str, Readings]

    # ---- Codes -----------------------------------------------------------------------------------

    def parts(self, readings: Readings, mode: Mode) -> dict[Part, FoundPart]:
        """Found against asked, of the pictures of one mode.

        A reconstruction that did not edit speaks in other terms: of it, what it sees on the photos
        that each part was taken from is what was asked.
        """
        commands = of_mode(self.commands, mode)
        found = at(readings, [one.name for one in commands])
        asked, before = self._asked(commands)
        return {
            part: FoundPart(part, found.column(REFIT, part), asked[part], before[part])
            for part in PARTS
        }

    def _asked(self, commands: Sequence[PhysicalCommand]) -> tuple[Codes, Codes]:
        if self.independent:
            return (
                {part: self._seen(part, [one.donor(part) for one in commands]) for part in PARTS},
                {part: self._seen(part, [one.key for one in commands]) for part in PARTS},
            )
        place = {one.name: number for number, one in enumerate(self.commands)}
        rows = np.array([place[one.name] for one in commands], dtype=np.intp)
        asked, before = self.faces.asked, self.faces.before
        return {p: asked[p][rows] for p in PARTS}, {p: before[p][rows] for p in PARTS}

    def _seen(self, part: Part, keys: Sequence[str]) -> Doubles:
        return at(self.photos, keys).column(REFIT, part)

    # ---- The usual table -------------------------------------------------------------------------

    def sets(self) -> dict[str, tuple[SetInfo, str, Mode]]:
        """Name of a set to its title, its model and its mode."""
        found: dict[str, tuple[SetInfo, str, Mode]] = {}
        for model in self.read:
            for mode in MODES:
                name = f"{model}_{mode}" if model else mode
                title = f"{model}, {_TITLES[mode]}" if model else _TITLES[mode]
                role = {"own": "base", "all": "tuned"}.get(mode, "other")
                count = len(of_mode(self.commands, mode))
                info = {"title": title, "role": role, "prefix": name, "pictures": count}
                found[name] = (SetInfo.model_validate(info), model, mode)
        return found

    def scored(self) -> tuple[dict[str, Metric], dict[str, dict[str, Score]]]:
        """Identity and faces found, of every set."""
        metrics: dict[str, Metric] = {}
        scores: dict[str, dict[str, Score]] = {}
        for name, (_, model, mode) in self.sets().items():
            commands = of_mode(self.commands, mode)
            readings = at(self.read[model], [one.name for one in commands])
            defined = self._definitions(commands)
            scores[name] = {
                metric: score_of(
                    each.of(readings, name),
                    each,
                    self.resamples(commands),
                    self.bench.meter.instruments,
                )[0].model_copy(update={"people": None})
                for metric, each in defined.items()
            }
            metrics |= {metric: each.metric for metric, each in defined.items()}
        return metrics, scores

    def _definitions(self, commands: Sequence[PhysicalCommand]) -> dict[str, Definition]:
        nothing = np.full(len(commands), np.nan)
        labels = Labels(np.full(len(commands), -1, dtype=np.intp), nothing, nothing)
        photos = at(self.photos, [one.key for one in commands])
        further = frozenset({self.embedder, self.bench.meter.faces.name})
        return definitions(
            Yardstick(labels, {}, photos, self.bench.meter.perceptual, further), _keep
        )

    def resamples(self, commands: Sequence[PhysicalCommand]) -> Resamples:
        """Of photos, each with all of its pictures."""
        who = np.array([one.key for one in commands], dtype=object)
        config = self.bench.workspace.config
        seed = derive_seed(config.sampling.seed, "physical", "bootstrap")
        return draw_resamples(len(who), config.evaluate.bootstrap, seed, who)

    # ---- Edits -----------------------------------------------------------------------------------

    def results(self) -> dict[str, PhysicalOfSet]:
        """Of the photos themselves, and of every model."""
        found = {REAL: PhysicalOfSet(title="real photos", modes=[self._of_photos()])}
        for model, readings in self.read.items():
            found[model or "package"] = PhysicalOfSet(
                title=model or "package",
                modes=[self._of_mode(readings, mode) for mode in MODES],
                combined=self._combined(readings, lambda one: one.error),
                combined_reach=self._combined(readings, lambda one: one.along),
            )
        return found

    def _of_photos(self) -> EditsOfMode:
        """The photos fitted again: what no drawing can be better than."""
        commands = of_mode(self.commands, "own")
        photos = at(self.photos, [one.key for one in commands])
        number = Numbers(self.resamples(commands))
        asked, before = self._asked(commands)
        parts = [FoundPart(p, photos.column(REFIT, p), asked[p], before[p]) for p in PARTS]
        nothing = np.full(len(commands), np.nan)
        return EditsOfMode(
            mode="photo",
            pictures=len(commands),
            # What the same network sees on the same photo once more is no finding.
            parts=[] if self.independent else [_told(number, one, False) for one in parts],
            **{
                name: number.mean(nothing)
                for name in ("identity", "identity_kept", "distance", "outside", "outside_distance")
            },
            **self._quality(number, photos),
        )

    def _of_mode(self, readings: Readings, mode: Mode) -> EditsOfMode:
        commands = of_mode(self.commands, mode)
        number = Numbers(self.resamples(commands))
        found = at(readings, [one.name for one in commands])
        identity = self.identity(found, commands)
        own = self.identity(at(readings, [f"{one.key}/own" for one in commands]), commands)
        asked = {"own": (), "all": CHANGED}.get(mode, (mode,))
        return EditsOfMode(
            mode=mode,
            pictures=len(commands),
            parts=[
                _told(number, one, part in asked)
                for part, one in self.parts(readings, mode).items()
            ],
            identity=number.mean(identity),
            identity_kept=number.mean(identity - own),
            distance=number.mean(found.column(self.bench.meter.perceptual, "distance")),
            outside=number.mean(found.column(OUTSIDE, "difference")),
            outside_distance=number.mean(found.column(OUTSIDE, "distance")),
            **self._quality(number, found),
        )

    def _quality(self, number: Numbers, found: Readings) -> dict[str, Interval]:
        detected = found.column(self.bench.meter.faces.name, "detected")
        return {
            "noise": number.mean(found.column(NOISE, "level")),
            "noisy": number.mean(found.column(NOISE, "noisy"), share=True),
            "face_found": number.mean(detected, share=True),
        }

    def identity(self, found: Readings, commands: Sequence[PhysicalCommand]) -> Doubles:
        """[N] cosine of pictures and the photos that they were edited from."""
        photos = at(self.photos, [one.key for one in commands])
        pair = (one.column(self.embedder, "embedding") for one in (found, photos))
        first, second = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in pair)
        return (first * second).sum(axis=1)

    def _combined(
        self, readings: Readings, measured: Callable[[FoundPart], Doubles]
    ) -> dict[str, Interval]:
        """Of each part a measure of edits by all over that of edits by it alone, in pairs."""
        together = self.parts(readings, "all")
        number = Numbers(self.resamples(of_mode(self.commands, "all")))
        return {
            part: number.of(
                ratio_of_means,
                measured(together[part]),
                measured(self.parts(readings, part)[part]),
            )
            for part in CHANGED
        }


def _told(number: Numbers, found: FoundPart, asked: bool) -> PartOfEdit:
    columns = (*np.transpose(found.found), *np.transpose(found.asked))
    return PartOfEdit(
        part=found.part,
        asked=asked,
        error=number.mean(found.error),
        change=number.mean(found.change),
        correlation=number.of(agreement.pooled_pearson, *columns),
        reach=number.of(ratio_of_means, found.along, found.size)
        if asked
        else number.mean(np.full(len(found.size), np.nan)),
    )


def _keep(record: MetricRecord) -> bool:
    """Whether a metric has a meaning where a photo's face is to be another."""
    return record.name in _KEPT
