"""Record size and SHA-256 of every shipped weight: `python -m sfe_core.assets.seal`.

Run it after building the embedded weights; a test compares the record with the files.
"""

from __future__ import annotations

from typing import Any

from sfe_core.assets.registry import CHECKSUMS_FILE, EMBEDDED
from sfe_core.files import sha256_file, write_json


def measure_embedded() -> dict[str, list[dict[str, Any]]]:
    """Path, size and digest of each file in each folder of embedded/, by asset name."""
    folders = sorted(
        path for path in EMBEDDED.iterdir() if path.is_dir() and path.name != "__pycache__"
    )
    return {
        folder.name: [
            {
                "path": file.relative_to(folder).as_posix(),
                "size": file.stat().st_size,
                "sha256": sha256_file(file),
            }
            for file in sorted(folder.rglob("*"))
            if file.is_file() and not file.name.startswith(".")
        ]
        for folder in folders
    }


def seal() -> None:
    """Write embedded/checksums.json."""
    write_json(CHECKSUMS_FILE, measure_embedded())


if __name__ == "__main__":
    seal()
