"""Reading a protocol's pictures: by the names it gives them, beside the photos they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.pictures import RealPictures
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.unit_protocols import Command
from sfe_core.evaluation.yardstick import UNITS


class CommandedPhotos(RealPictures):
    """The photos that a protocol's pictures come from, by the pictures' names."""

    def __init__(self, corpus: Corpus, commands: Sequence[Command]) -> None:
        self._photo_of = {command.name: command.photo for command in commands}
        self._photos = RealPictures(corpus)
        super().__init__(cast(Corpus, _CorpusByName(corpus, self._photo_of)))

    def has(self, key: str) -> bool:
        """See `RealPictures`; a picture from a prompt has none."""
        return bool(self._photo_of[key])

    def fingerprint(self, key: str) -> str:
        """See `RealPictures`."""
        photo = self._photo_of[key]
        return self._photos.fingerprint(photo) if photo else ""


class _CorpusByName:
    """What instruments ask of a corpus, by the names of pictures."""

    def __init__(self, corpus: Corpus, photo_of: Mapping[str, str]) -> None:
        self.corpus, self.photo_of = corpus, photo_of

    def row(self, name: str) -> Mapping[Any, Any]:
        """Of the manifest; of a picture without a photo there is nothing to be known."""
        photo = self.photo_of[name]
        if not photo:
            return {"landmarks": (), "depth_sha256": ""}
        return dict(self.corpus.row(photo))

    def points(self, name: str) -> Tensor:
        """See `Corpus`."""
        return self.corpus.points(self.photo_of[name])

    def image(self, name: str, size: int) -> Tensor:
        """See `Corpus`."""
        return self.corpus.image(self.photo_of[name], size)

    def maps(self, name: str, size: int, names: Sequence[str]) -> dict[str, Tensor]:
        """See `Corpus`."""
        return self.corpus.maps(self.photo_of[name], size, names)


def probes_for(meter: Meter, edits: bool) -> list[str]:
    """The probes that read a protocol's pictures, by name.

    Emotions are not asked for. Features of a network that wants landmarks need a photo that has
    them, and so do distances to it: `edits` of photos have one.
    """

    def chosen() -> Iterator[str]:
        yield UNITS
        if meter.faces.embedder is not None or edits:
            yield meter.faces.name
        for name in meter.statistics:
            if edits or not meter.probes[name].searches:
                yield name
        if edits:
            yield from (name for name in (meter.perceptual, "dists", "background"))

    return [name for name in chosen() if name in meter.probes]


def at(readings: Readings, names: Sequence[str]) -> Readings:
    """The rows of these keys, in their order; keys may come twice."""
    place = {str(key): number for number, key in enumerate(readings.keys)}
    rows = np.array([place[name] for name in names], dtype=np.intp)
    columns = {
        tool: {name: values[rows] for name, values in found.items()}
        for tool, found in readings.columns.items()
    }
    return replace(
        readings, keys=readings.keys[rows], faults=readings.faults[rows], columns=columns
    )


def changed_from(readings: Readings, before: Readings) -> Readings:
    """The same, its units less those of the rows of `before`: by how much they changed."""
    units = {
        name: values - before.columns[UNITS][name]
        for name, values in readings.columns[UNITS].items()
    }
    return replace(readings, columns={**readings.columns, UNITS: units})
