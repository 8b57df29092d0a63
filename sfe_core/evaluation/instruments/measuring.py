"""Reading pictures: every instrument over every picture, batch by batch, each cached by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfe_core.assets.needs import (
    AUTO,
    require_independent_identity_judge,
    require_independent_judge,
    require_independent_units_judge,
)
from sfe_core.assets.reference import ModelReference
from sfe_core.config.model import Config
from sfe_core.errors import RunError
from sfe_core.evaluation.choices import JUDGE
from sfe_core.evaluation.instruments.face_probe import FaceProbe, identity_name
from sfe_core.evaluation.instruments.network_probes import (
    BackgroundProbe,
    FeaturesProbe,
    PerceptualProbe,
    RecogniserProbe,
    TextProbe,
    UnitsProbe,
)
from sfe_core.evaluation.instruments.probes import Batch, Instrument, Kind, Probe, fingerprint
from sfe_core.evaluation.instruments.unit_files import FiledUnits, is_filed
from sfe_core.evaluation.pictures import Picture, PictureSet, RealPictures
from sfe_core.evaluation.readings import Measured, Readings, load_measured, save_measured
from sfe_core.evaluation.yardstick import UNITS
from sfe_core.faces.recognition.identity import EMBEDDERS, load_embedder
from sfe_core.files import sha256_json
from sfe_core.reporting import Reporter

MEASURE_VERSION = 2  # counted up when a number below would change for the same picture
# Names of probes and instruments that no recogniser takes from them.
OTHER_INSTRUMENTS = (
    *("inception", "efficientnet-lite0", "dists", "clip", "background", "detector", "change"),
    *("refit", "outside", "noise"),
    UNITS,
    *map(identity_name, EMBEDDERS),
)
LOSS = "loss"  # in evaluate.recognisers: the network that the fine-tuning optimises against


class Meter:
    """The instruments of one evaluation, and the side at which every picture is measured."""

    def __init__(self, config: Config) -> None:
        """Load all that section `evaluate` of sfe.yaml names; nothing is downloaded.

        Pictures are measured at `model.resolution`; real photos are shrunk to it, so that all are
        equally sharp.

        Raises:
            UserError: an asset is missing.
        """
        require_independent_judge(config)
        require_independent_identity_judge(config)
        require_independent_units_judge(config)
        settings = config.evaluate
        self.resolution, self.batch_size = config.model.resolution, settings.batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.models = recognisers_of(config)
        self.recognisers = tuple(self.models)
        # Instruments whose features distances are of.
        self.statistics = tuple(
            self.recognisers[0] if name == JUDGE else name for name in settings.features
        )
        self.perceptual = settings.perceptual_network
        embedder = None if settings.identity == "none" else load_embedder(settings.identity)
        self.faces = FaceProbe(settings.detector, self.resolution, embedder)
        self.probes = {probe.name: probe for probe in (*self._networks(config), self.faces)}

    def _networks(self, config: Config) -> Iterator[Probe]:
        settings, side = config.evaluate, f"measured at {self.resolution} px"
        for name, model in self.models.items():
            kind: Kind = "witness" if model.given in settings.witnesses else "recogniser"
            kind = "judge" if name == self.recognisers[0] else kind
            yield RecogniserProbe(name, model, side, self.device, kind, settings.detector)
        if settings.units_judge not in ("", AUTO):
            given = settings.units_judge
            if is_filed(given):
                yield FiledUnits(Path(given))
            else:
                yield UnitsProbe(ModelReference(given), side, self.device)
        for name in settings.features:
            if name != JUDGE:
                yield FeaturesProbe(name, settings.fid_resize, side, self.device)
        yield PerceptualProbe(settings.perceptual_network, side, self.device)
        if settings.dists:
            yield PerceptualProbe("dists", side, self.device, settings.dists_px)
        if settings.clip:
            yield TextProbe(settings.clip, side, self.device)
        if settings.background:
            yield BackgroundProbe(side, self.device)

    @property
    def filed(self) -> FiledUnits | None:
        """The judge of units, if it is files that a detector wrote."""
        probe = self.probes.get(UNITS)
        return probe if isinstance(probe, FiledUnits) else None

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every instrument by name."""
        found = [probe.instruments for probe in self.probes.values()]
        return {name: instrument for group in found for name, instrument in group.items()}

    def read(
        self,
        pictures: PictureSet,
        keys: Sequence[str],
        originals: RealPictures,
        probes: Sequence[Probe],
        title: str,
        reporter: Reporter,
    ) -> dict[str, Measured]:
        """Measure the pictures of `keys`, at least one, by probe; each picture is decoded once."""
        done: list[_BatchReadings] = []
        searched = any(probe.searches for probe in probes)
        # What waits for the faces comes last, so that the other networks read meanwhile.
        networks = sorted((p for p in probes if not p.beside), key=lambda p: p.searches)
        # PIL, dlib and torch let go of the interpreter: the next batch is decoded and the last
        # one's faces are looked for while the networks read. One thread each, as dlib keeps state.
        with (
            reporter.task(f"Measuring {title}", len(keys)) as task,
            ThreadPoolExecutor(1) as decoder,
            ThreadPoolExecutor(1) as beside,
        ):
            for faults, batch in self._batches(pictures, keys, originals, decoder):
                if searched:
                    search = beside.submit(self.faces.search, batch)
                    batch = replace(batch, searched=search.result)
                slow = [beside.submit(probe.read, batch) for probe in probes if probe.beside]
                read = {p.name: self._run(p, batch, reporter) for p in networks}
                names = [probe.name for probe in probes if probe.beside]
                done.append(_BatchReadings(faults, read, dict(zip(names, slow, strict=True))))
                if len(done) > 1:
                    done[-2].wait()
                task.advance(len(faults))
            for last in done[-1:]:
                last.wait()
        return {probe.name: _joined(done, probe.name) for probe in probes}

    def _batches(
        self,
        pictures: PictureSet,
        keys: Sequence[str],
        originals: RealPictures,
        decoder: ThreadPoolExecutor,
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """Faults and batch, decoded one batch ahead."""

        def decode(part: Sequence[str]) -> tuple[np.ndarray, Batch]:
            loaded = [pictures.picture(key, self.resolution) for key in part]
            stack = torch.stack([self._image_or_black(picture) for picture in loaded])
            faults = np.array([picture.fault for picture in loaded], dtype="<U16")
            are_originals = isinstance(pictures, RealPictures)
            batch = Batch(part, stack, faults == "", originals, are_originals)
            return faults, replace(batch, pictures=pictures)

        ahead: deque[Future[tuple[np.ndarray, Batch]]] = deque()
        starts = range(0, len(keys), self.batch_size)
        for part in (keys[start : start + self.batch_size] for start in starts):
            ahead.append(decoder.submit(decode, part))
            if len(ahead) > 1:
                yield self._on_device(*ahead.popleft().result())
        yield self._on_device(*ahead.popleft().result())

    def _on_device(self, faults: np.ndarray, batch: Batch) -> tuple[np.ndarray, Batch]:
        if self.device.type == "cpu":
            return faults, batch
        return faults, replace(batch, images=batch.images.to(self.device))

    def _run(self, probe: Probe, batch: Batch, reporter: Reporter) -> Mapping[str, np.ndarray]:
        """One network over one batch; halves the batch, and says so, where memory is too small."""
        try:
            with torch.inference_mode():
                return probe.read(batch)
        except (torch.OutOfMemoryError, MemoryError) as error:
            count = len(batch.keys)
            if count == 1:
                raise RunError(
                    f"evaluate: {probe.name}",
                    "memory is too small for one picture",
                    "free some, or measure at a smaller model.resolution",
                ) from error
            reporter.warn(f"{probe.name}: memory is too small for {count} pictures, halving them")
            self.batch_size = min(self.batch_size, max(1, count // 2))
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        halves = [self._run(probe, half, reporter) for half in batch.halves()]
        return {name: np.concatenate([half[name] for half in halves]) for name in halves[0]}

    def _image_or_black(self, picture: Picture) -> Tensor:
        """Something of the right shape, so that a faulty picture does not change its batch."""
        if picture.image is not None:
            return picture.image
        return torch.zeros(3, self.resolution, self.resolution)


def recognisers_of(config: Config) -> dict[str, ModelReference]:
    """Instrument → emotion recogniser: the judge, the witnesses, others; each network stands once.

    An instrument goes by its model's name. Where that is another instrument's already, the
    beginning of its weights' hash tells them apart.

    Raises:
        UserError: one of two recognisers of one name is not there.
    """
    settings = config.evaluate
    further = [
        config.loss.emotion_network if name == LOSS else name for name in settings.recognisers
    ]
    found: dict[str, ModelReference] = {}
    taken = {*OTHER_INSTRUMENTS, settings.perceptual_network}
    named = dict.fromkeys([settings.judge, *settings.witnesses, *further])
    for model in map(ModelReference, named):
        if any(model.is_same_as(other) for other in found.values()):
            continue
        unique = model.name not in taken | found.keys()
        found[model.name if unique else f"{model.name}-{model.sha256[:8]}"] = model
    return found


@dataclass(frozen=True)
class _BatchReadings:
    """A batch whose faces may still be looked for."""

    faults: np.ndarray
    read: dict[str, Mapping[str, np.ndarray]]
    beside: dict[str, Future[Mapping[str, np.ndarray]]]

    def wait(self) -> None:
        """Take in what the thread found."""
        while self.beside:
            name, future = self.beside.popitem()
            self.read[name] = future.result()


def _joined(parts: Sequence[_BatchReadings], probe: str) -> Measured:
    faults = np.concatenate([part.faults for part in parts])
    columns = {}
    for name in parts[0].read[probe]:
        values = np.concatenate([part.read[probe][name] for part in parts])
        values[faults != ""] = np.nan
        columns[name] = values
    return Measured(faults, columns)


def read_cached(
    meter: Meter,
    pictures: PictureSet,
    keys: Sequence[str],
    originals: RealPictures,
    cache: Path,
    title: str,
    reporter: Reporter,
    only: Collection[str] | None = None,
) -> Readings:
    """What every instrument reads, or read in an earlier run, off exactly these pictures.

    Args:
        cache: folder of one file per set of pictures and instrument, so that another instrument or
            checkpoint measures nothing twice.
        title: of the set, part of the files' names.
        only: the probes that are wanted; None = all.
    """
    photos = isinstance(pictures, RealPictures)
    wanted = [p for p in meter.probes.values() if only is None or p.name in only]
    probes = [probe for probe in wanted if probe.of_photos or not photos]
    content = [[key, pictures.fingerprint(key), originals.fingerprint(key)] for key in keys]
    paths = {probe.name: _cache_path(cache, title, probe, content, originals) for probe in probes}
    known = {name: load_measured(path, keys) for name, path in paths.items()}
    found = {name: measured for name, measured in known.items() if measured is not None}
    missing = [probe for probe in probes if probe.name not in found]
    if missing:
        for name, measured in meter.read(
            pictures, keys, originals, missing, title, reporter
        ).items():
            save_measured(paths[name], keys, measured)
            found[name] = measured
    columns: dict[str, Mapping[str, np.ndarray]] = {}
    for probe in probes:
        columns[probe.name] = found[probe.name].columns
        # The vectors that stand beside what a detector found are their embedder's.
        for embedder in probe.instruments.keys() - {probe.name}:
            columns[embedder] = {"embedding": found[probe.name].columns["embedding"]}
    faults = next(iter(found.values())).faults
    return Readings(np.array(keys, dtype=np.str_), faults, columns, meter.recognisers)


def _cache_path(
    cache: Path, title: str, probe: Probe, content: list[list[str]], originals: RealPictures
) -> Path:
    rows = [originals.corpus.row(key) for key, *_ in content] if probe.needs else []
    extra = [
        [str(list(row[name]) if name == "landmarks" else row[name]) for name in probe.needs]
        for row in rows
    ]
    digest = sha256_json([fingerprint(probe, MEASURE_VERSION), content, extra])
    return cache / f"{title}-{probe.name}-{digest[:16]}.npz"
