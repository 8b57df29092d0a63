"""What is worth a word about the crops of a corpus, though its faces can be learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.manifest import plain_rows
from sfe_core.faces.crop import AS_IS

# More of a crop beyond its photo, or more pixels than its photo has, are told.
TOLD_BORDER = 0.1
TOLD_ENLARGEMENT = 4


@dataclass
class CropCounts:
    """Usable faces whose crops a user should know of, and the worst of each kind.

    Attributes:
        faces: all of them.
        as_is: taken with their whole photo, because they fill it.
        invented: with more than `TOLD_BORDER` of the crop beyond the photo.
        enlarged: with a crop of more than `TOLD_ENLARGEMENT` times the photo's pixels.
    """

    faces: int = 0
    as_is: int = 0
    invented: int = 0
    enlarged: int = 0
    _most_invented: tuple[float, str] = (0.0, "")
    _most_enlarged: tuple[float, str] = (0.0, "")

    @classmethod
    def of(cls, rows: pd.DataFrame, config: PreprocessConfig) -> CropCounts:
        """Of rows of status ok; what an older manifest does not say is not counted."""
        counts = cls()
        names = ("photo", "crop_rule", "crop_side", "invented_border")
        for row in plain_rows(rows[[name for name in names if name in rows]]):
            counts.add(row, config)
        return counts

    def add(self, row: Mapping[str, Any], config: PreprocessConfig) -> None:
        """Count a row of status ok."""
        self.faces += 1
        self.as_is += row.get("crop_rule") == AS_IS != config.crop_rule
        border, side = row.get("invented_border") or 0.0, row.get("crop_side")
        times = config.crop_size / side if side else 0.0
        self.invented += border > TOLD_BORDER
        self.enlarged += times > TOLD_ENLARGEMENT
        self._most_invented = max(self._most_invented, (border, row["photo"]))
        self._most_enlarged = max(self._most_enlarged, (times, row["photo"]))

    def told(self) -> list[str]:
        """A sentence for every kind that there is."""
        found, of = [], f"of {self.faces} faces"
        if self.as_is:
            found.append(
                f"{self.as_is} {of} fill their photo, which is taken as it is (crop_rule as-is); "
                "preprocess.tight_photos: extend repeats its border instead"
            )
        if self.invented:
            share, photo = self._most_invented
            found.append(
                f"{self.invented} {of} have over {TOLD_BORDER:.0%} of their crop beyond the photo, "
                f"where its border is repeated (most: {photo}, {share:.0%}); training leaves that "
                "part out of the loss; quality.most_invented_border leaves out such faces"
            )
        if self.enlarged:
            times, photo = self._most_enlarged
            found.append(
                f"{self.enlarged} {of} are enlarged over {TOLD_ENLARGEMENT} times "
                f"(most: {photo}, {times:.1f} times) and will look soft; a smaller "
                "preprocess.crop_size loses nothing of them"
            )
        return found
