"""Tables with the pictures inside: FER2013's pixels, Parquet files; and CelebA's attributes."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FERPLUS_HEAD = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
CELEBA = "2\nMale Smiling Young\na.png  1  1 -1\nb.png -1 -1  1\n"


def grey(number: int, side: int = 48) -> np.ndarray:
    """A picture that no other number has; uint8 [side, side]."""
    return np.random.default_rng(number).integers(0, 256, (side, side)).astype(np.uint8)


def write_pixels(path: Path, emotions: Sequence[int]) -> Path:
    """A table in FER2013's form."""
    rows = (f"{e},{' '.join(map(str, grey(n).ravel()))},Training" for n, e in enumerate(emotions))
    path.write_text("\n".join(("emotion,pixels,Usage", *rows)) + "\n", encoding="utf-8")
    return path


def jpeg(number: int) -> bytes:
    """`grey` as a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(grey(number)).save(stream, "JPEG")
    return stream.getvalue()


def write_parquet(
    path: Path, labels: Sequence[int], names: Sequence[str] = (), paths: Sequence[str] = ()
) -> Path:
    """A table in Hugging Face's form; `names` are those of its classes."""
    images = [{"bytes": jpeg(n), "path": paths[n] if paths else None} for n in range(len(labels))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {"image": pa.array(images, kind), "label": list(labels), "text": ["a face"] * len(labels)}
    )
    if names:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    pq.write_table(table, path)
    return path


def make(folder: Path) -> None:
    """Every form once."""
    folder.mkdir(parents=True, exist_ok=True)
    write_pixels(folder / "fer2013.csv", (0, 3, 6))
    votes = ("0,9,0,0,0,0,0,0,1,0", "4,0,0,4,0,0,0,0,2,0", "1,0,0,0,0,0,0,0,0,9")
    rows = (f"Training,fer{n:07d}.png,{text}" for n, text in enumerate(votes))
    (folder / "fer2013new.csv").write_text("\n".join((FERPLUS_HEAD, *rows)) + "\n", "utf-8")
    write_pixels(folder / "ckextended.csv", (0, 3, 6, 7))
    write_parquet(folder / "train.parquet", (1, 0), ("sad", "happy"))
    (folder / "list_attr_celeba.txt").write_text(CELEBA, encoding="utf-8")
