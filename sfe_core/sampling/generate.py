"""Single pictures and sweeps from a prompt, each drawn once and found again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.files import atomic_path, sha256_json
from sfe_core.packaging.listing import newest_package, refuse_rig
from sfe_core.reporting import Reporter
from sfe_core.sampling.drawing import Order, draw_all
from sfe_core.sampling.photo_units import PhotoUnits
from sfe_core.sampling.pipelines import (
    load_pipeline,
    sampling_device,
)
from sfe_core.sampling.pngs import read_record, save_png
from sfe_core.sampling.prompts import tell_of_prompts
from sfe_core.sampling.settings import DrawSettings, lora_files
from sfe_core.sampling.sheets import compose_grid, save_animation
from sfe_core.sampling.shot_conditions import (
    Conditions,
    conditions_of,
    ways_of,
    with_embeddings,
    with_fusion,
)
from sfe_core.sampling.sweep import Request, Shot, plan_shots
from sfe_core.sampling.unit_prompts import shots_in_words

FOLDER, GRID, ANIMATION = "prompts", "grid.png", "sweep.webp"
_SLUG_LENGTH = 40
_LONGEST_ROW = 8


@dataclass(frozen=True)
class Generated:
    """What a request drew.

    Args:
        folder: holds the pictures.
        pictures: in order.
        grid: all of them with headings; None for a single one.
        animation: a sweep over anything but seeds as a moving picture, along its first axis.
        prompts: as given to the sampler, in order.
        drawn: pictures drawn now; the others stood from before.
        shown: action units read off the photo whose expression was to change.
    """

    folder: Path
    pictures: tuple[Path, ...]
    grid: Path | None
    animation: Path | None
    prompts: tuple[str, ...]
    drawn: int
    shown: PhotoUnits | None = None


def generate(
    workspace: Workspace,
    request: Request,
    package: Path | None = None,
    reporter: Reporter | None = None,
    folder: Path | None = None,
) -> Generated:
    """Draw a request with a packaged model.

    What is asked of the face is shown to it by maps of a guiding face, and told as action units to
    a package that knows them; one without encoders for maps is told them alone. One with neither is
    told them in the text, where the workspace's captions name units. Words that the package learnt
    as embeddings are told so, at their strength, and no face guides unless it is asked for.

    Args:
        package: packaged pipeline folder; None = the newest.
        folder: where the pictures go; None = `generated/prompts/<first words>-<hash>/`.

    Raises:
        UserError: no package or one of recipe physical, one without encoders where a face must
            guide, one that knows none of the units asked for, no face in the photo, or a file in
            `folder` that would be overwritten and is no picture of ours.
        RunError: torn weights, values that are not finite, out of memory at one picture.
    """
    reporter = reporter or Reporter()
    config = workspace.config
    package = package or newest_package(workspace)
    refuse_rig(package, "sfe generate")
    shots = plan_shots(request, config.sampling.seed, config.preprocess.caption_template)
    shots = shots_in_words(with_embeddings(shots, package), request, package, config)
    shots = with_fusion(shots, package, workspace)
    ways = ways_of(workspace, request, shots, package, reporter)
    prompts = tuple(shot.prompt for shot in shots)
    some = next(iter(ways.settings.values()))
    tell_of_prompts(ways.source, list(dict.fromkeys(prompts)), some, "prompt", reporter)
    shown_to = conditions_of(workspace, shots, ways, reporter)
    records = [
        _record(ways.settings[shot.guided], shot, conditions)
        for shot, conditions in zip(shots, shown_to, strict=True)
    ]
    own = workspace.generated / FOLDER / f"{_slug(shots[0])}-{sha256_json(records)[:8]}"
    pictures = [(folder or own) / name for name in _file_names(shots)]
    if folder is not None:
        _check_own(pictures)
    missing = [place for place, path in enumerate(pictures) if read_record(path) != records[place]]
    orders = [_order(place, shots[place], shown_to[place]) for place in missing]
    for guided, settings in ways.settings.items():
        some_orders = [order for order in orders if shots[int(order.key)].guided == guided]
        if some_orders:
            _draw(workspace, ways.source, settings, some_orders, pictures, records, reporter)
    grid, animation = _sheets(request, shots, pictures, bool(ways.maps), anew=bool(missing))
    read = shown_to[0].read if request.change else None
    return Generated(folder or own, tuple(pictures), grid, animation, prompts, len(missing), read)


def _order(place: int, shot: Shot, shown: Conditions) -> Order:
    told = shown.maps, shown.units, shown.expressions or {}
    return Order(str(place), shot.prompt, shot.seed, *told, shot.fusion_prompt)


def _slug(shot: Shot) -> str:
    """The first words of a prompt as part of a folder's name."""
    return re.sub(r"[^\w]+", "-", shot.prompt.lower())[:_SLUG_LENGTH].strip("-")


