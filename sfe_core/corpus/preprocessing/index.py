"""What the manifest knows beyond the pictures: labels, captions and splits, joined by key.

An `Index` is opened over all photos, of which it keeps the keys, and then completes their rows one
by one, so that rows may stream past it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import as_if_there
from sfe_core.corpus.annotations.blip_captions import BlipCaptions
from sfe_core.corpus.annotations.captioning import Captioner, names_blip, read_sources
from sfe_core.corpus.annotations.captions import check_template, read_captions
from sfe_core.corpus.annotations.labels import Label, Labels, read_labels, with_more_labels
from sfe_core.corpus.annotations.sidecars import read_beside
from sfe_core.corpus.artefacts.quality import judge_row
from sfe_core.corpus.manifest import COLUMNS, MISSING, OK
from sfe_core.corpus.people.duplicates import HashedFace
from sfe_core.corpus.people.sides import Sides, choose_sides
from sfe_core.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class IndexCounts:
    """How the label and caption files met the photos."""

    labels_matched: int
    labels_unmatched: int
    label_scheme: str | None
    captions_matched: int
    captions_unmatched: int


@dataclass(frozen=True)
class Index:
    """Labels, captions and splits of a workspace's photos.

    Attributes:
        workspace: whose.
        labels: by key.
        captioner: makes the captions.
        blip: what BLIP said of crops; None where captions do without.
        sides: people and copies among the usable faces, and their splits.
        counts: how the files met the photos.
        notes: what a person should know of the files, a sentence each.
        said: what captions beside the photos come from.
    """

    workspace: Workspace
    labels: Labels
    captioner: Captioner
    blip: BlipCaptions | None
    sides: Sides
    counts: IndexCounts
    notes: tuple[str, ...] = ()
    said: str = ""

    def complete(self, row: Mapping[str, Any]) -> Row:
        """A row with its labels, caption and split; those of an earlier run are forgotten."""
        pictures = {name: value for name, value in row.items() if name in COLUMNS}
        judge_row(pictures, self.workspace.config.quality)
        label = self.labels.by_key.get(row["key"], Label())
        blip = self.blip.text(pictures) if self.blip else ""
        caption, source = self.captioner.caption(row["key"], label, blip)
        placed = pictures["status"] in (OK, MISSING)
        return (
            pictures
            | label.extra
            | {
                "emotion": label.emotion,
                "valence": label.valence,
                "arousal": label.arousal,
                "identity": self.sides.people.of.get(row["key"], label.identity),
                "identity_source": self.sides.people.source.get(row["key"]),
                "duplicate_of": self.sides.duplicates.first(row["key"]),
                "caption": caption,
                "caption_source": source,
                "split": self.sides.splits.get(row["key"], "") if placed else "",
            }
        )


def open_index(workspace: Workspace, items: Iterable[Mapping[str, Any]]) -> Index:
    """Read labels and captions, and share out the splits.

    Args:
        workspace: with its labels and captions.
        items: a row per face, with at least key, status and the measures that `judge_row` looks
            at; gone through once, of which only keys and hashes are kept.

    Raises:
        UserError: labels, captions, template or caption sources are wrong; BLIP is asked for and
            not on this machine.
    """
    config = workspace.config
    template = check_template(config.preprocess.caption_template)
    parts = read_sources(config.captions.sources)
    blip = BlipCaptions.open(workspace) if names_blip(config.captions.sources) else None
    usable: dict[str, bool] = {}
    faces: list[HashedFace] = []
    for item in items:
        judged = as_if_there(item)  # a photo that is away keeps its labels and its side
        judge_row(judged, config.quality)
        # A refused photo bears the key of the one that has its place.
        usable[judged["key"]] = usable.get(judged["key"], False) or judged["status"] == OK
        if judged["status"] == OK:
            faces.append(HashedFace.of_row(judged))
    for name in (config.photos.labels, config.photos.captions):
        _refuse_away(workspace.photos / name)
    labels = read_labels(workspace.photos / config.photos.labels, usable, config.photos.classes)
    captions = read_captions(workspace.photos / config.photos.captions, usable)
    beside = read_beside(workspace.photos, usable, config.photos.classes)
    labels = with_more_labels(labels, beside.labels)
    notes = (*labels.notes, *captions.notes, *beside.notes)
    counts = IndexCounts(
        len(labels.by_key),
        labels.unmatched,
        labels.scheme,
        len(captions.by_key | beside.captions),
        captions.unmatched,
    )
    captioner = Captioner(
        parts,
        template,
        beside.captions | captions.by_key,
        _origins(beside.origins, captions.by_key),
    )
    sides = choose_sides(workspace, faces, labels.by_key)
    return Index(workspace, labels, captioner, blip, sides, counts, notes, beside.said)


def _refuse_away(path: Path) -> None:
    """Refuse a link that leads nowhere: without what it led to, every label would be lost."""
    if path.is_symlink() and not path.exists():
        raise UserError(
            path, f"links to {path.readlink()}, which is not there", "restore that, or remove it"
        )


def _origins(beside: Mapping[str, str], written: Mapping[str, str]) -> dict[str, str]:
    """What the captions beside photos come from, of the photos that captions.json leaves out."""
    return {key: origin for key, origin in beside.items() if key not in written}


def complete_rows(workspace: Workspace, rows: list[Row]) -> tuple[list[Row], IndexCounts]:
    """Rows with their labels, captions and splits; those of an earlier run are forgotten.

    Raises:
        UserError: see `open_index`.
    """
    index = open_index(workspace, rows)
    return [index.complete(row) for row in rows], index.counts
