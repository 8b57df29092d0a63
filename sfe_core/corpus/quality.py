"""What is measured on a face's pictures, and which of them are usable.

The measures are numbers of single pictures, in units that `QualityConfig` limits; they are taken
when the pictures are made and kept in the manifest. Numpy alone: preprocess workers run this.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.corpus.layout import INPUTS, MAP_FOLDERS
from sfe_core.corpus.manifest import (
    DOUBTFUL,
    OK,
    OUT_OF_RANGE,
    WITH_PICTURES,
    Row,
    crop_of,
    landmarks_of,
)
from sfe_core.corpus.picture_store import MEND, PictureStore
from sfe_core.errors import RunError
from sfe_core.faces.crop import AS_IS
from sfe_core.faces.crop_choice import invented_share
from sfe_core.faces.depth import DEPTH_MAXIMUM

# Measure → the picture that it judges, a guidance map or "inputs", the crop.
MEASURES: dict[str, str] = {
    "sharpness": "inputs",
    "brightness": "inputs",
    "contrast": "inputs",
    "mesh_coverage": "mesh",
    "landmarks_on_mesh": "mesh",
    "landmarks_drawn": "landmarks",
    "depth_relief": "depth",
    "depth_clipped": "depth",
    "fit_error": "inputs",
    "invented_border": "inputs",
}
# Those that are known without a look at the pictures.
OF_ROW = ("fit_error", "invented_border")
# The contour of the face lies on the mesh's rim, where a pixel decides; the 51 others do not.
_FIRST_INNER_LANDMARK = 17
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def measure_pictures(
    crop: Pixels,
    landmarks: Pixels | None,
    depth: NDArray[np.uint16] | None,
    mesh: Pixels | None,
    points: Floats,
) -> dict[str, float]:
    """Measure the pictures of one face; what needs a picture that is None is left out.

    Args:
        crop: [S, S, 3], the face.
        landmarks: [S, S, 3], the drawn landmarks, black elsewhere.
        depth: [S, S], 0 where there is no surface.
        mesh: [S, S, 3], the rendered mesh, black elsewhere.
        points: [68, 2] landmarks as (x, y), crop pixels.

    Returns:
        sharpness: variance of the Laplacian over the landmarks' box, grey levels squared; the
            less, the blurrier (Pech-Pacheco et al., "Diatom autofocusing in brightfield
            microscopy", ICPR 2000).
        brightness: mean luma of that box, grey levels from 0 to 255.
        contrast: standard deviation of the luma there, grey levels.
        mesh_coverage: share of the crop that the mesh fills.
        landmarks_on_mesh: share of the 51 inner landmarks that lie on the mesh; a mesh beside
            the face has a low one.
        landmarks_drawn: share of the crop that the drawn landmarks fill.
        depth_relief: 95th less 5th percentile of the stored depth on the mesh (of all depth
            there is, without a mesh), over 65535.
        depth_clipped: share of the depth map at 65535, the end of its range.
    """
    grey = _luma_of_face(crop, points)
    measures = {
        "sharpness": _sharpness(grey),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
    }
    if mesh is not None:
        on_mesh = _lit(mesh)
        measures["mesh_coverage"] = float(on_mesh.mean())
        inner = points[_FIRST_INNER_LANDMARK:]
        measures["landmarks_on_mesh"] = _share_inside(on_mesh, inner)
    if landmarks is not None:
        measures["landmarks_drawn"] = float(_lit(landmarks).mean())
    if depth is not None:
        surface = depth > 0 if mesh is None else (depth > 0) & on_mesh
        low, high = np.percentile(depth[surface], (5, 95)) if surface.any() else (0.0, 0.0)
        measures["depth_relief"] = float(high - low) / DEPTH_MAXIMUM
        measures["depth_clipped"] = float((depth == DEPTH_MAXIMUM).mean())
    return measures


def _lit(picture: Pixels) -> NDArray[np.bool_]:
    """Where a picture is not black, [S, S]; several times faster than `any(axis=2)`."""
    return (picture[..., 0] | picture[..., 1] | picture[..., 2]) > 0


def measure_stored(
    store: PictureStore,
    row: Mapping[str, Any] | pd.Series,
    maps: Collection[str] = tuple(MAP_FOLDERS),
) -> dict[str, float]:
    """The same from the stored crop and maps of a row of status ok.

    Raises:
        RunError: a picture is missing or torn, of another size than the crop, or the depth has
            not 16 bits.
    """
    key = row["key"]
    crop = _stored(store, INPUTS, key)
    landmarks, depth, mesh = (
        _stored(store, MAP_FOLDERS[name], key, crop.shape[:2]) if name in maps else None
        for name in ("landmarks", "depth", "mesh")
    )
    points = crop_of(row).to_crop(landmarks_of(row), crop.shape[0])
    return measure_pictures(crop, landmarks, depth, mesh, points)


def _stored(
    store: PictureStore, folder: str, key: str, size: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """A stored picture: uint16 [S, S] if it is depth, else uint8 [S, S, 3]."""
    is_depth = folder == MAP_FOLDERS["depth"]
    try:
        with Image.open(BytesIO(store.read(folder, key))) as picture:
            mode = picture.mode
            pixels = np.asarray(picture if is_depth else picture.convert("RGB"))
    except (OSError, SyntaxError) as error:  # PIL raises either for torn files
        raise RunError(store.place(folder, key), f"cannot be read ({error})", MEND) from error
    if is_depth and mode != "I;16":
        raise RunError(store.place(folder, key), f"is of mode {mode}, not of 16 bits", MEND)
    if size is not None and pixels.shape[:2] != size:
        found, wanted = ("x".join(map(str, shape[:2])) for shape in (pixels.shape, size))
        raise RunError(store.place(folder, key), f"is {found}, its crop {wanted} pixels", MEND)
    return pixels


def _luma_of_face(crop: Pixels, points: Floats) -> Floats:
    """The luma on the landmarks' box, as far as it lies in the crop, at least 3 × 3 pixels."""
    side = crop.shape[0]
    low = np.clip(np.floor(points.min(axis=0)), 0, side - 3).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)), low + 3, side).astype(int)
    return _luma(crop[low[1] : high[1], low[0] : high[0]])


