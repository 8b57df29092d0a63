"""The one writer of a corpus as preprocess leaves it: pictures, their hashes, the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS, MANIFEST, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import read_manifest, to_frame, write_manifest
from sfe_core.emotions import EMOTIONS
from sfe_core.files import derive_seed, sha256_file


def write_corpus(
    workspace: Workspace,
    rows: Iterable[Mapping[str, object]],
    side_px: int,
    crops: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write crops, maps and the manifest of `rows`; the same key gets the same pictures always.

    Args:
        workspace: whose corpus it is.
        rows: of the manifest. A row needs a `key`; columns it lacks are filled in where every
            usable row has them: emotions take turns, and the caption tells the emotion.
        side_px: of every picture.
        crops: the pixels of a key's crop, uint8 [side, side, 3]; random where not given.
    """
    full = []
    for place, row in enumerate(rows):
        key = str(row["key"])
        emotion = row.get("emotion", EMOTIONS[place % len(EMOTIONS)])
        full.append(
            {
                "photo": f"{key}.jpg",
                "status": "ok",
                "emotion": emotion,
                "caption": f"{emotion}, face",
                "caption_source": "template",
                **row,
                **_write_pictures(workspace.corpus, key, side_px, (crops or {}).get(key)),
            }
        )
    write_manifest(workspace.corpus / MANIFEST, to_frame(full))


def _write_pictures(corpus: Path, key: str, side: int, crop: np.ndarray | None) -> dict[str, str]:
    random = np.random.default_rng(derive_seed("corpus of the tests", key))
    hashes = {}
    for name, folder in {"inputs": INPUTS, **MAP_FOLDERS}.items():
        # A coarse pattern blown up, so that pictures differ in more than noise.
        pattern = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        picture = pattern.resize((side, side), Image.Resampling.BICUBIC)
        if name == "depth":
            picture = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
        elif name == "inputs" and crop is not None:
            picture = Image.fromarray(crop)
        path = artefact(corpus, folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        hashes[f"{name}_sha256"] = sha256_file(path)
    return hashes


def write_buffers(
    workspace: Workspace,
    scenes: Mapping[str, tuple[np.ndarray, ...]],
    folder: str = "",
) -> None:
    """Add buffers to the corpus that `write_corpus` wrote, as `preprocess.save_buffers` does.

    Args:
        workspace: whose corpus it is.
        scenes: key to floats of the shaded face, normals and albedo [S, S, 3], and hit [S, S].
        folder: below the corpus, with its slash; the manifest tells only of those in none.
    """
    manifest = workspace.corpus / MANIFEST
    rows = read_manifest(manifest)
    for key, (shaded, normals, albedo, hit) in scenes.items():
        coloured = np.where(hit[..., None], (normals + 1.0) / 2.0, 0.0)
        for name, part in (("lambertian", shaded), ("normals", coloured), ("albedo", albedo)):
            path = artefact(workspace.corpus, f"{folder}{name}", key)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = (np.clip(part, 0, 1) * 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(path)
            if not folder:
                rows.loc[rows["key"] == key, f"{name}_sha256"] = sha256_file(path)
    write_manifest(manifest, rows)
