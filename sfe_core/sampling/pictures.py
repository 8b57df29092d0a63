"""The pictures of a split, one PNG per key, drawn once and found again.

They lie at `generated/<split>/<variant>-<settings hash>/<key>.png`, at the model's resolution. The
hash covers all that the pictures of a series share (`settings.DrawSettings`), so base pictures
serve every checkpoint. Each PNG records its own prompt, seed and maps, so that a changed caption or
a corpus made anew redraws just what it changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.files import check_key, derive_seed, write_json
from sfe_core.packaging.listing import guidance_maps, newest_package
from sfe_core.reporting import Reporter
from sfe_core.sampling.drawing import Order, Recipe, draw_all
from sfe_core.sampling.pipelines import (
    load_pipeline,
    pipeline_folder,
    sampling_device,
    sampling_precision,
)
from sfe_core.sampling.pngs import read_record, save_png
from sfe_core.sampling.prompts import clean_prompt
from sfe_core.sampling.settings import VARIANTS, DrawSettings, Variant, draw_settings

_TITLES = {
    "base": "drawing with the base model",
    "text": "drawing from captions",
    "guided": "drawing from captions and maps",
}


@dataclass(frozen=True)
class Series:
    """The pictures of one split, variant and settings: where they lie and what was done for them.

    Args:
        folder: holds `<key>.png` and settings.json.
        drawn: pictures drawn now.
        reused: pictures found as asked for.
    """

    folder: Path
    settings: DrawSettings
    drawn: int
    reused: int

    def picture(self, key: str) -> Path:
        """Where the picture of `key` lies."""
        return self.folder / f"{key}.png"


def draw_split(
    workspace: Workspace,
    split: str,
    variant: Variant,
    package: Path | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Draw what is missing of a split, and say where its pictures lie.

    Args:
        split: name of a split of the corpus.
        variant: base (base model, caption alone), text (package, caption alone) or guided
            (package, caption and the corpus's maps).
        package: packaged pipeline folder; None = the newest. Plays no part in base.

    Returns:
        The folder of `<key>.png`, RGB at `model.resolution`.

    Raises:
        UserError: no corpus, unknown split or variant, no package, missing base model.
        RunError: torn weights or maps, values that are not finite, out of memory at one picture.
    """
    return draw_series(workspace, split, variant, package, reporter).folder


def draw_series(
    workspace: Workspace,
    split: str,
    variant: Variant,
    package: Path | None = None,
    reporter: Reporter | None = None,
) -> Series:
    """As `draw_split`, and tell how many pictures were drawn and reused."""
    reporter = reporter or Reporter()
    if variant not in VARIANTS:
        raise UserError("variant", f"{variant!r} is unknown", f"use {', '.join(VARIANTS)}")
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    if package is None and variant != "base":
        package = newest_package(workspace)
    source = pipeline_folder(variant, workspace.config, package)
    device = sampling_device()
    precision = sampling_precision(device)
    settings = draw_settings(
        variant,
        source,
        workspace.config.sampling,
        workspace.config.model.resolution,
        str(precision).removeprefix("torch."),
        guidance_maps(package) if variant == "guided" else (),
        workspace.generated / "weights.json",
    )
    folder = workspace.generated / split / settings.folder_name
    wanted = [(row, _record(row, settings)) for row in rows.to_dict("records")]
    missing = [
        (row, record)
        for row, record in wanted
        if read_record(folder / f"{row['key']}.png") != record
    ]
    if missing:
        write_json(folder / "settings.json", asdict(settings))
        pipeline = load_pipeline(variant, source, settings.scheduler, device, precision)
        _warn_of_long_prompts(pipeline.tokenizer, missing, reporter)
        _draw_missing(workspace, corpus, pipeline, settings, folder, missing, reporter)
    return Series(folder, settings, drawn=len(missing), reused=len(wanted) - len(missing))


def _record(row: dict[str, Any], settings: DrawSettings) -> dict[str, Any]:
    """All that decides the picture of one row."""
    key = check_key(row["key"], "corpus/manifest.parquet")
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    return {
        "settings": settings.sha256,
        "key": key,
        "prompt": clean_prompt(caption),
        "seed": derive_seed(settings.seed, key, "noise"),
        "maps": {name: row[f"{name}_sha256"] for name in settings.strengths},
    }


def _draw_missing(
    workspace: Workspace,
    corpus: Corpus,
    pipeline: Any,
    settings: DrawSettings,
    folder: Path,
    missing: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    reporter: Reporter,
) -> None:
    recipe = Recipe(
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        negative_prompt=settings.negative_prompt,
        resolution=settings.resolution,
        strengths=settings.strengths,
    )
    records = {record["key"]: record for _, record in missing}
    batch_size = workspace.config.sampling.batch_size
    orders = _orders(corpus, settings, records.values())
    with reporter.task(_TITLES[settings.variant], len(records)) as task:
        for order, pixels in draw_all(pipeline, orders, recipe, batch_size, reporter):
            target = folder / f"{order.key}.png"
            save_png(Image.fromarray(pixels), target, records[order.key])
            task.advance()


def _orders(corpus: Corpus, settings: DrawSettings, records: Any) -> Iterator[Order]:
    # Lazily, so that only one batch of maps is in memory.
    for record in records:
        names = tuple(settings.strengths)
        maps = corpus.maps(record["key"], settings.resolution, names) if names else {}
        yield Order(record["key"], record["prompt"], record["seed"], maps)


def _warn_of_long_prompts(
    tokenizer: Any, missing: Sequence[tuple[dict[str, Any], dict[str, Any]]], reporter: Reporter
) -> None:
    prompts = [record["prompt"] for _, record in missing]
    window = tokenizer.model_max_length
    lengths = [len(ids) for ids in tokenizer(prompts, truncation=False, verbose=False).input_ids]
    cut = sum(length > window for length in lengths)
    if cut:
        reporter.warn(
            f"{cut} of {len(prompts)} captions are longer than the text encoder's {window} tokens "
            f"(longest {max(lengths)}): their ends have no part in the pictures"
        )
