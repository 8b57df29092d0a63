"""Updates whose loss or gradient is NaN or infinite: skipped, counted, and when to give up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfe_core.errors import RunError
from sfe_core.training.checkpoints import list_checkpoints


@dataclass
class SkipCount:
    """How many updates were skipped.

    Attributes:
        most_in_a_row: give up at so many.
        total: over the whole run.
        in_a_row: up to now.
    """

    most_in_a_row: int
    total: int = 0
    in_a_row: int = 0

    def learnt(self) -> None:
        """An update went well."""
        self.in_a_row = 0

    def skipped(self, run: Path, step: int, rescaled: bool = False) -> str:
        """Count an update, and return what to tell of it.

        Args:
            run: the run's folder.
            step: the update, from 1.
            rescaled: only float16's loss scale was too large, and has been lowered; such updates
                belong to that precision and are no reason to give up.

        Raises:
            RunError: too many in a row; it names the last checkpoint, whose weights are sound.
        """
        self.total += 1
        if rescaled:
            return f"update {step} skipped: float16 overflowed, the loss scale is lowered"
        self.in_a_row += 1
        if self.in_a_row < self.most_in_a_row:
            return (
                f"update {step} skipped: its loss or gradient is NaN or infinite "
                f"({self.in_a_row} in a row, the run stops at {self.most_in_a_row})"
            )
        checkpoints = list_checkpoints(run)
        lower = "lower train.learning_rate or loss.pixel_max_timestep"
        raise RunError(
            f"run {run.name}, update {step}",
            f"loss or gradient were NaN or infinite {self.in_a_row} times in a row",
            f"the last good checkpoint is {checkpoints[-1]}: {lower}, then "
            f"`sfe train --resume {checkpoints[-1]} --accept-changes`"
            if checkpoints
            else f"no checkpoint was saved yet: {lower}, and start again",
        )