def _luma(picture: Pixels) -> Floats:
    """[H, W, 3] to [H, W], grey levels."""
    levels = picture.astype(np.float32)
    return _LUMA[0] * levels[..., 0] + _LUMA[1] * levels[..., 1] + _LUMA[2] * levels[..., 2]


def bad_light(photo: Pixels) -> str:
    """Why nobody may see a face in a photo [H, W, 3], to go behind another reason; mostly empty.

    By the default limits of a face's light, as there is no face to measure.
    """
    grey = _luma(photo[:: max(1, photo.shape[0] // 256), :: max(1, photo.shape[1] // 256)])
    usual = QualityConfig()
    least, most = usual.brightness
    if not least <= grey.mean() <= most:
        tone = "black" if grey.mean() < least else "white"
        return f"; the photo is nearly {tone}, {grey.mean():.0f} of 255 grey levels on average"
    if grey.std() < usual.least_contrast:
        return f"; the photo has next to no contrast, {grey.std():.1f} of 255 grey levels"
    return ""


def _sharpness(grey: Floats) -> float:
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var())


def _share_inside(mask: NDArray[np.bool_], points: Floats) -> float:
    """Share of points that lie on a true pixel; those beyond the picture do not."""
    places = np.floor(points).astype(int)
    within = ((places >= 0) & (places < mask.shape[0])).all(axis=1)
    columns, rows = places[within].T
    return float(mask[rows, columns].sum()) / len(points)


def limits_of(config: QualityConfig) -> dict[str, tuple[float, float]]:
    """Least and most of every measure."""
    return {name: _limits(config, name) for name in MEASURES}


def _limits(config: QualityConfig, name: str) -> tuple[float, float]:
    if hasattr(config, name):
        return getattr(config, name)
    least = getattr(config, f"least_{name}", -math.inf)
    return least, getattr(config, f"most_{name}", math.inf)


def faults_of(
    row: Mapping[str, Any],
    config: QualityConfig,
    pictures: Collection[str] = ("inputs", *MAP_FOLDERS),
) -> list[str]:
    """What is out of range in a row, in words; measures that were not taken are passed over.

    Args:
        row: a manifest row.
        config: the limits.
        pictures: the maps whose measures count, and "inputs".
    """
    faults = []
    for name, (least, most) in limits_of(config).items():
        value = _frontal_fit_error(row) if name == "fit_error" else row.get(name)
        if name == "mesh_coverage" and row.get("crop_rule") == AS_IS:
            most = 1.0  # a photo that was cropped before may show nothing but the face
        if MEASURES[name] not in pictures or value is None or math.isnan(value):
            continue
        if not least <= value <= most:
            faults.append(f"{name} {value:.4g}, allowed {_allowed(least, most)}")
    return faults


def _frontal_fit_error(row: Mapping[str, Any]) -> float | None:
    """The fit error over the eyes' distance as the front shows it: in profile hardly any is left.

    The manifest's is over their distance in the photo, which a head's yaw shortens by its cosine.
    """
    error, yaw = row.get("fit_error"), row.get("yaw")
    if error is None or yaw is None or math.isnan(yaw):
        return error
    return error * abs(math.cos(math.radians(yaw)))


def _allowed(least: float, most: float) -> str:
    if most == math.inf:
        return f"at least {least:g}"
    return f"at most {most:g}" if least == -math.inf else f"{least:g} to {most:g}"


def invented_border(row: Mapping[str, Any]) -> float | None:
    """The share of a row's crop that lies beyond its photo; None where the row has no crop."""
    square = [row.get(name) for name in ("crop_x", "crop_y", "crop_side", "width", "height")]
    if any(value is None or math.isnan(value) for value in square):
        return None
    return invented_share(crop_of(row), row["width"], row["height"])


def judge_row(row: Row, config: QualityConfig) -> None:
    """Set a usable row's status and reason by its measures; may be called again and again.

    A row whose pictures could be made is `ok`, `doubtful` or `out_of_range`; all other statuses
    stay. What is not known to be a face is doubtful, whatever else is wrong with it. Rows from
    before it was measured are given their invented border.
    """
    if row["status"] in WITH_PICTURES:
        if row.get("invented_border") is None:
            row["invented_border"] = invented_border(row)
        doubts, faults = doubts_of(row, config), faults_of(row, config)
        faults += _unsound_buffers(row, config)
        row["status"] = DOUBTFUL if doubts else OUT_OF_RANGE if faults else OK
        row["reason"] = "; ".join(doubts + faults)


def _unsound_buffers(row: Mapping[str, Any], config: QualityConfig) -> list[str]:
    """What preprocess found wrong with the buffers, with each photo's own shape, in words."""
    told = row.get("buffer_faults") if config.sound_buffers else None
    return [f"buffers: {part}" for part in (told or "").split("; ") if part]


def doubts_of(row: Mapping[str, Any], config: QualityConfig) -> list[str]:
    """Why a row's landmarks may be wrong, in words; none where no confidence was taken."""
    value = row.get("confidence")
    least, most = config.confidence
    if value is None or math.isnan(value) or least <= value <= most:
        return []
    return [f"confidence {value:.4g}, allowed {least:g} to {most:g}"]
