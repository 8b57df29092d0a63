"""Which sets of pictures are measured: those a package draws, or folders made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.evaluation.pictures import DrawnPictures, GivenPictures, PictureSet, RealPictures
from sfe_core.evaluation.summary import REAL, usual_set
from sfe_core.packaging.listing import can_guide
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter
from sfe_core.sampling.pictures import Series, draw_series
from sfe_core.sampling.settings import VARIANTS, Variant


@dataclass(frozen=True)
class PictureSets:
    """Sets by name, the photos last, and where they come from.

    Attributes:
        pictures: set → its pictures.
        package: the packaged model that drew them; None for folders made elsewhere.
        series: of the drawn ones, how.
    """

    pictures: dict[str, PictureSet]
    package: Path | None = None
    series: dict[str, Series] = field(default_factory=dict)


def drawn_sets(
    workspace: Workspace,
    split: str,
    package: Path,
    corpus: Corpus,
    reporter: Reporter,
    placement: Placement | None = None,
) -> PictureSets:
    """Base, text and (where the package reads maps or action units) guided, drawn where missing."""
    series: dict[str, Series] = {
        variant: draw_series(workspace, split, variant, package, reporter, placement)
        for variant in _drawable(package)
    }
    pictures: dict[str, PictureSet] = {
        variant: DrawnPictures(drawn.folder) for variant, drawn in series.items()
    }
    return PictureSets(pictures | {REAL: RealPictures(corpus)}, package, series)


def given_sets(images: Mapping[str, Path], keys: Sequence[str], corpus: Corpus) -> PictureSets:
    """Folders of pictures made elsewhere, by name.

    Raises:
        UserError: a name that cannot be one, or a folder without a picture of the split.
    """
    prefixes: dict[str, str] = {}
    for name in images:
        if not name.replace("-", "").replace("_", "").isalnum() or name == REAL:
            raise UserError(
                f"--images {name}=",
                f"{name!r} cannot name a set",
                "use letters, digits, - and _; real is the corpus's own photos",
            )
        other = prefixes.setdefault(usual_set(name).prefix, name)
        if other != name:
            raise UserError(
                f"--images {name}=", f"has the same columns as {other}", "give one of them"
            )
    pictures: dict[str, PictureSet] = {
        name: GivenPictures(folder, keys) for name, folder in images.items()
    }
    return PictureSets(pictures | {REAL: RealPictures(corpus)})


def _drawable(package: Path) -> tuple[Variant, ...]:
    """All drawn variants; a package that may be told nothing else draws from text alone."""
    return VARIANTS if can_guide(package) else ("base", "text")
