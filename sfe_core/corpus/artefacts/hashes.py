"""What each artefact of a photo was made with, so that a rerun makes only what would differ.

A photo's row says by artefact kind which settings, models and recipe version made it, as short
hashes; with the photo's own bytes that decides whether it stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from sfe_core.assets.needs import (
    BOX_ASSETS,
    DEPTH_ASSETS,
    DETECTOR_ASSETS,
    RECONSTRUCTION_ASSETS,
)
from sfe_core.assets.registry import registry
from sfe_core.assets.store import missing_files, path_of
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.portable import path_from
from sfe_core.config.sections import Meaning, fields_that
from sfe_core.corpus.artefacts.given_maps import given_sha256
from sfe_core.corpus.artefacts.kinds import (
    ARTEFACTS,
    album_artefacts_of,
    artefacts_of,
    shaping_settings,
)
from sfe_core.files import sha256_file, sha256_folder, sha256_json

# The stage before all artefacts: detection, landmarks and the choice of face.
FACE = "face"
# Settings whose value names a part with model files of its own.
_ASSETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "detector": DETECTOR_ASSETS,
    "box_detector": BOX_ASSETS,
    "depth": DEPTH_ASSETS,
    "reconstruction": RECONSTRUCTION_ASSETS,
}


@dataclass(frozen=True)
class ArtefactHashes:
    """The hashes of the face stage and of every artefact kind that an ok row must have."""

    by_kind: dict[str, str]

    @property
    def text(self) -> str:
        """As JSON, for the manifest's column `made_with`."""
        return json.dumps(self.by_kind, sort_keys=True, separators=(",", ":"))

    @property
    def whole(self) -> str:
        """One hash over all, for the column `config_hash`."""
        return sha256_json(self.by_kind)[:16]

    def of_photo(self, corpus: Path, key: str) -> ArtefactHashes:
        """The hashes for one photo: what came with it shapes some artefacts."""
        shown = {
            kind: ARTEFACTS[kind].shows_given
            for kind in self.by_kind
            if kind in ARTEFACTS and ARTEFACTS[kind].shows_given
        }
        given = {name: given_sha256(corpus, name, key) for name in set(shown.values())}
        of_given = {
            kind: sha256_json([self.by_kind[kind], given[name]])[:16]
            for kind, name in shown.items()
            if given[name]
        }
        return ArtefactHashes(self.by_kind | of_given) if of_given else self


def artefact_hashes(config: PreprocessConfig, root: Path, of_all: bool = False) -> ArtefactHashes:
    """The hashes under a configuration; reads the model files that it names.

    Args:
        config: of preprocess.
        root: of the workspace. A model below it counts with its path from there, so that artefacts
            stand where the workspace moves.
        of_all: also of the kinds that the configuration does not ask for.
    """
    by_kind = {FACE: _hash(shaping_settings(config, Meaning.FACE), 0, root)}
    for kind in ARTEFACTS.values() if of_all else artefacts_of(config):
        by_kind[kind.name] = _hash(kind.settings(config), kind.version, root)
    return ArtefactHashes(by_kind)


def album_hashes(config: PreprocessConfig, root: Path, shape: bytes) -> dict[str, str]:
    """The hashes of the kinds that show an album's mean shape, by kind; see `artefact_hashes`.

    Args:
        shape: the mean itself; another one, as of an album that grew, makes other pictures.
    """
    digest = sha256(shape).hexdigest()[:16]
    return {
        kind.name: f"{_hash(kind.settings(config), kind.version, root)}+{digest}"
        for kind in album_artefacts_of(config)
    }


@lru_cache(maxsize=64)
def parse_made_with(text: str | None) -> dict[str, str]:
    """The column `made_with` of a row, by artefact kind; empty where it says nothing."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _hash(settings: dict[str, object], version: int, root: Path) -> str:
    shaping = dict(settings)
    if shaping.get("detector") != "face-alignment":
        shaping.pop("box_detector", None)  # nobody asks it then
    if shaping.get("depth") != "zoedepth":
        shaping.pop("depth_input", None)
    if shaping.get("reconstruction") == "anny":
        shaping.pop("reconstruction_model", None)
        shaping.pop("flame", None)
    if shaping.get("tight_photos") == "as-is":
        # Corpora from before this setting stand; `plan` finds their few faces that it changes.
        shaping.pop("tight_photos")
    models = {
        name: _model_hash(name)
        for setting, table in _ASSETS.items()
        for name in table.get(str(shaping.get(setting)), ())
    }
    for setting in fields_that(PreprocessConfig, Meaning.MODEL):
        if given := shaping.get(setting):
            shaping[setting] = written = path_from(root, str(given))
            models[written] = _model_hash(str(given))
    return sha256_json([version, shaping, models])[:16]


def _model_hash(name: str) -> str:
    """SHA-256 of a model's bytes, given as an asset's name or as a path.

    Empty where it is not there, which the run itself reports.
    """
    asset = registry().get(name)
    if asset is not None and missing_files(asset):
        return ""
    path = Path(name).expanduser() if asset is None else path_of(asset)
    if not path.exists():
        return ""
    if path.name == "cfg.yaml":  # the one file of EMOCA's archives whose name is known for certain
        path = path.parent
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    return _content_hash(path, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@lru_cache(maxsize=32)
def _content_hash(path: Path, stamps: tuple[tuple[int, int], ...]) -> str:
    """`stamps` make files that were replaced meanwhile be read again."""
    del stamps
    return sha256_folder(path) if path.is_dir() else sha256_file(path)
