"""What `--protocol physical` draws: edits of held-out photos, by each mode and by all at once.

Every photo takes expression, pose and light from others of the split. The edit by all of a number
takes the same from the same photos as the edits by one of that number, so that they compare in
pairs; all pictures of a photo start from one noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from sfe_core.corpus.people.albums import person_of
from sfe_core.errors import UserError
from sfe_core.evaluation.csv_tables import write_table
from sfe_core.files import derive_seed

Mode = Literal["own", "expression", "pose", "light", "all"]
Part = Literal["expression", "pose", "light", "shape"]
MODES: tuple[Mode, ...] = get_args(Mode)
PARTS: tuple[Part, ...] = get_args(Part)
# What a mode may take from a photo; each is a mode, and a part.
Changed = Literal["expression", "pose", "light"]
CHANGED: tuple[Changed, ...] = get_args(Changed)


@dataclass(frozen=True)
class PhysicalCommand:
    """One picture of the protocol.

    Attributes:
        name: its file, below a folder and without a suffix.
        key: of the photo that is edited.
        mode: own: drawn back from its own buffers.
        number: of the edit among those of its photo and mode.
        donors: part to the key of the photo that it is taken from.
    """

    name: str
    key: str
    mode: Mode
    number: int
    donors: Mapping[Part, str]

    def donor(self, part: Part) -> str:
        """The photo that a part of the face is asked to be like; the edited one itself at last."""
        return self.donors.get(part, self.key)


def physical_commands(keys: Sequence[str], edits: int, seed: int) -> list[PhysicalCommand]:
    """Every picture, photo by photo.

    Args:
        keys: of the photos, at least two; each gives to all others.
        edits: of each mode and photo.
        seed: of who takes from whom.

    Raises:
        UserError: nobody is there to take from.
    """
    if len(keys) < 2:
        raise UserError(
            "--protocol physical",
            f"the split holds {len(keys)} photo{'s' * (len(keys) != 1)} to edit",
            "an edit takes from another held-out photo: hold out two or more, see section split",
        )
    found = []
    for key in keys:
        found.append(PhysicalCommand(f"{key}/own", key, "own", 0, {}))
        others = [other for other in keys if other != key]
        drawn = {part: _drawn(others, edits, derive_seed(seed, key, part)) for part in CHANGED}
        for number in range(edits):
            donors: dict[Part, str] = {part: drawn[part][number] for part in CHANGED}
            for mode in MODES[1:]:
                chosen = {part: one for part, one in donors.items() if mode in (part, "all")}
                name = f"{key}/{number:02d}-{mode}"
                found.append(PhysicalCommand(name, key, mode, number, chosen))
    return found


def _drawn(others: Sequence[str], count: int, seed: int) -> list[str]:
    """So many of them; none comes twice before all have come."""
    random = np.random.default_rng(seed % 2**32)
    rounds = -(-count // len(others))
    order = np.concatenate([random.permutation(len(others)) for _ in range(rounds)])
    return [others[place] for place in order[:count].tolist()]


def chosen_photos(keys: Sequence[str], most: int) -> list[str]:
    """So many photos, one of each person before a second one of anybody, by name."""
    turn: dict[str, int] = {}
    order = []
    for place, key in enumerate(keys):
        who = person_of(key) or key
        turn[who] = turn.get(who, -1) + 1
        order.append((turn[who], place, key))
    return sorted(key for _, _, key in sorted(order)[:most])


def of_mode(commands: Sequence[PhysicalCommand], mode: Mode) -> list[PhysicalCommand]:
    """Those of one mode; photos and numbers come in one order in all modes but own."""
    return [one for one in commands if one.mode == mode]


def write_physical_commands(path: Path, commands: Sequence[PhysicalCommand]) -> None:
    """Write the list to draw by, elsewhere too."""
    rows = [
        {
            "name": one.name,
            "key": one.key,
            "mode": one.mode,
            "number": one.number,
            **{f"{part}_of": one.donors.get(part, "") for part in CHANGED},
        }
        for one in commands
    ]
    write_table(path, pd.DataFrame(rows))
