"""Vectors of identity of stored crops, where somebody asks whether faces are of one person.

`corpus/face_vectors.jsonl` holds a line per crop, see `crop_notes`; a face takes some 60 ms of a
core, so only those are seen that are asked for.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
from joblib import cpu_count
from PIL import Image

from sfe_core.arrays import Floats
from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.crop_notes import append_notes, read_notes
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.manifest import crop_of, landmarks_of
from sfe_core.corpus.people.duplicates import HashedFace
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.errors import SfeError, UserError
from sfe_core.faces.detection import Face
from sfe_core.faces.recognition.identity import IdentityEmbedder, load_embedder
from sfe_core.files import sha256_file
from sfe_core.reporting import Reporter

FILE = "face_vectors.jsonl"
_ASSET = "dlib-face-recognition"
_FACES_AT_ONCE = 64

Vectors = dict[str, Floats]


def can_embed() -> bool:
    """Whether dlib and its weights are on this machine."""
    try:
        locate(_ASSET)
    except UserError:
        return False
    return find_spec("dlib") is not None


def read_vectors(workspace: Workspace, faces: Sequence[HashedFace]) -> Vectors | None:
    """Vectors of the faces that were seen so far, by key, [128]; None where none can be made.

    Args:
        workspace: whose corpus.
        faces: with the hashes of their crops.
    """
    if not can_embed():
        return None
    path = workspace.corpus / FILE
    if not path.is_file():
        return {}
    notes = read_notes(path, _model(), "vector")
    by_crop = {note["crop"]: note["vector"] for note in notes}
    return {
        face.key: np.frombuffer(base64.b64decode(by_crop[face.crop_sha256]), np.float16)
        for face in faces
        if face.crop_sha256 in by_crop
    }


def embed_faces(
    workspace: Workspace,
    keys: Collection[str],
    rows: Callable[[], Iterator[Mapping[str, Any]]],
    reporter: Reporter | None = None,
) -> int:
    """See those of some faces that were not seen yet; interrupted, it goes on the next time.

    Args:
        workspace: with its corpus.
        keys: of faces with pictures.
        rows: gives all manifest rows, anew at every call.
        reporter: shown the progress.

    Returns:
        How many faces were seen now.

    Raises:
        UserError: dlib or its weights are not installed.
        RunError: the disk is full.
    """
    if not keys:
        return 0
    path, model = workspace.corpus / FILE, _model()
    known = {note["crop"] for note in read_notes(path, model, "vector")}
    asked = set(keys)
    wanted: dict[str, str] = {}  # crop → key; equal crops are seen once
    for row in rows():
        crop = row.get("inputs_sha256")
        if crop and row["key"] in asked and crop not in known:
            wanted.setdefault(crop, row["key"])
    if not wanted:
        return 0
    chosen, seen = set(wanted.values()), 0
    faces = (row for row in rows() if row["key"] in chosen and row.get("inputs_sha256"))
    with (
        (reporter or Reporter()).task("compare faces", len(chosen)) as task,
        ThreadPoolExecutor(cpu_count()) as threads,
    ):
        embedders = _Embedders(FolderStore(workspace.corpus), model)
        while some := list(islice(faces, _FACES_AT_ONCE)):
            notes = [note for note in threads.map(embedders.note, some) if note]
            append_notes(path, notes)
            seen += len(notes)
            task.advance(len(some))
    return seen


class _Embedders:
    """An embedder per thread, for its network holds what it is at work on."""

    def __init__(self, store: FolderStore, model: str) -> None:
        self._store, self._model, self._own = store, model, threading.local()

    def note(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The line of a manifest row's crop; None where it cannot be read."""
        try:
            with Image.open(BytesIO(self._store.read(INPUTS, row["key"]))) as picture:
                crop = np.asarray(picture.convert("RGB"))
            points = crop_of(row).to_crop(landmarks_of(row), len(crop))
        except (SfeError, OSError, SyntaxError):  # PIL raises the last for torn files
            return None
        box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
        vector = self._embedder().embed([crop], [Face(box, points.astype(np.float32), 1.0)])[0]
        text = base64.b64encode(vector.astype(np.float16).tobytes()).decode("ascii")
        return {"crop": row["inputs_sha256"], "model": self._model, "vector": text}

    def _embedder(self) -> IdentityEmbedder:
        if not hasattr(self._own, "embedder"):
            self._own.embedder = load_embedder("dlib")
        return self._own.embedder


@lru_cache(maxsize=1)
def _model() -> str:
    """Hash that names the weights in the file."""
    return sha256_file(locate(_ASSET))[:16]