def _file_names(shots: Sequence[Shot]) -> list[str]:
    return [
        f"{place:02d}-{re.sub(r'[^0-9a-z.]+', '-', shot.label.lower())}.png"
        for place, shot in enumerate(shots, start=1)
    ]


def _sheets(
    request: Request,
    shots: Sequence[Shot],
    pictures: Sequence[Path],
    face_guides: bool,
    anew: bool,
) -> tuple[Path | None, Path | None]:
    """Grid and animation of the pictures, made where they are missing, or `anew`."""
    if len(shots) < 2:
        return None, None
    axes, folder = request.axes(), pictures[0].parent
    along = len(axes[0].values) if axes else 1
    grid = folder / GRID
    moves = along > 1 and axes[0].kind != "seed"
    animation = folder / ANIMATION if moves else None
    if not anew and grid.is_file() and (animation is None or animation.is_file()):
        return grid, animation
    tiles = [(shot.label, Image.open(path)) for shot, path in zip(shots, pictures, strict=True)]
    in_a_row = len(axes) == 2 or (moves and axes[0].graded and along <= _LONGEST_ROW)
    with atomic_path(grid) as partial:
        sheet = compose_grid(
            tiles, _caption(request, shots, face_guides), along if in_a_row else None
        )
        sheet.save(partial, format="PNG")
    if animation is not None:
        frames = [tiles[place::along] for place in range(along)]
        save_animation(animation, frames, there_and_back=axes[0].graded)
    return grid, animation


def _caption(request: Request, shots: Sequence[Shot], face_guides: bool) -> str:
    """What all pictures of a grid share, below it."""
    face = "by action units" if any(shot.guided for shot in shots) else "text alone"
    face = "by expression embeddings" if any(shot.embedded for shot in shots) else face
    if face_guides:
        photos = {shot.like for shot in shots if shot.guided}
        face = "guided as the table says"
        if len(photos) == 1:
            photo = photos.pop()
            face = f"like {photo.name}" if photo else "guided by the parametric head"
        face += f", {request.change.told()}" if request.change else ""
    prompts = {shot.prompt for shot in shots}
    text = prompts.pop() if len(prompts) == 1 else request.prompt.strip()
    return " · ".join(part for part in (text, face, f"seed {shots[0].seed}") if part)


def _check_own(pictures: Sequence[Path]) -> None:
    for path in pictures:
        if path.exists() and read_record(path) is None:
            raise UserError(path, "exists and was not drawn by sfe", "give another --out")


def _record(settings: DrawSettings, shot: Shot, shown: Conditions) -> dict[str, Any]:
    """All that decides a picture, and what a reader wants to know of it."""
    record = {
        "settings": settings.sha256,
        "prompt": shot.prompt,
        "seed": shot.seed,
        "expression": shot.expression.record() if shot.expression else None,
        "maps": {
            name: hashlib.sha256(image.numpy().tobytes()).hexdigest()
            for name, image in shown.maps.items()
        },
        "drawn_with": {name: value for name, value in settings.recorded.items() if name != "seed"},
    }
    if shot.change is not None and shown.read is not None:
        record |= {"change": shot.change.record(), "read_by": shown.read.record()}
    if shown.expressions is not None:
        record["expressions"] = shown.expressions
    if shot.fusion_prompt:
        record["fusion_prompt"] = shot.fusion_prompt
    return record | {"units": shown.units} if shown.units else record


def _draw(
    workspace: Workspace,
    source: Path,
    settings: DrawSettings,
    orders: Sequence[Order],
    pictures: Sequence[Path],
    records: Sequence[dict[str, Any]],
    reporter: Reporter,
) -> None:
    device = sampling_device()
    pipeline = load_pipeline(
        settings.variant,
        source,
        settings.scheduler,
        device,
        getattr(torch, settings.precision),
        settings.safety_checker,
        lora_files(settings, workspace.config.sampling),
    )
    batch_size = workspace.config.sampling.batch_size
    with reporter.task("drawing", len(orders)) as task:
        for order, pixels in draw_all(pipeline, iter(orders), settings, batch_size, reporter):
            place = int(order.key)
            save_png(Image.fromarray(pixels), pictures[place], records[place])
            task.advance()
