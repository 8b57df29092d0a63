"""Which form a data set has, told by its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sfe_core.corpus.importing.caption_json import read_caption_json
from sfe_core.corpus.importing.class_folders import read_class_folders
from sfe_core.corpus.importing.classes import check_scheme
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.lists import read_list
from sfe_core.errors import UserError

Form = Literal["list", "folders", "captions"]


@dataclass(frozen=True)
class Source:
    """A data set: where it lies, its form, and what numbered classes mean in it."""

    path: Path
    form: Form
    scheme: str | None = None

    @property
    def brings_images(self) -> bool:
        """Whether it is a folder of images, rather than a list about them."""
        return self.form == "folders"

    def read(self, problems: Problems) -> Iterator[Entry]:
        """Its entries; what cannot be used goes to `problems`."""
        if self.form == "list":
            return read_list(self.path, self.scheme or "affectnet", problems)
        if self.form == "captions":
            return read_caption_json(self.path, problems)
        return read_class_folders(self.path, self.scheme, problems)


def find_source(path: Path, form: str | None, scheme: str | None) -> Source:
    """A data set from what the user named.

    Args:
        path: file or folder.
        form: one of Form; None to tell it from the files.
        scheme: what numbered classes mean, or None.

    Raises:
        UserError: no such path, form or scheme.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(path, "does not exist", "name the list or folder of a data set")
    if scheme is not None:
        check_scheme(scheme)
    if form is None:
        return Source(path, _form_of(path), scheme)
    for known in get_args(Form):
        if form == known:
            return Source(path, known, scheme)
    raise UserError("--format", f"{form!r} is unknown", f"choose {', '.join(get_args(Form))}")


def _form_of(path: Path) -> Form:
    if path.is_dir():
        return "folders"
    return "captions" if path.suffix.lower() == ".json" else "list"
