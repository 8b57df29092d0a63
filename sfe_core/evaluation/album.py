"""The person's own photos, and what pictures and other people's photos give beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sfe_core.arrays import Doubles
from sfe_core.corpus.people.albums import choose_album, person_of
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.evaluation.bench import REFERENCE_SPLIT, Bench
from sfe_core.evaluation.pictures import DrawnPictures, RealPictures
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.expression_control import left_out_cosines, person_cosine
from sfe_core.evaluation.summary import REAL
from sfe_core.files import derive_seed

MOST_OTHERS = 200  # photos of other people; more would not make a mean steadier


@dataclass(frozen=True)
class Album:
    """A person's photos that no training saw, and others to hold a number against.

    Attributes:
        person: the folder of photos/; empty where they lie flat.
        held: keys of the held-out photos.
        learnt: keys of the photos that were learnt from.
        others: keys of other people's photos.
    """

    person: str
    held: list[str]
    learnt: list[str]
    others: list[str]


def album_of(corpus: Corpus, split: str, person: str | None) -> Album:
    """The album of a split.

    Args:
        corpus: of all people.
        split: its photos are held out.
        person: a folder of photos/; None: whose album is the only one.

    Raises:
        UserError: there is no photo of the person, or it is not said which person is meant.
    """
    rows, every = corpus.split(split), corpus.rows
    person = choose_album(every["key"], person, "data.person")
    whose = every["key"].map(person_of)
    held = rows.loc[rows["key"].map(person_of) == person, "key"].tolist()
    if not held:
        raise UserError(f"split {split}", f"has no photo of {person}", "see split.by: photos")
    learnt = (whose == person) & (every["split"] == REFERENCE_SPLIT) & ~every["key"].isin(held)
    others = every.loc[(whose != person) & (whose != ""), "key"].tolist()
    others = sorted(sorted(others, key=lambda key: derive_seed("others", key))[:MOST_OTHERS])
    return Album(person, held, every.loc[learnt, "key"].tolist(), others)


@dataclass(frozen=True)
class ReadAlbum:
    """What was read off an album.

    Attributes:
        photos: of the held-out photos.
        person: [M, D], their identity vectors.
        same: mean cosine of the person's other photos to these; None where there are none.
        different: the same of other people's photos.
    """

    photos: Readings
    person: Doubles
    same: float | None
    different: float | None


def read_album(bench: Bench, album: Album, probes: Sequence[str], embedder: str) -> ReadAlbum:
    """Read the photos.

    Args:
        probes: that read the drawn pictures.
        embedder: the instrument of identity.

    Raises:
        UserError: no face was found on any held-out photo.
    """
    held = bench.read(f"{REAL} album", bench.photos, album.held, probes)
    vectors = held.column(embedder, "embedding")
    if vectors.ndim != 2 or not np.isfinite(vectors).all(axis=1).any():
        raise UserError(
            "evaluate.identity", "no face was found on a held-out photo", "see evaluate.detector"
        )

    def level(keys: list[str], title: str) -> float | None:
        if not keys:
            return None
        read = bench.read(title, bench.photos, keys, [bench.meter.faces.name])
        return finite_mean(person_cosine(read.column(embedder, "embedding"), vectors))

    same = level(album.learnt, "learnt album")
    if same is None:
        same = finite_mean(left_out_cosines(vectors))
    return ReadAlbum(held, vectors, same, level(album.others, "others"))


def finite_mean(values: Doubles) -> float | None:
    """Mean of what is finite, or None."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


class DrawnBeside(RealPictures):
    """Drawn pictures that others of their folder are held against, where photos usually stand."""

    def __init__(
        self, pictures: DrawnPictures, beside: Mapping[str, str], corpus: Corpus, album: Album
    ) -> None:
        """Take where a face would be from the album: where none is found, it is looked for there.

        Args:
            pictures: the folder.
            beside: name of a picture to that of the one it is held against.
            corpus, album: of the person.
        """
        self._pictures, self._beside = pictures, beside
        points = torch.stack([corpus.points(key) for key in album.held]).mean(dim=0)
        super().__init__(cast(Corpus, _DrawnCorpus(pictures, beside, points)))

    def has(self, key: str) -> bool:
        """Whether a photo goes with the picture: none does."""
        del key
        return False

    def fingerprint(self, key: str) -> str:
        """See `RealPictures`; of the picture beside it."""
        return self._pictures.fingerprint(self._beside[key])


@dataclass(frozen=True)
class _DrawnCorpus:
    """What instruments ask of a corpus, of drawn pictures."""

    pictures: DrawnPictures
    beside: Mapping[str, str]
    face: Tensor

    def row(self, name: str) -> Mapping[Any, Any]:
        """There is no row."""
        del name
        return {"landmarks": (), "depth_sha256": "", "caption": None}

    def points(self, name: str) -> Tensor:
        """Where the album's photos have them."""
        del name
        return self.face

    def image(self, name: str, size: int) -> Tensor:
        """The picture beside; black where there is none."""
        found = self.pictures.picture(self.beside[name], size).image
        return torch.zeros(3, size, size) if found is None else found
