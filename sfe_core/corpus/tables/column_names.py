"""The names of columns of labels, as people write them, and tables of labels with or without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sfe_core.controls.action_units import read_unit_column
from sfe_core.corpus.tables.classes import read_name
from sfe_core.corpus.tables.tables import (
    Table,
    names_a_picture,
    open_table,
    plain_name,
    read_number,
)
from sfe_core.errors import UserError

IMAGE_COLUMNS = (
    "key", "subdirectory_filepath", "path", "image_path", "img_path", "filepath", "file_path",
    "full_path", "relative_path", "rel_path", "filename", "file_name", "image_filename",
    "image_file", "image_name", "img_name", "file", "image", "img", "photo", "photo_name",
    "photo_path", "picture", "pic", "pth", "image_id", "img_id", "imagepath", "imagename",
)  # fmt: skip
# Names that a column of images bears, and that others bear as well.
WEAK_IMAGE_COLUMNS = ("input", "name", "id")
EMOTION_COLUMNS = (
    "emotion", "expression", "exp", "expr", "emotion_label", "expression_label", "emotion_name",
    "expression_name", "label", "class", "label_name", "class_name", "class_label", "emotions",
    "labels", "emo", "dominant_emotion", "emotion_class", "label_emotion", "emotion_id",
    "label_id", "class_id", "category", "target",
)  # fmt: skip
# Of these, names that columns of something else bear as well.
WEAK_EMOTION_COLUMNS = ("exp", "class", "labels", "class_id", "label_id", "category", "target")
BOX_COLUMNS = ("face_x", "face_y", "face_width", "face_height")
AFFECT_COLUMNS = ("valence", "arousal")
AFFECT_NAMES = {
    "valence": "valence", "val": "valence", "arousal": "arousal", "aro": "arousal",
}  # fmt: skip
# Name in somebody's table → column of labels.csv.
TEXT_COLUMNS = {
    "identity": "identity", "subject": "identity", "subject_id": "identity", "person": "identity",
    "person_id": "identity", "subjectid": "identity", "identity_id": "identity",
    "participant": "identity", "participant_id": "identity", "actor": "identity",
    "age": "age", "gender": "gender", "sex": "gender", "ethnicity": "ethnicity",
    "race": "ethnicity",
}  # fmt: skip
ATTRIBUTE_COLUMNS = ("age", "gender", "sex", "ethnicity", "race")
_AFFECTNET = (
    "subDirectory_filePath", *BOX_COLUMNS, "facial_landmarks", "expression", *AFFECT_COLUMNS,
)  # fmt: skip
_EXPW = (
    "path", "face_id", "face_top", "face_left", "face_right", "face_bottom", "face_confidence",
    "emotion",
)  # fmt: skip
_FERPLUS = (
    "path", "box", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear",
    "contempt", "unknown", "NF",
)  # fmt: skip
# Names of the columns of tables without a header, by their number.
WITHOUT_HEADER: dict[int, tuple[str, ...]] = {
    2: ("path", "emotion"),
    4: ("path", "emotion", *AFFECT_COLUMNS),
    8: _EXPW,
    9: _AFFECTNET,
    12: _FERPLUS,
}
# Of these, columns that may hold text.
_NO_NUMBERS = ("path", "emotion", "subDirectory_filePath", "facial_landmarks", "expression", "box",
               "face_x", "face_y", "face_width", "face_height")  # fmt: skip


def open_labels(path: Path) -> Table:
    """A table of labels; one without a header gets the names that its number of columns tells.

    Raises:
        UserError: it cannot be read, is empty, or has no header and an unknown number of columns.
    """
    table = open_table(path, is_header)
    if table.names:
        return table
    first = next((cells for _, cells in table.lines()), [])
    names = WITHOUT_HEADER.get(len(first), ())
    numbers = [cell for cell, name in zip(first, names, strict=False) if name not in _NO_NUMBERS]
    if not names or any(read_number(cell) is None for cell in numbers if cell):
        raise UserError(
            f"{path}:{table.first_line}",
            f"{len(first)} columns and no header",
            "give `path,emotion`, the columns of AffectNet, FERPlus or ExpW, or a header",
        )
    return replace(table, names=names)


def is_header(cells: list[str]) -> bool:
    """Whether a row holds names of columns: a row of data has a number, a file or an emotion."""
    plain = [plain_name(cell) for cell in cells]
    if any(names_a_picture(cell) or read_number(cell) is not None for cell in cells):
        return False
    if any(name in IMAGE_COLUMNS or name in EMOTION_COLUMNS for name in plain):
        return True
    if sum(read_unit_column(cell) is not None for cell in cells) > 1:
        return True
    classes = {read_name(cell) for cell in cells if cell and read_name(cell) != ""}
    if len(classes) > 1:
        return True
    return not classes and not any("/" in cell or "\\" in cell or "." in cell for cell in cells)
