"""The action units that a photo's face shows, read off so that they can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from sfe_core.controls.action_units import MAXIMUM_INTENSITY
from sfe_core.controls.expression_change import WHERE, ExpressionChange
from sfe_core.controls.facial_actions import READABLE_UNITS, Sides, is_sided, units_of_actions
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.errors import UserError
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.sampling.asked_face import at_rest, by_side, crop_of, parametric_scene

FITTED_HEAD = "fitted head"


@dataclass(frozen=True)
class PhotoUnits:
    """What a photo's face shows.

    Args:
        read: who read them, to what it read: intensities 0 to 5 of the person's left and right.
    """

    read: Mapping[str, Mapping[str, Sides]]

    @property
    def units(self) -> dict[str, Sides]:
        """Of all readers."""
        return {code: sides for units in self.read.values() for code, sides in units.items()}

    def record(self) -> dict[str, Any]:
        """As it stands in a picture's record: reader to units, left and right."""
        return {
            reader: {code: list(sides) for code, sides in units.items()}
            for reader, units in self.read.items()
        }


class PhotoUnitsReader:
    """Reads the units of a photo: a network as many as it knows, the fitted head what else changes.

    Args:
        name: of the network, or its folder, see `load_unit_reader`.
        changes: of photos' units, all that will be asked for.

    Raises:
        UserError: no such network, or a unit that changes is read by neither.
    """

    def __init__(self, name: str, changes: Iterable[ExpressionChange]) -> None:
        self.name = Path(name).name
        self.network = cast(Any, load_unit_reader(name))
        known: Sequence[str] = self.network.units
        by_head = [code for change in changes for code in self._by_head(change)]
        lost = [code for code in by_head if code not in READABLE_UNITS]
        if lost:
            raise UserError(
                f"{WHERE} {lost[0]}",
                f"neither {self.name} nor the {FITTED_HEAD} reads it off a photo",
                f"choose of {', '.join(dict.fromkeys((*known, *READABLE_UNITS)))}",
            )

    def read(self, scene: FaceScene, change: ExpressionChange) -> PhotoUnits:
        """The units of a photo's face: all that the network knows, and what else changes."""
        read = {self.name: _by_network(self.network, scene)}
        by_head = self._by_head(change)
        if by_head:
            actions = parametric_scene(scene).head.codes["actions"]
            found = units_of_actions(actions - at_rest())
            read[FITTED_HEAD] = {code: found.get(code, (0.0, 0.0)) for code in by_head}
        return PhotoUnits(read)

    def _by_head(self, change: ExpressionChange) -> list[str]:
        return [code for code, _ in change.units if code not in self.network.units]


def told_of_change(
    change: ExpressionChange, shown: PhotoUnits, known: Iterable[str], sides: bool = True
) -> dict[str, float]:
    """What a network that knows some units is told: the photo's own, and what changes of them.

    A unit that nobody reads off the photo stays free.

    Args:
        known: FACS names.
        sides: see `told_units`.

    Returns:
        As `told_units`.
    """
    after = change.beside(shown.units).of_units(shown.units)
    return by_side({code: after[code] for code in known if code in after}, sides)


def _by_network(network: Any, scene: FaceScene) -> dict[str, Sides]:
    """Its readings, kept within 0 and 5, and even where both halves of a face move as one."""
    with torch.inference_mode():
        halves = network(crop_of(scene))[0].clamp(0.0, MAXIMUM_INTENSITY)
    units: dict[str, Sides] = {}
    for code, left, right in zip(network.units, *halves.tolist(), strict=True):
        if not is_sided(code):
            left = right = (left + right) / 2
        units[code] = (round(left, 3), round(right, 3))
    return units
