"""Updates whose loss or gradient is NaN or infinite: skipped, counted, and when to give up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfe_core.errors import RunError
from sfe_core.training.engine.checkpoints import going_on, that_learnt

NOTHING = "nothing was learnt"
_LOWER = "lower train.learning_rate or loss.pixel_max_timestep"


@dataclass
class SkipCount:
    """How many updates were skipped.

    Attributes:
        most_in_a_row: give up at so many.
        total: over the whole run.
        in_a_row: up to now.
        since_learnt: the same, with those that float16's scale alone was to blame for.
    """

    most_in_a_row: int
    total: int = 0
    in_a_row: int = 0
    since_learnt: int = 0

    def learnt(self) -> None:
        """An update went well."""
        self.in_a_row = self.since_learnt = 0

    def skipped(self, run: Path, step: int, rescaled: bool = False) -> str:
        """Count an update, and return what to tell of it.

        Args:
            run: the run's folder.
            step: the update, from 1.
            rescaled: only float16's loss scale was too large, and has been lowered; such updates
                belong to that precision and are no reason to give up.

        Raises:
            RunError: too many in a row; it names the last checkpoint that learnt.
        """
        self.total += 1
        self.since_learnt += 1
        if rescaled:
            return f"update {step} skipped: float16 overflowed, the loss scale is lowered"
        self.in_a_row += 1
        if self.in_a_row < self.most_in_a_row:
            return (
                f"update {step} skipped: its loss or gradient is NaN or infinite "
                f"({self.in_a_row} in a row, the run stops at {self.most_in_a_row})"
            )
        raise not_finite_error(
            run, step, f"loss or gradient were NaN or infinite {self.in_a_row} times in a row"
        )

    def require_learnt(self, run: Path, step: int) -> None:
        """Raise a RunError if every update of a run up to `step` was skipped."""
        if 0 < step <= self.total:
            raise not_finite_error(
                run, step, f"loss or gradient of every update were NaN or infinite: {NOTHING}"
            )

    def streak(self, run: Path, step: int) -> str | None:
        """What to tell of a run that ends with skipped updates, if it does."""
        if not self.since_learnt:
            return None
        return (
            f"the last {self.since_learnt} of {step} updates were skipped; the last checkpoint "
            f"that learnt is {_last_good(run)}"
        )


def not_finite_error(run: Path, step: int, problem: str) -> RunError:
    """The error of a run whose numbers are none any more, and what there is to go on from."""
    good = _last_good(run)
    return RunError(
        f"run {run.name}, update {step}",
        problem,
        f"the last good checkpoint is {good}: {_LOWER}, then "
        f"`{going_on(run, good)} --accept-changes`"
        if good
        else f"no checkpoint was saved yet: {_LOWER}, and start again",
    )


def _last_good(run: Path) -> Path | None:
    return next(reversed(that_learnt(run)), None)
