"""One sheet that tells what a rig can do: photos of a person, and edits of each beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.files import atomic_path
from sfe_core.reporting import Reporter
from sfe_core.sampling.editing.edit import Edited, edit
from sfe_core.sampling.editing.plan import BUFFERS_FOLDER
from sfe_core.sampling.editing.request import Edit, EditRequest
from sfe_core.sampling.sheets import Tile, compose_grid

_PHOTO, _UNEDITED = "photo", "drawn as it is"


def usual_edits() -> dict[str, Edit]:
    """Heading to edit: nothing, then expression, pose and light, each alone and all in one."""
    every = Edit(asked=AskedExpression("surprise"), yaw=20.0, light="left")
    return {
        _UNEDITED: replace(every, strength=0.0),
        "surprise": Edit(asked=every.asked),
        "yaw +20": Edit(yaw=every.yaw),
        "light left": Edit(light=every.light),
        "all three": every,
    }


def write_edit_story(
    workspace: Workspace,
    photos: Sequence[Path],
    package: Path,
    target: Path,
    edits: Mapping[str, Edit] | None = None,
    steps: int = 20,
    reporter: Reporter | None = None,
) -> Path:
    """Draw edits of some photos, and lay them out: a row per photo, the photo first.

    Args:
        workspace: says how faces are found and fitted; takes the pictures of each edit.
        photos: that show a face.
        package: of recipe physical.
        target: the PNG to write.
        edits: heading to edit; None: `usual_edits`.
        steps: of denoising, DPM-Solver++.
        reporter: told of progress.

    Returns:
        `target`.

    Raises:
        UserError, RunError: see `edit`.
    """
    edits = usual_edits() if edits is None else edits
    made = {
        heading: edit(
            workspace,
            EditRequest(tuple(photos), one, steps=steps, sampler="dpm-solver++", redraws=1),
            str(package),
            reporter,
        )
        for heading, one in edits.items()
    }
    first = next(iter(made.values()))
    tiles: list[Tile] = []
    for row in range(len(photos)):
        tiles.append((_PHOTO, _photo_of(first, row)))
        tiles += [(heading, Image.open(one.pictures[row])) for heading, one in made.items()]
    with atomic_path(target) as partial:
        sheet = compose_grid(tiles, f"drawn by {package.name}", len(made) + 1)
        sheet.save(partial, format="PNG")
    return target


def _photo_of(made: Edited, row: int) -> Image.Image:
    """The crop that an edit began with: the first panel of its strip of buffers."""
    with Image.open(
        made.folder / BUFFERS_FOLDER / made.pictures[row].relative_to(made.folder)
    ) as strip:
        return strip.crop((0, 0, strip.height, strip.height))
