"""Which form a data set has, told by its files.

A form is added by one file beside this one, which reads it, and one record in `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sfe_core.corpus.annotations.records import is_records
from sfe_core.corpus.importing.affectnet_arrays import (
    is_affectnet_arrays,
    read_affectnet_arrays,
)
from sfe_core.corpus.importing.caption_json import read_caption_json
from sfe_core.corpus.importing.class_folders import (
    has_classes,
    numbers_of_folders,
    read_class_folders,
)
from sfe_core.corpus.importing.concept_folders import (
    is_concept_folders,
    read_concept_folders,
)
from sfe_core.corpus.importing.emoca_tree import (
    is_emoca_tree,
    is_output_folders,
    read_emoca_tree,
    read_output_folders,
)
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.frame_codes import is_frame_codes, read_frame_codes
from sfe_core.corpus.importing.lists import numbers_of_list, read_list
from sfe_core.corpus.importing.open_list import container_of, is_parquet
from sfe_core.corpus.importing.rig_database import is_rig_database, read_rig_database
from sfe_core.corpus.importing.unit_lists import is_unit_list, read_unit_list, unit_columns
from sfe_core.corpus.importing.unit_sequences import is_unit_sequences, read_unit_sequences
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.photo_files import find_photos
from sfe_core.corpus.tables.classes import check_scheme
from sfe_core.corpus.tables.numbering import ask
from sfe_core.errors import UserError
from sfe_core.file_kinds import HEAD_BYTES, kind_of
from sfe_core.wording import listed

_LISTS_NAMED = 4
RIG_DATABASE = "diffusion-rig"


@dataclass(frozen=True)
class Source:
    """A data set: where it lies, its form, and what numbered classes mean in it.

    Attributes:
        path: file or folder.
        form: how it is read, one of `FORMS`.
        scheme: what its numbers mean; None where its classes have names.
        doubt: what speaks against the scheme that the user named.
        units: of the columns of a list that does not name them.
    """

    path: Path
    form: str
    scheme: str | None = None
    doubt: str = ""
    units: tuple[str, ...] = ()

    @property
    def images(self) -> Path | None:
        """The folder of the images that it brings; None for lists about images elsewhere."""
        return FORMS[self.form].images(self.path)

    @property
    def container(self) -> Path | None:
        """The file or data base that holds the pictures; None where they are files."""
        if self.form == RIG_DATABASE:
            return self.path
        return container_of(self.path) if self.form == "list" else None

    def read(self, image_keys: Collection[str], problems: Problems) -> Iterator[Entry]:
        """Its entries; what cannot be used goes to `problems`.

        Args:
            image_keys: paths of the images without suffix, for forms that name frames instead.
            problems: takes what cannot be used.
        """
        return FORMS[self.form].read(self, image_keys, problems)


@dataclass(frozen=True)
class Form:
    """A form that data sets have.

    Attributes:
        recognises: whether a file (of a folder's form: a folder) has it, told by what is there.
        read: entries of a source, from the keys of its images and what takes the problems.
        is_file: it is a file, not a folder.
        images: the folder of the images that it brings, by its path; None where they lie elsewhere.
    """

    recognises: Callable[[Path], bool]
    read: Callable[[Source, Collection[str], Problems], Iterator[Entry]]
    is_file: bool = False
    images: Callable[[Path], Path | None] = lambda path: path


def _is_emoca(path: Path) -> bool:
    return is_emoca_tree(path) or is_output_folders(path)


def _read_emoca(source: Source, _: Collection[str], problems: Problems) -> Iterator[Entry]:
    read = read_emoca_tree if is_emoca_tree(source.path) else read_output_folders
    return read(source.path, problems)


def _has_texts(path: Path) -> bool:
    _ask_for_list(path)
    return is_concept_folders(path)


def _is_captions(path: Path) -> bool:
    if is_parquet(path):
        return False
    is_json = path.suffix.lower() == ".json" or _first_letter(path) == "{"
    return is_json and not is_records(path)


def _beside(path: Path) -> Path | None:
    """Frames lie beside their codes, or elsewhere."""
    return path if find_photos(path) else None


# The first that recognises a path decides.
FORMS: dict[str, Form] = {
    "list": Form(
        lambda path: not (_is_captions(path) or is_unit_list(path)),
        lambda source, _, problems: read_list(source.path, source.scheme, problems),
        is_file=True,
        images=lambda _: None,
    ),
    "captions": Form(
        _is_captions,
        lambda source, _, problems: read_caption_json(source.path, problems),
        is_file=True,
        images=lambda _: None,
    ),
    "unit-list": Form(
        is_unit_list,
        lambda source, _, problems: read_unit_list(source.path, source.units, problems),
        is_file=True,
        images=lambda _: None,
    ),
    RIG_DATABASE: Form(
        is_rig_database,
        lambda source, _, problems: read_rig_database(source.path, problems),
        images=lambda _: None,
    ),
    "emoca": Form(
        _is_emoca,
        _read_emoca,
        images=lambda path: path / INPUTS if is_emoca_tree(path) else path,
    ),
    "affectnet-arrays": Form(
        is_affectnet_arrays,
        lambda source, _, problems: read_affectnet_arrays(source.path, problems),
    ),
    "units": Form(
        is_unit_sequences,
        lambda source, keys, problems: read_unit_sequences(source.path, keys, problems),
        images=_beside,
    ),
    "frames": Form(
        is_frame_codes,
        lambda source, keys, problems: read_frame_codes(source.path, keys, problems),
        images=_beside,
    ),
    "texts": Form(
        lambda path: not has_classes(path) and _has_texts(path),
        lambda source, _, problems: read_concept_folders(source.path, source.scheme, problems),
    ),
    "folders": Form(
        lambda _: True,
        lambda source, _, problems: read_class_folders(source.path, source.scheme, problems),
    ),
}


def find_source(
    path: Path,
    form: str | None,
    scheme: str | None,
    images: Path | None = None,
    units: str | None = None,
) -> Source:
    """A data set from what the user named.

    Args:
        path: file or folder.
        form: one of `FORMS`; None to tell it from the files.
        scheme: what numbered classes mean; None to tell it from the data set.
        images: the folder of its images, if the user named one; its name may tell the scheme.
        units: what the columns of a list of units without names are; None to tell it from the list.

    Raises:
        UserError: no such path, form, scheme or units; or nothing tells what its numbers mean.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(path, "does not exist", "name the list or folder of a data set")
    asked = check_scheme(scheme) if scheme is not None else None
    if not path.is_dir():
        _check_text(path)
    form = form or _form_of(path)
    if form not in FORMS:
        raise UserError("--format", f"{form!r} is unknown", f"choose {', '.join(FORMS)}")
    _check_kind(path, form)
    if form == "unit-list":
        return Source(path, form, units=unit_columns(path, units))
    if units is not None:
        raise UserError(
            "--units",
            f"is for lists that do not name their units, and {path.name} is read as {form}",
            "leave it out",
        )
    return _with_scheme(Source(path, form), asked, images)


def _with_scheme(source: Source, asked: str | None, images: Path | None) -> Source:
    """A source with what its numbers mean: as asked, or as its names and values tell."""
    if source.form == "texts":
        return replace(source, scheme=asked)
    evidence = None
    if source.form == "list":
        evidence = numbers_of_list(source.path, images)
    elif source.form == "folders":
        evidence = numbers_of_folders(source.path)
    if evidence is None:
        return source
    if asked:
        return replace(source, scheme=asked, doubt=evidence.doubt(asked))
    if evidence.scheme is None:
        raise ask(
            str(source.path),
            evidence,
            "say which with --classes NAME, or list the emotions from number 0",
        )
    return replace(source, scheme=evidence.scheme)


def _check_kind(path: Path, form: str) -> None:
    """Refuse a folder for a form that is a file, and the other way round."""
    if path.is_dir() == FORMS[form].is_file:
        wanted, found = ("file", "folder") if FORMS[form].is_file else ("folder", "file")
        raise UserError(path, f"is a {found}", f"--format {form} reads a {wanted}")


# What to do with a file that is not a list, by what its kind is called; else: save it as CSV.
_REMEDIES = {
    "archive": "unpack it, then import its folder",
    "picture": "import the folder that it lies in, or a list of its pictures",
    "video": "save its frames as pictures, then import their folder",
    "sound": "name a list or a folder of pictures",
    "empty": "check the path",
    "NumPy": "write a CSV with a line per picture; its pictures as files",
    "MATLAB": "write a CSV with a line per picture; its pictures as files",
    "HDF5": "write a CSV with a line per picture; its pictures as files",
    "pickle": "write a CSV with a line per picture; its pictures as files",
    "Arrow": "write its table as CSV and its pictures as files",
    "unknown": "name a list or a folder, of an LMDB its folder; a tfrecord must be exported first",
}


def _check_text(path: Path) -> None:
    """Refuse a file that is not text by what it is, whatever it is called.

    Raises:
        UserError: with the next step.
    """
    if not path.is_file():
        raise UserError(path, "is not a regular file", "name a list or a folder")
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check the path") from error
    kind = kind_of(head, path.suffix)
    is_workbook = kind.name == "a zip archive" and b"[Content_Types].xml" in head
    name = "an Excel workbook" if is_workbook else kind.name
    if (
        kind.name in ("a text file", "a Parquet table")
        or _is_utf16(head)
        or (b"\0" not in head and not kind.picture and kind.name == "a file of unknown kind")
    ):
        return
    called = "picture" if kind.picture else name
    remedy = next((text for word, text in _REMEDIES.items() if word in called), "save it as CSV")
    raise UserError(path, f"is {name}", remedy)


def _is_utf16(head: bytes) -> bool:
    """Whether every other byte is zero, as in UTF-16 without a mark."""
    return len(head) > 3 and (head[1:16:2].strip(b"\0") == b"" or head[:16:2].strip(b"\0") == b"")


def _form_of(path: Path) -> str:
    kinds = ((name, form) for name, form in FORMS.items() if form.is_file != path.is_dir())
    return next(name for name, form in kinds if form.recognises(path))


def _ask_for_list(folder: Path) -> None:
    """Refuse a folder of photos that lie in no classes, with lists right beside them.

    Raises:
        UserError: with the names of the lists.
    """
    endings = (".csv", ".tsv", ".lst", ".parquet", ".json", ".jsonl")
    lists = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in endings and path.is_file() and path.stem != "metadata"
        and not any(path.with_suffix(suffix).exists() for suffix in (".jpg", ".jpeg", ".png"))
    )  # fmt: skip
    if lists:
        raise UserError(
            folder,
            f"holds {listed(lists, _LISTS_NAMED)}, and no folder named after an emotion",
            f"name the list: sfe corpus import {folder / lists[0]} --images {folder}; "
            "or say --format texts, if texts lie beside the photos",
        )


def _first_letter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        return stream.read(64).lstrip()[:1]
