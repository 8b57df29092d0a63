"""The sets of a protocol: what was read off each, what it is held against, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sfe_core.arrays import Doubles
from sfe_core.diffusion.unit_attention import PRESENT
from sfe_core.evaluation.bench import Bench
from sfe_core.evaluation.definitions import definitions
from sfe_core.evaluation.metric_record import MetricRecord
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.evaluation.protocol_reading import CommandedPhotos, at, changed_from, probes_for
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.scoring import score_of
from sfe_core.evaluation.statistics.pooling import Resampled
from sfe_core.evaluation.statistics.references import References
from sfe_core.evaluation.statistics.resampling import Resamples, draw_resamples
from sfe_core.evaluation.summary import REAL, Metric, Reference, Score, SetInfo
from sfe_core.evaluation.unit_protocols import PARTS, Command, Part, Protocol
from sfe_core.evaluation.yardstick import Labels, Yardstick, unit_labels, with_presence
from sfe_core.files import derive_seed

TITLES: dict[Part, str] = {"single": "units alone", "combined": "units together"}
_GROUPS = ("units", "unit", "identity", "distribution")


@dataclass(frozen=True)
class ScoredSet:
    """Pictures that are scored together, and what they are held against.

    Attributes:
        info: how tables call it.
        readings: of its pictures; units as intensities, or where photos are changed, as changes.
        yardstick: labels are what was asked for, photos what identity is held against.
        resamples: of its people.
    """

    info: SetInfo
    readings: Readings
    yardstick: Yardstick
    resamples: Resamples


@dataclass(frozen=True)
class Held:
    """All sets, by name, and the photos that distances are to."""

    sets: dict[str, ScoredSet]
    reference: Reference


@dataclass(frozen=True)
class Scores:
    """By the names that summary.json gives them; `resampled`: set, then metric."""

    metrics: dict[str, Metric]
    scores: dict[str, dict[str, Score]]
    resampled: dict[str, dict[str, Resampled]]


@dataclass(frozen=True)
class Course:
    """A protocol as it is run: on this bench, these commands, of these units."""

    bench: Bench
    protocol: Protocol
    commands: Sequence[Command]
    units: tuple[str, ...]

    @property
    def edits(self) -> bool:
        """Whether photos are changed, not pictures drawn from prompts."""
        return self.protocol == "magicface"

    def held(self, pictures: Mapping[str, DrawnPictures]) -> Held:
        """Every set read: of each folder the units alone and together, and the real photos.

        Args:
            pictures: by name; empty = the package's.
        """
        references, reference = self.bench.references()
        photos = self._photos()
        there = {name: one for name, one in references.items() if name in self._probes}
        sets: dict[str, ScoredSet] = {}
        for name, folder in pictures.items():
            read = self._read(name, folder)
            for part in PARTS:
                chosen = [command for command in self.commands if command.part == part]
                if chosen:
                    title = f"{name}_{part}" if name else part
                    sets[title] = self._of_part(name, part, chosen, read, photos, there)
        ceiling = self._ceiling(photos, there)
        return Held(sets | ({} if ceiling is None else {REAL: ceiling}), reference)

    def scored(self, sets: Mapping[str, ScoredSet]) -> Scores:
        """Every metric of every set; what a set was not asked for has no value."""
        found: dict[str, dict[str, tuple[Score, Resampled]]] = {}
        metrics: dict[str, Metric] = {}
        for name, one in sets.items():
            defined = definitions(one.yardstick, self._keep)
            tools = self.bench.meter.instruments
            found[name] = {
                metric: score_of(each.of(one.readings, name), each, one.resamples, tools)
                for metric, each in defined.items()
            }
            metrics |= {m: each.metric for m, each in defined.items() if m not in metrics}
        blank = {m: next(of[m][0] for of in found.values() if m in of) for m in metrics}
        none = {"value": None, "low": None, "high": None, "n": 0, "reason": "not asked for here"}
        return Scores(
            metrics,
            {
                name: {
                    m: of[m][0] if m in of else blank[m].model_copy(update=none) for m in metrics
                }
                for name, of in found.items()
            },
            {name: {m: kept for m, (_, kept) in of.items()} for name, of in found.items()},
        )

    # ---- Sets ------------------------------------------------------------------------------------

    @property
    def _probes(self) -> list[str]:
        return probes_for(self.bench.meter, self.edits)

    def _keep(self, record: MetricRecord) -> bool:
        """Whether a metric has a meaning here; of changes, presence has none."""
        if not self.edits:
            return record.group in _GROUPS
        if record.name.startswith(("unit_f1", "units_f1")):
            return False
        return record.group in (*_GROUPS, "perceptual") or record.name == "pose_error"

    def _photos(self) -> Readings:
        """What is read off the real photos of the split."""
        keys = self.bench.corpus.split(self.bench.split)["key"].tolist()
        return self.bench.read(REAL, self.bench.photos, keys, self._probes)

    def _read(self, name: str, folder: DrawnPictures) -> Readings:
        """What is read off all commanded pictures of a folder."""
        originals = CommandedPhotos(self.bench.corpus, self.commands)
        title = "-".join(part for part in (self.protocol, name) if part)
        names = [command.name for command in self.commands]
        return self.bench.read(title, folder, names, self._probes, originals)

    def _of_part(
        self,
        name: str,
        part: Part,
        commands: Sequence[Command],
        read: Readings,
        photos: Readings,
        references: Mapping[str, References],
    ) -> ScoredSet:
        held_against = [command.held_against for command in commands]
        before = at(photos if self.edits else read, held_against)
        readings = at(read, [command.name for command in commands])
        if self.edits:
            readings = changed_from(readings, before)
        who = np.array([command.who for command in commands], dtype=object)
        title = f"{name}, {TITLES[part]}" if name else TITLES[part]
        info = SetInfo(
            title=title,
            role="tuned" if part == "single" else "other",
            prefix=f"{name}_{part}" if name else part,
            pictures=len(commands),
        )
        labels = asked_labels(commands, self.units)
        return self._set(info, readings, labels, before, who, references)

    def _ceiling(self, photos: Readings, references: Mapping[str, References]) -> ScoredSet | None:
        """The real photos by their labels; of changes, pairs of photos of one person."""
        rows = self.bench.corpus.split(self.bench.split)
        units = {u: told for u, told in unit_labels(rows).items() if u in self.units}
        if not units:
            return None
        who = rows["identity"].to_numpy(dtype=object)
        kept, before = np.arange(len(rows)), photos
        if self.edits:
            kept, other = pairs_of_people(rows["identity"])
            if not len(kept):
                return None
            keys = rows["key"].to_numpy()
            before = at(photos, keys[other].tolist())
            photos = changed_from(at(photos, keys[kept].tolist()), before)
            units = {unit: without_presence(t[kept] - t[other]) for unit, t in units.items()}
        info = SetInfo(title="real photos", role="real", prefix="orig", pictures=len(kept))
        labels = _labels_of_units(units, len(kept))
        return self._set(info, photos, labels, before, who[kept], references)

    def _set(
        self,
        info: SetInfo,
        readings: Readings,
        labels: Labels,
        before: Readings,
        who: np.ndarray,
        references: Mapping[str, References],
    ) -> ScoredSet:
        meter, config = self.bench.meter, self.bench.workspace.config
        further = frozenset(meter.instruments) & (readings.columns.keys() | {"detector"})
        yardstick = Yardstick(labels, references, before, meter.perceptual, further, who)
        seed = derive_seed(config.sampling.seed, self.protocol, info.prefix, "bootstrap")
        resamples = draw_resamples(len(who), config.evaluate.bootstrap, seed, who)
        return ScoredSet(info, readings, yardstick, resamples)


# ---- What was asked for --------------------------------------------------------------------------


def asked_labels(commands: Sequence[Command], units: Sequence[str]) -> Labels:
    """What commands ask for, as labels: of each unit only the pictures that it is judged by."""
    edits = any(command.photo for command in commands)
    counted, told = {}, {}
    for unit in units:
        sides = np.array([command.asked[unit] for command in commands], dtype=np.float64)
        whole = np.concatenate([sides, np.full((len(sides), 1), np.nan)], axis=1)
        whole = whole if edits else with_presence(whole)
        judged = np.array([unit in command.judged for command in commands])
        told[unit] = whole
        counted[unit] = np.where(judged[:, None], whole, np.nan)
    return replace(_labels_of_units(counted, len(commands)), commanded=told)


def without_presence(told: Doubles) -> Doubles:
    """[N, 3] of a unit whose presence says nothing: of changes."""
    found = told.copy()
    found[:, PRESENT] = np.nan
    return found


def pairs_of_people(identity: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Places of photos and of the next photo of the same person, round in a circle, [P] each."""
    pairs: list[tuple[int, int]] = []
    for found in identity.groupby(identity.to_numpy()).indices.values():
        places = np.asarray(found)
        if len(places) > 1:
            pairs += zip(places.tolist(), np.roll(places, -1).tolist(), strict=True)
    every = np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)
    return every[:, 0], every[:, 1]


def _labels_of_units(units: dict[str, Doubles], count: int) -> Labels:
    nothing = np.full(count, np.nan)
    return Labels(np.full(count, -1, dtype=np.intp), nothing, nothing, units)
