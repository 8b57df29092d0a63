"""What the manifest knows beyond the pictures: labels, captions and splits, joined by key."""

from __future__ import annotations

from dataclasses import dataclass

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.captions import check_template, read_captions, template_caption
from sfe_core.corpus.labels import Label, read_labels
from sfe_core.corpus.manifest import COLUMNS, OK
from sfe_core.corpus.photo_work import Row
from sfe_core.corpus.splits import SplitItem, assign_splits


@dataclass(frozen=True)
class IndexCounts:
    """How the label and caption files met the photos."""

    labels_matched: int
    labels_unmatched: int
    captions_matched: int
    captions_unmatched: int


def complete_rows(workspace: Workspace, rows: list[Row]) -> tuple[list[Row], IndexCounts]:
    """Rows with their labels, captions and splits; those of an earlier run are forgotten.

    Raises:
        UserError: labels, captions or template are wrong.
    """
    config = workspace.config
    keys = [row["key"] for row in rows]
    labels = read_labels(workspace.photos / config.photos.labels, keys)
    captions = read_captions(workspace.photos / config.photos.captions, keys)
    template = check_template(config.preprocess.caption_template)
    completed = []
    for row in rows:
        label = labels.by_key.get(row["key"], Label())
        text = captions.by_key.get(row["key"])
        pictures = {name: value for name, value in row.items() if name in COLUMNS}
        completed.append(
            pictures
            | label.extra
            | {
                "emotion": label.emotion,
                "valence": label.valence,
                "arousal": label.arousal,
                "identity": label.identity,
                "caption": text or template_caption(template, label.emotion),
                "caption_source": "captions" if text else "template",
                "split": "",
            }
        )
    _split(workspace, completed)
    counts = IndexCounts(
        len(labels.by_key), labels.unmatched, len(captions.by_key), captions.unmatched
    )
    return completed, counts


def _split(workspace: Workspace, rows: list[Row]) -> None:
    """Set `split` on the usable rows."""
    settings = workspace.config.split
    items = [
        SplitItem(row["key"], row["identity"], row["emotion"])
        for row in rows
        if row["status"] == OK
    ]
    splits = assign_splits(
        items,
        settings.validation_name,
        settings.validation_count,
        settings.validation_fraction,
    )
    for row in rows:
        if row["status"] == OK:
            row["split"] = splits[row["key"]]
