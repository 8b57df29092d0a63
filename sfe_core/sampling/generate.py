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
from sfe_core.corpus.preprocessing.single_photo import maps_of_scene, scene_of_photo
from sfe_core.errors import UserError
from sfe_core.files import atomic_path, sha256_json
from sfe_core.packaging.listing import action_units, guidance_maps, newest_package
from sfe_core.reporting import Reporter
from sfe_core.sampling.asked_face import head_scene, shared_maps, told_units, with_expression
from sfe_core.sampling.drawing import Order, draw_all
from sfe_core.sampling.pipelines import (
    load_pipeline,
    pipeline_folder,
    sampling_device,
    sampling_precision,
)
from sfe_core.sampling.pngs import read_record, save_png
from sfe_core.sampling.prompts import tell_of_prompts
from sfe_core.sampling.settings import DrawSettings, draw_settings
from sfe_core.sampling.sheets import compose_grid, save_animation
from sfe_core.sampling.sweep import Request, Shot, plan_shots
from sfe_core.sampling.unit_prompts import shots_in_words

FOLDER, GRID, ANIMATION = "prompts", "grid.png", "sweep.webp"
_SLUG_LENGTH = 40
_LONGEST_ROW = 8

Maps = dict[str, torch.Tensor]


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
    """

    folder: Path
    pictures: tuple[Path, ...]
    grid: Path | None
    animation: Path | None
    prompts: tuple[str, ...]
    drawn: int


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
    told them in the text, where the workspace's captions name units.

    Args:
        package: packaged pipeline folder; None = the newest.
        folder: where the pictures go; None = `generated/prompts/<first words>-<hash>/`.

    Raises:
        UserError: no package, one without encoders where a face must guide, one that knows none
            of the units asked for, no face in the photo, or a file in `folder` that would be
            overwritten and is no picture of ours.
        RunError: torn weights, values that are not finite, out of memory at one picture.
    """
    reporter = reporter or Reporter()
    config = workspace.config
    package = package or newest_package(workspace)
    shots = plan_shots(request, config.sampling.seed, config.preprocess.caption_template)
    known = action_units(package) if request.guided else ()
    alone = bool(known) and not guidance_maps(package) and not (request.like or request.head)
    worded = shots_in_words(shots, request, package, config)
    shots = worded or shots
    face_guides = request.guided and not (alone or worded)
    source = pipeline_folder("guided" if face_guides else "text", config, package)
    told = [told_units(shot.expression, known, alone) for shot in shots]
    names = _map_names(workspace, request, shots, package, reporter) if face_guides else ()
    settings = _settings(workspace, source, names, any(told))
    prompts = tuple(shot.prompt for shot in shots)
    tell_of_prompts(source, list(dict.fromkeys(prompts)), settings, "prompt", reporter)
    maps = _maps(workspace, request, shots, settings, reporter) if names else [{}] * len(shots)
    records = [_record(settings, *one) for one in zip(shots, maps, told, strict=True)]
    slug = re.sub(r"[^\w]+", "-", shots[0].prompt.lower())[:_SLUG_LENGTH].strip("-")
    given, own = folder, workspace.generated / FOLDER / f"{slug}-{sha256_json(records)[:8]}"
    folder = given or own
    pictures = [
        folder / f"{place:02d}-{re.sub(r'[^0-9a-z.]+', '-', shot.label.lower())}.png"
        for place, shot in enumerate(shots, start=1)
    ]
    if given is not None:
        _check_own(pictures)
    missing = [place for place, path in enumerate(pictures) if read_record(path) != records[place]]
    if missing:
        orders = [
            Order(str(place), shots[place].prompt, shots[place].seed, maps[place], told[place])
            for place in missing
        ]
        _draw(workspace, source, settings, orders, pictures, records, reporter)
    grid, animation = _sheets(request, shots, pictures, face_guides, anew=bool(missing))
    return Generated(folder, tuple(pictures), grid, animation, prompts, len(missing))


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
    face = "by action units" if request.guided else "text alone"
    if face_guides:
        face = f"like {request.like.name}" if request.like else "guided by the parametric head"
    prompts = {shot.prompt for shot in shots}
    text = prompts.pop() if len(prompts) == 1 else request.prompt.strip()
    return " · ".join(part for part in (text, face, f"seed {shots[0].seed}") if part)


def _check_own(pictures: Sequence[Path]) -> None:
    for path in pictures:
        if path.exists() and read_record(path) is None:
            raise UserError(path, "exists and was not drawn by sfe", "give another --out")


def _map_names(
    workspace: Workspace,
    request: Request,
    shots: Sequence[Shot],
    package: Path,
    reporter: Reporter,
) -> tuple[str, ...]:
    """The maps that guide: all of the package's, or those that a made-up face can have."""
    names = guidance_maps(package)
    if request.like is None or any(shot.expression for shot in shots):
        names = shared_maps(workspace.config.preprocess, names, reporter)
    if not names:
        raise UserError(
            "--like, --head", f"{package.name} has no encoder for the face's maps", "draw from text"
        )
    return names


def _settings(
    workspace: Workspace, source: Path, names: tuple[str, ...], units: bool
) -> DrawSettings:
    config = workspace.config
    precision = sampling_precision(sampling_device(), config.sampling.precision)
    return draw_settings(
        "guided" if names or units else "text",
        source,
        config.sampling,
        config.model.resolution,
        str(precision).removeprefix("torch."),
        names,
        workspace.generated / "weights.json",
        units,
    )


def _maps(
    workspace: Workspace,
    request: Request,
    shots: Sequence[Shot],
    settings: DrawSettings,
    reporter: Reporter,
) -> list[Maps]:
    """The maps of each shot; shots of one expression share them."""
    config = workspace.config.preprocess
    scene = head_scene(config) if request.like is None else scene_of_photo(request.like, config)
    made: dict[Any, Maps] = {}
    with reporter.task(
        "drawing the guiding face", len({shot.expression for shot in shots})
    ) as task:
        for shot in shots:
            if shot.expression in made:
                continue
            face = with_expression(scene, shot.expression) if shot.expression else scene
            made[shot.expression] = maps_of_scene(
                face, config, settings.resolution, tuple(settings.strengths)
            )
            task.advance()
    return [made[shot.expression] for shot in shots]


def _record(
    settings: DrawSettings, shot: Shot, maps: Maps, units: dict[str, float]
) -> dict[str, Any]:
    """All that decides a picture, and what a reader wants to know of it."""
    record = {
        "settings": settings.sha256,
        "prompt": shot.prompt,
        "seed": shot.seed,
        "expression": shot.expression.record() if shot.expression else None,
        "maps": {
            name: hashlib.sha256(image.numpy().tobytes()).hexdigest()
            for name, image in maps.items()
        },
        "drawn_with": {name: value for name, value in settings.recorded.items() if name != "seed"},
    }
    return record | {"units": units} if units else record


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
    )
    batch_size = workspace.config.sampling.batch_size
    with reporter.task("drawing", len(orders)) as task:
        for order, pixels in draw_all(pipeline, iter(orders), settings, batch_size, reporter):
            place = int(order.key)
            save_png(Image.fromarray(pixels), pictures[place], records[place])
            task.advance()
