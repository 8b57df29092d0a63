"""What every reading of one evaluation shares: the meter, the photos, the reference, the cache."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.instruments.measuring import Meter, read_cached
from sfe_core.evaluation.origin import seen_by_loss
from sfe_core.evaluation.pictures import PictureSet, RealPictures
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.references import References, reference_statistics
from sfe_core.evaluation.summary import REAL, InstrumentInfo, Reference
from sfe_core.evaluation.yardstick import Labels, Yardstick
from sfe_core.files import derive_seed, sha256_json
from sfe_core.reporting import Reporter

REFERENCE_SPLIT = "train"


@dataclass(frozen=True)
class Held:
    """What was read off every set, and what it is held against."""

    readings: dict[str, Readings]
    yardstick: Yardstick
    reference: Reference


@dataclass(frozen=True)
class Bench:
    """What every reading of one evaluation shares."""

    workspace: Workspace
    corpus: Corpus
    split: str
    photos: RealPictures
    meter: Meter
    reporter: Reporter

    @property
    def cache(self) -> Path:
        """Where readings are kept."""
        return self.workspace.evaluation / ".readings"

    def read(
        self,
        title: str,
        pictures: PictureSet,
        keys: Sequence[str],
        only: Collection[str] | None = None,
        originals: RealPictures | None = None,
    ) -> Readings:
        """What the instruments read off `pictures`.

        Args:
            only: these instruments; None: all.
            originals: what each picture is held against; None: the photo of its key.
        """
        where = originals or self.photos, self.cache, title, self.reporter
        return read_cached(self.meter, pictures, keys, *where, only)

    def held(self, pictures: Mapping[str, PictureSet]) -> Held:
        """Every set read, and what the readings are held against."""
        rows, meter = self.corpus.split(self.split), self.meter
        keys = rows["key"].tolist()
        readings = {title: self.read(title, one, keys) for title, one in pictures.items()}
        references, reference = self.references()
        yardstick = Yardstick(
            labels=Labels.of(rows),
            references=references,
            photos=readings[REAL],
            perceptual=meter.perceptual,
            further=frozenset(meter.instruments),
            people=rows["identity"].to_numpy(dtype=object),
        )
        return Held(readings, yardstick, reference)

    def references(self) -> tuple[dict[str, References], Reference]:
        """Statistics of the training photos: never the evaluated ones, as real has a score too.

        By the instrument whose features they are of.
        """
        statistics = self.meter.statistics
        rows, name, reason = self.corpus.rows, REFERENCE_SPLIT, ""
        keys = rows.loc[rows["split"] == name, "key"].tolist()
        if self.split == name:
            reason = "the evaluated split is itself the reference"
        elif len(keys) < 2:
            reason = f"the {name} split has fewer than two photos"
        if reason:
            missing = dict.fromkeys(statistics, References.missing(reason))
            return missing, Reference(split=name, n=0, reason=reason)
        most = self.workspace.config.evaluate.reference_count
        if len(keys) > most:
            keys = sorted(sorted(keys, key=lambda key: derive_seed("reference", key))[:most])
        read = self.read(f"{name} photos", self.photos, keys, statistics)
        digest = sha256_json([[key, self.photos.fingerprint(key)] for key in keys])
        found = Reference(split=name, n=len(keys), sha256=digest)
        people = rows.set_index("key").loc[keys, "identity"].to_numpy(dtype=object)
        held = {
            network: reference_statistics(read.columns[network]["features"], self.cache)
            for network in statistics
        }
        return {name: replace(one, people=people) for name, one in held.items()}, found


def instruments_of(
    workspace: Workspace, meter: Meter, package: Path | None
) -> dict[str, InstrumentInfo]:
    """What measured, and whether the model of `package` was optimised against it."""
    origin = workspace.config, package
    return {
        title: InstrumentInfo(
            **vars(tool), seen_by_loss=seen_by_loss(tool, meter.models.get(title), *origin)
        )
        for title, tool in meter.instruments.items()
    }
