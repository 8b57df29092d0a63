"""What the manifest knows beyond the pictures: labels, captions and splits, joined by key.

`Annotations` are read once, at the start of a run. An `Index` is opened over all photos, of which
it keeps the keys, and then completes their rows one by one, so that rows may stream past it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import as_if_there
from sfe_core.corpus.annotations.blip_captions import BlipCaptions
from sfe_core.corpus.annotations.captioning import Captioner, names_blip, read_sources
from sfe_core.corpus.annotations.captions import (
    CaptionFile,
    Captions,
    check_template,
    read_captions,
)
from sfe_core.corpus.annotations.label_file import LabelFile, read_label_file
from sfe_core.corpus.annotations.labels import Label, Labels, labels_of, with_more_labels
from sfe_core.corpus.annotations.read_emotions import ReadEmotions
from sfe_core.corpus.annotations.sidecars import TextsBeside
from sfe_core.corpus.manifest import COLUMNS, MISSING, OK, Row
from sfe_core.corpus.people.albums import person_of
from sfe_core.corpus.people.duplicates import HashedFace
from sfe_core.corpus.people.sides import Sides, choose_sides
from sfe_core.corpus.people.subjects import read_celeba
from sfe_core.corpus.quality import judge_row
from sfe_core.errors import UserError


@dataclass(frozen=True)
class Annotations:
    """All that people, and BLIP, said of the photos so far.

    Attributes:
        workspace: whose photos.
        labels, captions: labels.csv and captions.json.
        beside: texts and metadata beside the photos.
        celeba: people by CelebA's list.
        blip: what BLIP said of crops; None where captions do without.
        emotions: what a recogniser read off crops; None where only labels tell.
    """

    workspace: Workspace
    labels: LabelFile
    captions: CaptionFile
    beside: TextsBeside
    celeba: Mapping[str, str]
    blip: BlipCaptions | None
    emotions: ReadEmotions | None = None

    @classmethod
    def read(cls, workspace: Workspace, texts: Iterable[str]) -> Annotations:
        """Read labels, captions and texts.

        Args:
            workspace: whose.
            texts: beside the photos, see `PhotoScan.texts`.

        Raises:
            UserError: labels, captions, template or caption sources are wrong; BLIP is asked for
                and not on this machine; likewise what reads emotions.
        """
        config, photos = workspace.config, workspace.photos
        check_template(config.preprocess.caption_template)
        blip = BlipCaptions.open(workspace) if names_blip(config.captions.sources) else None
        for name in (config.photos.labels, config.photos.captions):
            _refuse_away(photos / name)
        return cls(
            workspace,
            read_label_file(photos / config.photos.labels, config.photos.classes),
            read_captions(photos / config.photos.captions),
            TextsBeside(photos, texts, config.photos.classes),
            read_celeba(photos),
            blip,
            ReadEmotions.open(workspace),
        )


@dataclass(frozen=True)
class Index:
    """Labels, captions and splits of a workspace's photos.

    Attributes:
        annotations: as read.
        labels: by key.
        captions: of captions.json, by key.
        captioned: how many photos have a caption, there or beside them.
        captioner: makes the captions.
        faces: the usable ones.
        sides: people and copies among them, and their splits.
        notes: what a person should know of the files, a sentence each.
        said: what captions beside the photos come from.
    """

    annotations: Annotations
    labels: Labels
    captions: Captions
    captioned: int
    captioner: Captioner
    faces: list[HashedFace]
    sides: Sides
    notes: tuple[str, ...]
    said: str

    def with_new_vectors(self) -> Index:
        """The same with people told anew, after more faces were compared."""
        return replace(self, sides=_sides(self.annotations, self.faces, self.labels))

    def complete(self, row: Mapping[str, Any]) -> Row:
        """A row with its labels, caption and split; those of an earlier run are forgotten."""
        pictures = {name: value for name, value in row.items() if name in COLUMNS}
        judge_row(pictures, self.annotations.workspace.config.quality)
        label = self.labels.by_key.get(row["key"], Label())
        source_of_emotion = "labels" if label.emotion else None
        reader = self.annotations.emotions
        if reader and label.emotion is None and (read := reader.of(pictures)):
            label, source_of_emotion = replace(label, emotion=read), reader.recogniser
        blip = self.annotations.blip.text(pictures) if self.annotations.blip else ""
        caption, source = self.captioner.caption(row["key"], label, blip)
        placed = pictures["status"] in (OK, MISSING)
        return (
            pictures
            | label.extra
            | {
                "emotion": label.emotion,
                "emotion_source": source_of_emotion,
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


def open_index(annotations: Annotations, items: Iterable[Mapping[str, Any]]) -> Index:
    """Find out which photo each annotation is about, and share out the splits.

    Args:
        annotations: of the photos.
        items: a row per face, with at least key, status and the measures that `judge_row` looks
            at; gone through once, of which only keys and hashes are kept.

    Raises:
        UserError: faces are to be clustered, and what does it is not installed.
    """
    config = annotations.workspace.config
    usable: dict[str, bool] = {}
    faces: list[HashedFace] = []
    for item in items:
        judged = as_if_there(item)  # a photo that is away keeps its labels and its side
        judge_row(judged, config.quality)
        # A refused photo bears the key of the one that has its place.
        usable[judged["key"]] = usable.get(judged["key"], False) or judged["status"] == OK
        if judged["status"] == OK:
            faces.append(HashedFace.of_row(judged))
    beside = annotations.beside.of(usable)
    labels = with_more_labels(labels_of(annotations.labels, usable), beside.labels)
    captions = annotations.captions.of(usable)
    written = beside.captions | captions.by_key
    origins = {key: o for key, o in beside.origins.items() if key not in captions.by_key}
    parts = read_sources(config.captions.sources)
    return Index(
        annotations,
        labels,
        captions,
        len(written),
        Captioner(
            parts,
            config.preprocess.caption_template,
            written,
            origins,
            config.captions,
            person_of,
        ),
        faces,
        _sides(annotations, faces, labels),
        (*labels.notes, *captions.notes, *beside.notes),
        beside.said,
    )


def _sides(annotations: Annotations, faces: list[HashedFace], labels: Labels) -> Sides:
    return choose_sides(annotations.workspace, faces, labels.by_key, annotations.celeba)


def _refuse_away(path: Path) -> None:
    """Refuse a link that leads nowhere: without what it led to, every label would be lost."""
    if path.is_symlink() and not path.exists():
        raise UserError(
            path, f"links to {path.readlink()}, which is not there", "restore that, or remove it"
        )
