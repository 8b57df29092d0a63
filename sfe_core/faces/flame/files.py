"""Where each of FLAME's files lies, in the folders that people have.

Known layouts: everything in one folder (DECA's `data`), and the one that EMOCA unpacks
(`FLAME/{geometry,mask,texture}`). The folder given may be any of these or one above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfe_core.errors import UserError

FLAME_PAGE = "https://flame.is.tue.mpg.de"
DECA_PAGE = "https://github.com/yfeng95/DECA (folder data)"

_FOLDERS = (
    "", "geometry", "mask", "texture", "geometry/fixed_uv_displacements",
    "FLAME2020", "FLAME2023", "data", "data/FLAME2020",
)  # fmt: skip


@dataclass(frozen=True)
class FlameFile:
    """One of the files: the names it goes by, newest habit last, and its home page."""

    names: tuple[str, ...]
    page: str


MODEL = FlameFile(("generic_model.pkl", "flame2023.pkl", "FLAME_NEUTRAL.pkl"), FLAME_PAGE)
LANDMARKS = FlameFile(("landmark_embedding.npy",), DECA_PAGE)
TEMPLATE = FlameFile(("head_template.obj",), DECA_PAGE)
DISPLACEMENT = FlameFile(("fixed_displacement_256.npy",), DECA_PAGE)
DENSE_TEMPLATE = FlameFile(("texture_data_256.npy",), DECA_PAGE)
FACE_EYE_MASK = FlameFile(("uv_face_eye_mask.png",), DECA_PAGE)
ALBEDO = FlameFile(("FLAME_albedo_from_BFM.npz", "FLAME_texture.npz"), FLAME_PAGE)


def find(folder: Path, file: FlameFile) -> Path | None:
    """The file's path in `folder` or one of its usual sub-folders, None where it is not there."""
    folder = Path(folder)
    for below in ("", "FLAME", "DECA"):
        for inner in _FOLDERS:
            for name in file.names:
                path = folder / below / inner / name
                if path.is_file():
                    return path
    return None


def locate(folder: Path, file: FlameFile) -> Path:
    """`find`, for a file that must be there.

    Raises:
        UserError: it is not; the message names the file, the folder and its home page.
    """
    found = find(folder, file)
    if found is None:
        raise UserError(
            Path(folder), f"has no {' or '.join(file.names)}", f"put it there from {file.page}"
        )
    return found
