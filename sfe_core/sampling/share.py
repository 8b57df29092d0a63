"""One process's share of a series: from records to PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.picture_sections import SamplingConfig
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.drawing import is_blank
from sfe_core.reporting import Reporter, Task
from sfe_core.sampling.changed_photos import ChangedPhotos
from sfe_core.sampling.drawing import Order, draw_all
from sfe_core.sampling.pipelines import load_pipeline
from sfe_core.sampling.pngs import save_png
from sfe_core.sampling.settings import DrawSettings, lora_files

Record = dict[str, Any]  # all that decides one picture; written into its PNG


@dataclass(frozen=True)
class Share:
    """What the pictures of a share have in common.

    Args:
        source: the pipeline's folder.
        settings: of the series.
        folder: takes `<key>.png`.
        batch_size: pictures drawn at once.
        preprocess: how maps are made of photos that a record changes, by its `photo` and `change`.
        loras: the files of `settings.loras`, by path; see `lora_files`.
    """

    source: Path
    settings: DrawSettings
    folder: Path
    batch_size: int
    preprocess: PreprocessConfig | None = None
    loras: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.loras) != bool(self.settings.loras):
            raise ValueError("the settings tell of LoRAs and their files are not given")

    @classmethod
    def of(
        cls,
        sampling: SamplingConfig,
        source: Path,
        settings: DrawSettings,
        folder: Path,
        preprocess: PreprocessConfig | None = None,
    ) -> Self:
        """A share drawn as section `sampling` says, with its LoRAs."""
        loras = lora_files(settings, sampling)
        return cls(source, settings, folder, sampling.batch_size, preprocess, loras)


def draw_share(
    share: Share,
    records: Sequence[Record],
    corpus: Corpus,
    device: torch.device,
    reporter: Reporter,
    task: Task,
) -> None:
    """Draw a picture for each record, and write it with the record as soon as its batch is done.

    Raises:
        RunError: torn weights or maps, values that are not finite, out of memory at one picture.
    """
    settings = share.settings
    pipeline = load_pipeline(
        settings.variant,
        share.source,
        settings.scheduler,
        device,
        getattr(torch, settings.precision),
        settings.safety_checker,
        share.loras,
    )
    by_key = {record["key"]: record for record in records}
    orders = _orders(corpus, share, records)
    for order, pixels in draw_all(pipeline, orders, settings, share.batch_size, reporter):
        remarks = {"blank": True} if is_blank(pixels) else None
        target = share.folder / f"{order.key}.png"
        save_png(Image.fromarray(pixels), target, by_key[order.key], remarks)
        task.advance()


def _orders(corpus: Corpus, share: Share, records: Iterable[Record]) -> Iterator[Order]:
    # Lazily, so that only one batch of maps is in memory.
    settings, names = share.settings, tuple(share.settings.strengths)
    changed = None if share.preprocess is None else ChangedPhotos(corpus, share.preprocess)
    for record in records:
        maps: dict[str, Tensor] = {}
        if names and changed is not None and "change" in record:
            change = ExpressionChange.of_record(record["change"])
            maps = changed.maps(record["photo"], change, settings.resolution, names)
        elif names:
            maps = corpus.maps(record["key"], settings.resolution, names)
        units = record.get("units", {})
        told = record.get("expressions", {})
        fused = record.get("fusion_prompt", "")
        yield Order(record["key"], record["prompt"], record["seed"], maps, units, told, fused)
