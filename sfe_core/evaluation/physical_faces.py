"""The faces that `--protocol physical` asks for: fitted heads of held-out photos, changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from sfe_core.arrays import Floats, Mask
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.controls.asked_light import as_bright
from sfe_core.corpus.artefacts.edited_scene import changed_scene, scene_of_person
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.people.albums import person_of
from sfe_core.corpus.people.mean_shape import album_shape
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.corpus.preprocessing.single_photo import buffers_of_scene
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.stored_scene import stored_scene
from sfe_core.evaluation.physical_codes import Codes, codes_of
from sfe_core.evaluation.physical_commands import PARTS, PhysicalCommand
from sfe_core.faces.backends import load_maker
from sfe_core.faces.reconstruction import HeadChange
from sfe_core.files import sha256_json
from sfe_core.sampling.editing.faces import edited_scene, light_of
from sfe_core.sampling.editing.request import Edit
from sfe_core.sampling.editing.rigs import Rig
from sfe_core.sampling.editing.terms import ExpressionTerms


@dataclass(frozen=True)
class AskedFaces:
    """What was asked of N pictures, in the terms of the reconstruction that edits.

    Attributes:
        asked: part to codes [N, D], see `codes_of`.
        before: the same of each picture's unedited face.
        outside: name of a picture to [S, S], where neither the head nor the edited one is.
    """

    asked: Codes
    before: Codes
    outside: dict[str, Mask]


class PhysicalFaces:
    """The heads that the corpus holds of some photos, in their crops, and what commands make of it.

    Args:
        corpus: of the photos, with their buffers.
        config: how their heads were fitted.
        size: side S of buffers and masks, pixels.
        rig: whose edits they are for; None: of several. A rig that learnt an album with its mean
            shape has every head found anew under that; so has none, where the corpus has them.
        exact: what photos really show, by key, in codes: taken from them in place of what was
            fitted. Light is as bright as the fitted one.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: PreprocessConfig,
        size: int,
        rig: Rig | None,
        exact: Mapping[str, HeadChange] | None = None,
    ) -> None:
        self._exact = exact or {}
        self._corpus, self._config, self.size, self._rig = corpus, config, size, rig
        self._sources: dict[str, FaceScene] = {}
        self._shapes: dict[str, Floats | None] = {}
        self._maker = load_maker(
            config.reconstruction, model=config.reconstruction_model, flame=config.flame
        )

    @cached_property
    def _terms(self) -> ExpressionTerms:
        return ExpressionTerms(self._config.flame)

    def crop(self, key: str) -> Path:
        """The file of a photo's crop."""
        return Path(FolderStore(self._corpus.folder).place(INPUTS, key))

    def edit(self, command: PhysicalCommand) -> Edit:
        """As `sfe edit` would be asked."""
        photos = {part: self.crop(key) for part, key in command.donors.items()}
        return Edit(
            expression_of=photos.get("expression"),
            pose_of=photos.get("pose"),
            light_of=photos.get("light"),
        )

    def shape_of(self, key: str) -> Floats | None:
        """The mean shape that a photo's head is given; None: it keeps its own."""
        known = self._config.mean_shape if self._rig is None else self._rig.mean_shape
        if not known:
            return None
        person = (self._rig.person if self._rig else None) or person_of(key)
        if person not in self._shapes:
            rows = Corpus(self._corpus.folder).rows  # also photos that are not measured
            keys = [key for key in rows["key"] if person_of(key) == person]
            shape = album_shape(self._corpus.folder, person, keys) if keys else None
            self._shapes[person] = shape
        return self._shapes[person]

    def shape_sha256(self, key: str) -> str | None:
        """Of that shape."""
        shape = self.shape_of(key)
        return None if shape is None else sha256(shape.tobytes()).hexdigest()

    def source(self, key: str) -> FaceScene:
        """The face of a photo, with the shape that the rig learnt."""
        if key not in self._sources:
            shape, scene = self.shape_of(key), self._scene(key)
            self._sources[key] = scene if shape is None else scene_of_person(scene, shape)
        return self._sources[key]

    def target(self, key: str) -> FaceScene:
        """The face that something is taken from."""
        scene, exact = self.source(key), self._exact.get(key)
        if exact is None:
            return scene
        if exact.light is not None:
            exact = replace(exact, light=as_bright(exact.light, light_of(scene)))
        return changed_scene(scene, exact)

    def exact_sha256(self, command: PhysicalCommand) -> str | None:
        """Of what the photos that something is taken from really show; None: nobody said."""
        told = [self._exact[key] for key in command.donors.values() if key in self._exact]
        values = [
            [None if one is None else np.asarray(one).tolist() for one in vars(change).values()]
            for change in told
        ]
        return sha256_json(values) if told else None

    def face(self, command: PhysicalCommand) -> FaceScene:
        """The face that is asked for."""
        targets = {str(part): self.target(key) for part, key in command.donors.items()}
        return edited_scene(self.source(command.key), self.edit(command), targets, self._terms)

    def buffers(self, scene: FaceScene) -> Tensor:
        """[9, S, S]."""
        return buffers_of_scene(scene, self.size)

    def asked(self, commands: Sequence[PhysicalCommand]) -> AskedFaces:
        """Codes and surrounds of all commands."""
        asked, outside = [], {}
        own: dict[str, tuple[Codes, Mask]] = {}
        for command in commands:
            if command.key not in own:
                source = self.source(command.key)
                own[command.key] = codes_of(source.head), self._hit(source)
            before, head = own[command.key]
            face = self.face(command) if command.donors else None
            asked.append(before if face is None else codes_of(face.head))
            outside[command.name] = ~head if face is None else ~(head | self._hit(face))
        first = [own[command.key][0] for command in commands]
        return AskedFaces(stacked(asked), stacked(first), outside)

    def _hit(self, scene: FaceScene) -> Mask:
        """[S, S], the head and every pixel that it touches."""
        hit = Image.fromarray(scene.raster.hit.astype(np.uint8) * 255)
        return np.asarray(hit.resize((self.size, self.size), Image.Resampling.BOX)) > 0

    def _scene(self, key: str) -> FaceScene:
        row = {str(name): value for name, value in self._corpus.row(key).items()}
        return stored_scene(self._corpus.folder, row, self._maker, self._config)


def stacked(codes: Sequence[Codes]) -> Codes:
    """Codes of N faces as [N, D] of each part."""
    return {part: np.stack([one[part] for one in codes]) for part in PARTS}
