"""How often an epoch draws each face: by its emotion, its rarest action unit, whose it is."""

from __future__ import annotations

import pandas as pd

from sfe_core.arrays import Doubles
from sfe_core.config.model import Config
from sfe_core.controls.action_units import ACTION_UNITS
from sfe_core.corpus.dataset import emotion_index
from sfe_core.corpus.sampler import balance_weights, rare_weights
from sfe_core.errors import UserError


def draws_per_epoch(rows: pd.DataFrame, config: Config) -> Doubles:
    """How many times an epoch draws each face, [N] ≥ 1.

    Emotions are evened out, then rare units drawn more often, then people evened out over what
    that gives, so that the last holds whatever the others do.

    Args:
        rows: of the manifest.
        config: gives the three kinds of `train.balance`, and when a unit counts as there.

    Raises:
        UserError: rare units or people are to be balanced, and no face tells of any.
    """
    train = config.train
    emotions = [emotion_index(name) for name in rows["emotion"]]
    drawn = balance_weights(emotions, train.balance)
    if train.balance_units > 0:
        present = present_units(rows, config.captions.units_from)
        if not present.to_numpy().any():
            raise UserError(
                "train.balance_units",
                "no label of the training split says that an action unit is there",
                "give columns AU1 … AU46 (0 to 5) or AU1_present (0 or 1), or set it to 0",
            )
        drawn = drawn * rare_weights(present.to_numpy(), train.balance_units)
    if train.balance_subjects > 0:
        people, _ = pd.factorize(rows["identity"])
        if (people < 0).all():
            raise UserError(
                "train.balance_subjects",
                "of no face of the training split is known whose it is",
                "give a column identity, see split.identity, or set it to 0",
            )
        drawn = balance_weights(people.tolist(), train.balance_subjects, drawn)
    return drawn


def present_units(rows: pd.DataFrame, least: float) -> pd.DataFrame:
    """Which faces show which action units: [N, U] of bool, a column for each that labels tell of.

    Read are `label_AU12`, `label_AU12L` and `label_AU12R` (0 to 5), and where none of them tells,
    `label_AU12_present`.

    Args:
        rows: of the manifest.
        least: intensity from which a unit is there; of two sides, the stronger counts.
    """
    found: dict[str, pd.Series] = {}
    for code in ACTION_UNITS:
        sides = [_numbers(rows, f"label_{code}{side}") for side in ("", "L", "R")]
        said = _numbers(rows, f"label_{code}_present")
        if all(column.isna().all() for column in (*sides, said)):
            continue
        strongest = pd.concat(sides, axis=1).max(axis=1)
        found[code] = (strongest >= least) | (strongest.isna() & (said == 1))
    return pd.DataFrame(found, index=rows.index)


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    """A column as floats, nan where it says nothing or is not there."""
    if name not in rows:
        return pd.Series(float("nan"), index=rows.index)
    return pd.to_numeric(rows[name], errors="coerce").astype(float)
